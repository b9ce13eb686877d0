# SPDX-License-Identifier: MIT
"""./dev lists its verbs, sets the paths, and installs what is missing or says what to install. The system is
made up: a PATH of the test's own, with programs that only note how they were called."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEV = ROOT / "dev"
VERBS = "demo build env test check bench gpu fuzz deb fmt".split()
SHELL_NEEDS = ("sh", "awk", "cat", "cmp", "cut", "dirname", "env", "find", "grep", "head", "mkdir", "mktemp", "paste", "rm",
               "sed", "sort", "tail", "tr", "touch", "chmod", "uname")


def dev(*arguments, env, cwd=None):
    return subprocess.run([DEV, *arguments], env=env, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_verbs_are_listed(environment):
    done = dev(env=environment)
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    assert (done.returncode, listed) == (0, VERBS)


def test_an_unknown_verb_is_named(environment):
    done = dev("brew", env=environment)
    assert done.returncode == 2 and "'brew'" in done.stderr


def test_an_unknown_fuzz_target_is_named(environment):
    done = dev("fuzz", "nothing", env=environment)
    assert done.returncode == 2 and "'nothing'" in done.stderr


@pytest.fixture
def built(tmp_path):
    """A build whose only program says where it was found, in a directory with an awkward name."""
    directory = tmp_path / "it's here"
    (directory / "cli").mkdir(parents=True)
    program = directory / "cli/vram"
    program.write_text("#!/bin/sh\necho built\n")
    program.chmod(0o755)
    return directory


PATHS = 'vram; echo "$VRAM_SIM_DIR"; echo "$LD_LIBRARY_PATH"; echo "$PKG_CONFIG_PATH"; echo "$PYTHONPATH"; echo "$PATH"'


def check_paths(text, built):
    said, sim, libraries, packages, python, path = text.splitlines()
    assert said == "built"
    assert sim == f"{built}/sim"
    assert libraries.split(":") == [f"{built}/lib", "/opt/lib"]
    assert packages == f"{built}/meson-uninstalled"
    assert python == f"{ROOT}/python"
    assert path.startswith(f"{built}/cli:{built}/daemon:{built}/top:{built}/sim:")


def test_env_sets_the_paths_from_anywhere(environment, built):
    environment.update(VRAM_BUILD=built.name, LD_LIBRARY_PATH="/opt/lib")
    done = dev("env", "sh", "-c", PATHS, env=environment, cwd=built.parent)
    assert done.returncode == 0, done.stderr
    check_paths(done.stdout, built)


def test_env_prints_what_a_shell_can_evaluate(environment, built):
    environment.update(VRAM_BUILD=str(built), LD_LIBRARY_PATH="/opt/lib")
    script = f'eval "$({DEV} env)" && {PATHS}'
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check_paths(done.stdout, built)


def test_env_ends_as_its_command_does(environment, built):
    environment["VRAM_BUILD"] = str(built)
    assert dev("env", "sh", "-c", "exit 42", env=environment).returncode == 42


# ---- What is missing ------------------------------------------------------------------------------


class System:
    """A machine on which only a shell and its usual companions are installed."""

    def __init__(self, directory):
        self.bin = directory / "bin"
        self.root = directory / "root"
        self.calls = directory / "calls"
        self.bin.mkdir()
        (self.root / "etc").mkdir(parents=True)
        for name in SHELL_NEEDS:
            (self.bin / name).symlink_to(shutil.which(name))
        self.program("id", "echo 0")
        self.env = {"PATH": str(self.bin), "VRAM_SYSROOT": str(self.root), "VRAM_BUILD": str(directory / "build"),
                    "TMPDIR": str(directory)}

    def program(self, name, script):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def release(self, text):
        (self.root / "etc/os-release").write_text(text)

    def apt(self, install="true"):
        """An apt-get that notes its arguments; `install` is what an installation does."""
        self.program("apt-get", f'echo "$*" >>{self.calls}\ncase "$*" in *install*) {install} ;; esac')

    def build_tools(self):
        """Shell text that makes a compiler, Meson and Ninja appear."""
        stubs = " ".join(str(self.bin / name) for name in ("cc", "meson", "ninja", "pkg-config"))
        return (f'for stub in {stubs}; do printf "#!/bin/sh\\nmkdir -p $VRAM_BUILD\\n'
                f'touch $VRAM_BUILD/build.ninja\\n" >$stub; chmod +x $stub; done')

    def dev(self, *arguments):
        return dev(*arguments, env=self.env)


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


@pytest.mark.parametrize("release, wanted", [
    ("ID=fedora\n", "sudo dnf install gcc meson ninja-build"),
    ('ID=rocky\nID_LIKE="rhel centos fedora"\n', "sudo dnf install gcc meson ninja-build"),
    ("ID=arch\n", "sudo pacman -S gcc meson ninja"),
    ("ID=alpine\n", "sudo apk add gcc meson musl-dev ninja"),
    ("ID=strange\n", "gcc libc6-dev meson ninja-build"),
    ("", "gcc libc6-dev meson ninja-build"),
])
def test_elsewhere_it_says_what_to_install(system, release, wanted):
    system.release(release)
    done = system.dev("build")
    assert done.returncode == 4
    assert wanted in done.stderr


def test_missing_packages_are_installed_once(system):
    system.apt(install=system.build_tools())
    first = system.dev("build")
    assert first.returncode == 0, first.stderr
    no_charts = "dev: going on without uPlot: the live page has no charts\n"
    assert first.stderr == no_charts + "dev: installing gcc libc6-dev meson ninja-build\n"
    calls = system.calls.read_text().splitlines()
    assert calls and all("--no-install-recommends" in call for call in calls if "install" in call)
    second = system.dev("build")
    assert (second.returncode, second.stderr) == (0, no_charts)
    assert system.calls.read_text().splitlines() == calls, "nothing is missing, nothing is asked"


def test_lists_of_packages_are_fetched_when_an_installation_fails(system):
    tried = system.bin.parent / "tried"
    system.apt(install=f"[ -e {tried} ] || {{ touch {tried}; exit 100; }}; {system.build_tools()}")
    assert system.dev("build").returncode == 0
    assert any(call.endswith("update") for call in system.calls.read_text().splitlines())


def test_what_cannot_be_installed_is_said(system):
    system.apt(install="echo E: Unable to locate package meson; exit 100")
    done = system.dev("build")
    assert done.returncode == 4
    assert "Unable to locate package meson" in done.stderr and "could not install gcc" in done.stderr


def test_an_installation_without_effect_is_an_error(system):
    system.apt()
    done = system.dev("build")
    assert done.returncode == 4 and "still missing" in done.stderr


def test_without_sudo_the_command_is_shown(system):
    system.apt()
    system.program("id", "echo 1000")
    done = system.dev("build")
    assert done.returncode == 4 and not system.calls.exists()
    assert "as root:\ndev:   apt-get install --no-install-recommends gcc libc6-dev meson" in done.stderr


def test_sudo_is_used_where_it_is_needed(system):
    system.apt(install=system.build_tools())
    system.program("id", "echo 1000")
    system.program("sudo", f'echo "sudo $*" >>{system.calls}\nexec "$@"')
    assert system.dev("build").returncode == 0
    assert "sudo env DEBIAN_FRONTEND=noninteractive apt-get" in system.calls.read_text()


def test_a_failing_build_shows_its_output(system):
    for name in ("cc", "pkg-config"):
        system.program(name, "true")
    system.program("meson", "mkdir -p $VRAM_BUILD; touch $VRAM_BUILD/build.ninja")
    system.program("ninja", "echo fit.c:1: error: no; exit 1")
    done = system.dev("build")
    assert done.returncode == 4 and "fit.c:1: error: no" in done.stderr


def test_nothing_is_left_in_the_temporary_directory(system):
    before = set(os.listdir(system.bin.parent))
    system.dev("brew")
    system.dev()
    assert set(os.listdir(system.bin.parent)) == before
