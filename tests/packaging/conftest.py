# SPDX-License-Identifier: MIT
"""Packages and containers, used as their users would.

VRAM_DEBS names a directory with the packages that tools/deb made; ./dev check deb sets it. VRAM_BUILD names the build's
directory (default: build/).
"""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VRAM_BUILD", ROOT / "build"))
DEADLINE = 120  # for what should end by itself
BINARY = ("vram", "libvram0", "libvram-dev", "python3-vram")


def run(*command, status=0, **kwargs):
    """What a command prints that must end so; None: however."""
    kwargs = {"timeout": DEADLINE, **kwargs}
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **kwargs)
    assert status is None or done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def debs():
    """The packages' files by their names."""
    if not os.environ.get("VRAM_DEBS"):
        pytest.skip("Debian packages are made and tried by ./dev check deb")
    found = {path.name.split("_")[0]: path for path in pathlib.Path(os.environ["VRAM_DEBS"]).glob("*.deb")}
    assert set(BINARY) <= set(found)
    return {name: found[name] for name in BINARY}


def mirror():
    """This system's own, as apt knows it: where it is, and the release's name."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)
    sources = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages")
    for line in sources.splitlines():
        place, codename, component = line.split()
        if release and codename == release.group(1) and component == "main":
            return place, codename
    return pytest.skip("apt names no source of this system's release")


@pytest.fixture(scope="session")
def clean_root(debs):
    """A system with the least that there can be, and what the packages depend on; made once and kept beside them."""
    if os.geteuid() != 0:
        pytest.skip("a clean root is made by root")
    if not shutil.which("debootstrap"):
        pytest.skip("debootstrap is not installed")
    needs = {re.split(r"[ (|:]", need.strip())[0] for path in debs.values()
             for need in run("dpkg-deb", "-f", path, "Depends").split(",")} - set(BINARY)
    place, codename = mirror()
    root = next(iter(debs.values())).parent / f"root-{codename}-{'-'.join(sorted(needs))}"
    if not root.exists():
        making = root.with_name("root-making")
        shutil.rmtree(making, ignore_errors=True)
        said = run("debootstrap", "--variant=minbase", f"--include={','.join(sorted(needs))}", codename, making, place,
                   status=None, timeout=600)
        if not said.endswith("Base system installed successfully.\n"):
            pytest.skip(f"no clean root could be made: {said.splitlines()[-1]}")
        making.rename(root)
    return root


class System:
    """A copy of the clean root. What runs inside ends with the script that started it."""

    def __init__(self, root, debs):
        self.root, self.debs = root, debs
        shutil.copy2(pathlib.Path(__file__).parent / "systemctl", root / "usr/local/bin/systemctl")
        (root / "run/systemd/system").mkdir(parents=True)
        (root / "debs").mkdir()
        for path in debs.values():
            shutil.copy2(path, root / "debs")

    def inside(self, script, status=0):
        return run(
            "unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc",
            "chroot", self.root, "/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "VRAM_DRIVER=sim:rtx4090@deb",
            "VRAM_SOCKET=/run/vram/vram.sock", "VRAM_SIM_STATE_DIR=/root/state", "sh", "-euc", script, status=status)

    def install(self, *names):
        return self.inside("dpkg -i " + " ".join(f"/debs/{self.debs[name].name}" for name in names or self.debs))

    def asked_of_systemd(self):
        """What maintainers' scripts have asked for since this was asked last."""
        log = self.root / "root/systemctl.log"
        said = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return said


@pytest.fixture
def system(clean_root, debs, tmp_path):
    root = tmp_path / "root"
    run("cp", "-a", clean_root, root)
    yield System(root, debs)
    shutil.rmtree(root)
