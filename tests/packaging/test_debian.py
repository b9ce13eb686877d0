# SPDX-License-Identifier: MIT
"""The Debian packages: what is in them, and that they are installed, used, upgraded and purged in a clean root."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat

import pytest
from conftest import BINARY, ROOT, run

TRIPLET = r"[a-z0-9_]+-linux-gnu\w*"
UNITS = r"(usr/)?lib/systemd/system"
# Per package what must be there and where anything else may be.
CONTENTS = {
    "vram": (
        ("usr/bin/vram", "usr/bin/vramd", "usr/bin/vram-sim", "usr/bin/vram-top", f"{UNITS}/vramd.socket", f"{UNITS}/vramd.service",
         "usr/lib/sysusers.d/vram.conf", "usr/share/man/man1/vram.1.gz", "usr/share/man/man1/vram-fit.1.gz",
         "usr/share/man/man1/vram-sim.1.gz", "usr/share/man/man5/vram-scenario.5.gz",
         "usr/share/man/man5/vram.conf.5.gz", "usr/share/man/man8/vramd.8.gz",
         "usr/share/bash-completion/completions/vram", "usr/share/zsh/vendor-completions/_vram",
         "usr/share/fish/vendor_completions.d/vram.fish", "usr/share/doc/vram/vram.conf",
         "usr/share/vram/prometheus/vram.rules.yml", "usr/share/vram/prometheus/vram.dashboard.json",
         "usr/share/vram/prometheus/vram.rules.test.yml",
         f"usr/lib/{TRIPLET}/vram/sim/profiles/rtx4090.scenario",
         f"usr/lib/{TRIPLET}/vram/sim/r550/libnvidia-ml.so.1"),
        rf"usr/(share/(doc/vram|man/man[158])|lib/{TRIPLET}/vram/sim)/",
    ),
    "libvram0": ((rf"usr/lib/{TRIPLET}/libvram\.so\.0", rf"usr/lib/{TRIPLET}/libvram\.so\.0\.\d+\.\d+"),
                 "usr/share/doc/libvram0/"),
    "libvram-dev": (
        ("usr/include/vram.h", rf"usr/lib/{TRIPLET}/libvram\.so", rf"usr/lib/{TRIPLET}/pkgconfig/vram\.pc",
         "usr/share/man/man3/libvram.3.gz", "usr/share/doc/libvram-dev/examples/report.c"),
        "usr/share/doc/libvram-dev/",
    ),
    "python3-vram": (
        ("usr/lib/python3/dist-packages/vram/__init__.py", "usr/lib/python3/dist-packages/vram/py.typed"),
        r"usr/(lib/python3/dist-packages/vram/_\w+\.py|share/doc/python3-vram/)",
    ),
}


def field(path, name):
    return run("dpkg-deb", "-f", path, name).strip()


@pytest.fixture(scope="module")
def unpacked(debs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("unpacked")
    for path in debs.values():
        run("dpkg-deb", "-x", path, directory)
    return directory


# ---- What is in them ------------------------------------------------------------------------------


def test_debian__lintian_finds_nothing(debs):
    if not shutil.which("lintian"):
        pytest.skip("lintian is not installed")
    changes = list(debs["vram"].parent.glob("*.changes"))
    assert len(changes) == 1
    said = run("lintian", "--allow-root", "--fail-on", "error,warning", changes[0])
    assert not re.search(r"^[EW]: ", said, re.M), said


@pytest.mark.parametrize("name", BINARY)
def test_debian__contents_are_these(debs, name):
    wanted, elsewhere = CONTENTS[name]
    listed = [line.split(None, 5) for line in run("dpkg-deb", "-c", debs[name]).splitlines()]
    files = [fields[5].split(" -> ")[0].removeprefix("./") for fields in listed if fields[0][0] != "d"]
    for pattern in wanted:
        assert any(re.fullmatch(pattern, file) for file in files), pattern
    odd = [file for file in files if not any(re.fullmatch(pattern, file) for pattern in wanted)
           and not re.match(elsewhere, file)]
    assert odd == []
    assert {fields[1] for fields in listed} == {"root/root"}
    assert [fields for fields in listed if fields[0][0] != "l" and fields[0][8] == "w"] == []


def test_debian__they_need_what_they_link(debs):
    depends = {name: field(path, "Depends") for name, path in debs.items()}
    assert all(name in depends["vram"] for name in ("libevent", "libinih", "libsqlite3-0", "adduser"))
    assert "libjansson" in depends["libvram0"]
    assert depends["libvram-dev"] == f"libvram0 (= {field(debs['vram'], 'Version')})"
    assert depends["python3-vram"].startswith(f"libvram0 (>= {field(debs['vram'], 'Version')}), python3")
    assert "python" not in depends["vram"] + depends["libvram0"]


def test_debian__the_symbols_are_those_of_one_version(debs, tmp_path):
    run("dpkg-deb", "-e", debs["libvram0"], tmp_path)
    symbols = (tmp_path / "symbols").read_text()
    assert symbols.startswith("libvram.so.0 libvram0 #MINVER#") and " vram_open@VRAM_0.1 0.1.0" in symbols


# ---- Programs of them -----------------------------------------------------------------------------


def triplet_directory(unpacked):
    return next((unpacked / "usr/lib").glob("*-linux-gnu*"))


def test_debian__the_command_works(unpacked):
    env = {**os.environ, "VRAM_SIM_DIR": str(triplet_directory(unpacked) / "vram/sim"), "VRAM_SOCKET": "none"}
    said = run(unpacked / "usr/bin/vram", "--driver", "sim:rtx4090", "fit", "18000", "--json", env=env)
    assert json.loads(said)["answers"][0]["answer"] == "fits"


def test_debian__a_program_builds(unpacked, tmp_path):
    libraries = triplet_directory(unpacked)
    env = {**os.environ, "PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": str(libraries / "pkgconfig"),
           "PKG_CONFIG_SYSROOT_DIR": str(unpacked)}
    flags = run("pkg-config", "--cflags", "--libs", "vram", env=env).split()
    example = unpacked / "usr/share/doc/libvram-dev/examples/report.c"
    run("cc", "-std=c11", "-o", tmp_path / "report", example, *flags)
    said = run(tmp_path / "report", env={**os.environ, "LD_LIBRARY_PATH": str(libraries), "VRAM_DRIVER": "sim:rtx4090",
                                         "VRAM_SIM_DIR": str(libraries / "vram/sim"), "VRAM_SOCKET": "none"})
    assert "22000 MB: ✗ NO" in said


def test_debian__the_units_are_sound(unpacked):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    units = [next(unpacked.glob(f"**/systemd/system/{name}")) for name in ("vramd.socket", "vramd.service")]
    # What systemd itself brings is not here, and neither is what the service runs where its unit says.
    allowed = re.compile(r"sysinit\.target|/usr/bin/vramd is not executable|/bin/kill is not executable")
    said = run("systemd-analyze", "--man=no", "verify", *units, status=None)
    assert [line for line in said.splitlines() if "vramd" in line and not allowed.search(line)] == []
    said = run("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=60", units[1])
    assert "vramd.service" in said


# ---- Installed ------------------------------------------------------------------------------------


LEASE = """
systemctl start vramd.service
mkfifo /root/held
vram run 14G --label deb -- vram-sim hold 14G >/root/held &
holder=$!
exec 4</root/held
read -r said <&4
vram leases --json
"""


def last_json(said):
    return json.loads(said.strip().splitlines()[-1])


def test_debian__is_installed_and_used(system):
    system.install()
    assert system.asked_of_systemd() == ["start vramd.socket"]
    assert (system.root / "etc/systemd/system/sockets.target.wants/vramd.socket").is_symlink()
    assert not (system.root / "etc/systemd/system/multi-user.target.wants/vramd.service").is_symlink()
    assert re.fullmatch(r"vram:x:\d+:\n", system.inside("getent group vram"))
    assert "RTX 4090" in system.inside("VRAM_SOCKET=none vram status")
    leases = last_json(system.inside(LEASE))["leases"]
    assert [(lease["label"], lease["state"]) for lease in leases] == [("deb", "ok")]


PYTHON = """
import vram
print(vram.get_vram_tracker().get_status().free_mb)
with vram.lease("14GiB", label="python") as lease:
    print("has it", flush=True)
    input()
"""


def test_debian__python_gives_way(system):
    """A lease from Python, a command that waits for it, and the end of the Python program as it may come."""
    system.install()
    (system.root / "root/lease.py").write_text(PYTHON)
    said = system.inside("""
        systemctl start vramd.service
        mkfifo /root/has /root/waits
        python3 /root/lease.py >/root/has 2>&1 </dev/zero &
        holder=$!
        exec 4</root/has
        while read -r said <&4 && [ "$said" != "has it" ]; do echo "free: $said"; done
        [ "$said" = "has it" ]
        vram run 14G -- echo it starts 2>/root/waits &
        second=$!
        exec 5</root/waits
        read -r said <&5
        echo "$said"
        kill -KILL $holder
        wait $second""")
    assert re.search(r"^free: 2\d{4}$", said, re.M) and "waiting, number 1" in said
    assert said.splitlines()[-1] == "it starts"


def test_debian__a_group_that_is_there_stays(system):
    system.inside("groupadd --gid 4242 vram")
    system.install()
    assert system.inside("getent group vram") == "vram:x:4242:\n"


def newer(system):
    """The same package with a higher version: its file's name inside the system."""
    tree = system.root / "newer"
    run("dpkg-deb", "-R", system.debs["vram"], tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: (\S+)", r"Version: \g<1>+1", control.read_text(), flags=re.M))
    run("dpkg-deb", "-b", tree, system.root / "debs/newer.deb")
    return "/debs/newer.deb"


def test_debian__an_upgrade_keeps_leases(system):
    system.install()
    package = newer(system)
    system.asked_of_systemd()
    said = system.inside(f"""{LEASE}
        old=$(head -n 1 /run/vram/vram.lock)
        dpkg -i {package}
        [ "$(head -n 1 /run/vram/vram.lock)" != "$old" ]
        kill -0 $holder
        vram leases --json""")
    before, after = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert before["leases"][0]["id"] == after["leases"][0]["id"]
    assert (after["leases"][0]["label"], after["leases"][0]["state"]) == ("deb", "ok")
    asked = system.asked_of_systemd()
    assert asked[0] == "start vramd.service" and "try-restart vramd.service" in asked
    assert [what for what in asked if what.startswith(("stop", "restart"))] == []


# ---- And taken away -------------------------------------------------------------------------------


def tree_of(root):
    """Everything but what dpkg and its like keep of their own doings."""
    aside = re.compile(r"(proc|sys|dev|debs|newer|root|tmp|usr/local|var/(cache|log|lib/dpkg)|run/(systemd|adduser))(/|$)")
    # Whose contents are compared by what they say, for the tools reorder and keep copies.
    tools = re.compile(r"etc/(g?shadow|group|passwd)-?|etc/\.pwd\.lock|etc/ld\.so\.cache")
    found = {}
    for directory, names, files in os.walk(root):
        base = pathlib.Path(directory).relative_to(root)
        names[:] = [name for name in names if not aside.match(str(base / name))]
        for name in names + files:
            path, where = pathlib.Path(directory) / name, str(base / name)
            mode = path.lstat().st_mode
            if aside.match(where) or tools.fullmatch(where):
                continue
            content = os.readlink(path) if stat.S_ISLNK(mode) else (
                hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) else "")
            found[where] = (mode, content)
    return found


def test_debian__a_purge_leaves_nothing(system):
    groups = system.inside("cut -d: -f1 /etc/group | sort")
    before = tree_of(system.root)
    system.install()
    assert tree_of(system.root) != before
    # As it is after some use: configured, enabled by hand, and with a journal.
    system.inside(f"""cp /usr/share/doc/vram/vram.conf /etc/vram.conf
        adduser --quiet --system nobody-else && adduser --quiet nobody-else vram
        ln -s "$(ls /lib/systemd/system/vramd.service)" /etc/systemd/system/multi-user.target.wants/
        {LEASE}""")
    assert any(path.startswith("run/vram/") for path in tree_of(system.root))
    system.asked_of_systemd()
    system.inside("dpkg --purge python3-vram libvram-dev libvram0 vram && deluser --quiet --system nobody-else")
    assert "stop vramd.socket" in system.asked_of_systemd()
    after = tree_of(system.root)
    assert sorted(set(after) - set(before)) == []
    assert sorted(set(before) - set(after)) == []
    assert [path for path in before if before[path] != after[path]] == []
    assert system.inside("cut -d: -f1 /etc/group | sort") == groups


def test_debian__removal_keeps_promises_and_configuration(system):
    system.install("vram")
    system.inside(f"touch /etc/vram.conf\n{LEASE}")
    system.inside("dpkg --remove vram")
    assert not (system.root / "usr/bin/vram").exists()
    assert (system.root / "etc/vram.conf").exists() and list((system.root / "run/vram").glob("*journal*"))
    system.inside("dpkg --purge vram")
    assert not (system.root / "etc/vram.conf").exists() and not (system.root / "run/vram").exists()


def test_debian__the_changelog_is_of_the_version_that_is_built():
    first = (ROOT / "packaging/debian/changelog").read_text().splitlines()[0]
    version = re.search(r"version: '([\d.]+)'", (ROOT / "meson.build").read_text()).group(1)
    assert re.fullmatch(rf"vram \({re.escape(version)}([+~].*)?\) \w+; urgency=\w+", first)
