# SPDX-License-Identifier: MIT
"""Containers without a GPU, and without a container engine: the namespaces that one makes, with nothing in them of the
driver but the daemon's socket, mounted as it should be and as it should not."""
import grp
import json
import os
import subprocess

import pytest
from conftest import BUILD, DEADLINE

VRAM, VRAMD, VRAM_SIM = BUILD / "cli/vram", BUILD / "daemon/vramd", BUILD / "sim/vram-sim"
DIRECTORY = 'mkdir /run/vram && mount --bind "$PLACE" /run/vram'
SOCKET = 'mkdir /run/vram && touch /run/vram/vram.sock && mount --bind "$PLACE/vram.sock" /run/vram/vram.sock'
NOT_YET = 'mkdir -p /run/vram/vram.sock'  # what Docker makes of the latter where there is no socket
# A /dev and a /run of its own, the mark of Podman, and the command where every user may run it.
SETUP = """
mount -t tmpfs -o mode=755 tmpfs /run
touch /run/null /run/.containerenv
mount --bind /dev/null /run/null
mount -t tmpfs -o mode=755 tmpfs /dev
touch /dev/null
mount --bind /run/null /dev/null
cp "$VRAM" /run/vram.program
cd /
"""


class Host:
    """The daemon on the machine, which has a simulated card."""

    def __init__(self, directory):
        self.place, self.config = directory / "place", directory / "vram.conf"
        # As root's daemon is the machine's, whose clients are asked for their groups: root is nobody in a container.
        self.config.write_text(f"[daemon]\nlease_group = {grp.getgrgid(os.getgid()).gr_name}\n")
        (directory / "state").mkdir()
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("VRAM", "CUDA_", "NVIDIA_", "LISTEN", "NOTIFY")) and name != "XDG_RUNTIME_DIR"}
        # Nothing in it leads to the simulated card.
        self.container_env = dict(kept, LC_ALL="C.UTF-8", PLACE=str(self.place), VRAM=str(VRAM))
        self.env = dict(kept, VRAM_SIM_DIR=str(BUILD / "sim"), VRAM_SIM_STATE_DIR=str(directory / "state"),
                        VRAM_DRIVER="sim:rtx4090@containers", VRAM_SOCKET=str(self.place / "vram.sock"))
        self.processes = []
        self.daemon = None

    def start(self):
        ready, child = os.pipe()
        self.daemon = self.spawn(VRAMD, "--ready-fd", str(child), "--config", self.config, env=self.env, pass_fds=(child,))
        os.close(child)
        with os.fdopen(ready) as pipe:
            assert pipe.read().strip() == "ready"
        return self

    def stop(self):
        self.daemon.terminate()
        assert self.daemon.wait(DEADLINE) == 0

    def spawn(self, *command, **kwargs):
        process = subprocess.Popen([str(word) for word in command], text=True, **kwargs)
        self.processes.append(process)
        return process

    def container(self, mount, script, named=True):
        """Runs a script in a container; `vram` there is the command, which asks the socket where it is mounted."""
        env = dict(self.container_env, **({"VRAM_SOCKET": "/run/vram/vram.sock"} if named else {}))
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return self.spawn(
            "unshare", *user, "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc",
            "sh", "-euc", f"{SETUP}{mount}\nvram() {{ /run/vram.program \"$@\"; }}\n{script}", env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, mount, script, status=0, **kwargs):
        process = self.container(mount, script, **kwargs)
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == status, err
        return out

    def close(self):
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def host(tmp_path):
    if subprocess.run(["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "--pid", "--net",
                       "--fork", "--mount-proc", "true"], capture_output=True).returncode != 0:
        pytest.skip("no namespaces may be made here")
    made = Host(tmp_path)
    yield made
    made.close()


def findings(text):
    return {finding["id"]: finding for finding in json.loads(text)["findings"] if finding["severity"] in ("problem", "note")}


# ---- As it should be --------------------------------------------------------------------------------------------------


def test_containers__figures_come_through_the_socket(host):
    host.start()
    said = host.run(DIRECTORY, "vram status --json; vram fit 18000 >&2; ! vram fit 22000 >&2")
    gpu, = json.loads(said)["gpus"]
    assert gpu["name"] == "NVIDIA GeForce RTX 4090" and gpu["used_bytes"] > 0


def test_containers__what_they_run_waits_for_the_host(host):
    host.start()
    holder = host.spawn(VRAM, "run", "14G", "--", VRAM_SIM, "hold", "14G", env=host.env, stdout=subprocess.PIPE)
    assert holder.stdout.readline().startswith("holding ")
    inside = host.container(DIRECTORY, "vram run 14G -- echo it starts")
    assert inside.stderr.readline().startswith("vram: waiting, number 1")
    holder.kill()
    out, err = inside.communicate(timeout=DEADLINE)
    assert (inside.returncode, out) == (0, "it starts\n"), err


def test_containers__the_doctor_is_content(host):
    host.start()
    found = findings(host.run(DIRECTORY, "vram doctor --json"))
    assert list(found) == ["D37"]
    assert "(podman) has no GPU" in found["D37"]["cause"] and "podman run --device" in found["D37"]["remedy"]


def test_containers__a_new_daemon_is_found_in_the_directory(host):
    host.start()
    inside = host.container(DIRECTORY, "vram status >/dev/null && echo before; read -r go; vram doctor --json")
    assert inside.stdout.readline() == "before\n"
    host.stop()
    host.start()
    out, err = inside.communicate("go\n", timeout=DEADLINE)
    assert inside.returncode == 0 and list(findings(out)) == ["D37"], err


# ---- And as it should not ----------------------------------------------------------------------------------------------


def test_containers__a_mounted_socket_is_left_behind(host):
    host.start()
    inside = host.container(SOCKET, "vram doctor --json; read -r go; vram doctor --json")
    assert set(findings(inside.stdout.readline())) == {"D35", "D37"}
    host.stop()
    host.start()
    out, err = inside.communicate("go\n", timeout=DEADLINE)
    found = findings(out)
    assert inside.returncode == 3 and "D37" not in found and "D34" not in found, err
    assert "a daemon that is gone" in found["D35"]["cause"]
    assert "-v /run/vram:/run/vram" in found["D35"]["remedy"]


def test_containers__a_directory_in_its_place_is_told(host):
    found = findings(host.run(NOT_YET, "vram doctor --json", status=3))
    assert "a directory" in found["D35"]["cause"] and "rmdir /run/vram/vram.sock" in found["D35"]["remedy"]


def test_containers__a_daemon_that_has_ended_is_told(host):
    host.start()
    host.daemon.kill()
    host.daemon.wait(DEADLINE)
    found = findings(host.run(DIRECTORY, "vram doctor --json", status=3))
    assert "no daemon listens" in found["D34"]["cause"] and "D35" not in found


def test_containers__an_empty_directory_is_told(host):
    host.place.mkdir()
    found = findings(host.run(DIRECTORY, "vram doctor --json", status=3, named=False))
    assert "no daemon has a socket in it" in found["D34"]["cause"]


def test_containers__no_access_is_told(host):
    if os.geteuid() != 0:
        pytest.skip("another user is made by root")
    host.start()
    (host.place / "vram.sock").chmod(0o600)
    found = findings(host.run(DIRECTORY, "setpriv --reuid 65534 --regid 65534 --clear-groups /run/vram.program doctor --json",
                              status=3))
    assert "D36" in found and "mode 0600" in found["D36"]["evidence"]
