# SPDX-License-Identifier: MIT
"""The machine under test: its driver, real or simulated, the programs that are run on it, and the time there is.

Whatever is started here is ended here, and nothing is waited for without a deadline."""

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MIB, GIB = 1 << 20, 1 << 30
SPARE = 3 * GIB // 2  # what is always left free


class Failed(Exception):
    """A section cannot go on; the text says why."""


class Program:
    """cuda.c, which does what it is told line by line; or any other that answers lines."""

    def __init__(self, machine, words, env):
        self.machine, self.rest = machine, b""
        self.child = subprocess.Popen(
            [str(word) for word in words],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        machine.programs.append(self)

    @property
    def pid(self):
        return self.child.pid

    def send(self, line):
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()

    def answer(self, timeout=30):
        """The next line, "" at its end."""
        deadline = time.monotonic() + min(timeout, self.machine.left())
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.child.stdout], [], [], left)[0]:
                raise Failed(f"a CUDA program does not answer within {timeout:.0f} s")
            got = os.read(self.child.stdout.fileno(), 65536)
            if not got:
                return ""
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def say(self, line, timeout=30):
        self.send(line)
        return self.answer(timeout)

    def must(self, line, timeout=30):
        answer = self.say(line, timeout)
        if not answer.startswith("ok"):
            raise Failed(f"a CUDA program was told '{line}' and answers '{answer}'")
        return answer

    def hang_up(self):
        with contextlib.suppress(OSError):
            self.child.stdin.close()

    def end(self, timeout=10):
        """Hangs up; returns its exit status."""
        self.hang_up()
        try:
            self.child.wait(min(timeout, max(self.machine.left(), 0.1)))
        except subprocess.TimeoutExpired:
            self.kill()
        return self.child.returncode

    def begin_to_end(self, force):
        self.hang_up()
        if force:
            self.child.kill()

    def kill(self):
        self.child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(10)  # one that the driver does not let go is left behind

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Daemon:
    """vramd in a directory of its own."""

    def __init__(self, machine):
        self.machine = machine

    def __enter__(self):
        if not (self.machine.build / "daemon/vramd").exists():
            raise Failed("vramd was not built")
        self.directory = tempfile.mkdtemp(prefix="vramd-", dir=self.machine.work)
        self.socket = f"{self.directory}/s"
        self.env = dict(self.machine.env, VRAM_SOCKET=self.socket)
        self.log = open(f"{self.directory}/log", "w+")
        reading, writing = os.pipe()
        try:
            self.child = subprocess.Popen(
                [f"{self.machine.build}/daemon/vramd", "--driver", self.machine.driver, "--ready-fd", str(writing)],
                env=self.env,
                pass_fds=(writing,),
                stderr=self.log,
                stdin=subprocess.DEVNULL,
            )
        finally:
            os.close(writing)
        self.machine.programs.append(self)
        with os.fdopen(reading) as ready:
            if not select.select([ready], [], [], 20)[0] or ready.readline() != "ready\n":
                self.kill()
                raise Failed(f"vramd does not start: {self.said()}")
        return self

    def said(self):
        self.log.seek(0)
        return self.log.read().strip()

    def begin_to_end(self, force):
        self.child.kill() if force else self.child.terminate()

    def kill(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()

    def __exit__(self, *_):
        self.kill()
        self.log.close()

    def vram(self, *words, timeout=30):
        return self.machine.run(f"{self.machine.build}/cli/vram", *words, env=self.env, timeout=timeout)

    def pids(self):
        """The daemon's and its collector's."""
        path = f"/proc/{self.child.pid}/task/{self.child.pid}/children"
        return [self.child.pid, *map(int, pathlib.Path(path).read_text().split())]


class Machine:
    def __init__(self, build, driver, seconds):
        self.build, self.driver = pathlib.Path(build).resolve(), driver
        self.simulated = driver.startswith("sim:")
        self.deadline = time.monotonic() + seconds
        self.programs = []
        self.work = tempfile.mkdtemp(prefix="vram-gpu-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("VRAM", "CUDA"))}
        self.env.update(VRAM_SOCKET="none", VRAM_SIM_DIR=f"{self.build}/sim", LC_ALL="C.UTF-8")
        self.cuda_library = "libcuda.so.1"
        if self.simulated:
            self.simulate()

    def simulate(self):
        """One instance for vram, for the probes, for NVIDIA's binding and for what plays CUDA."""
        if "@" not in self.driver:
            self.driver += f"@gpu-{os.getpid()}"
        words = self.driver[len("sim:") :].split("/", 1)
        plain = (
            words[-1] if words[0].startswith("r") and len(words) == 2 and words[0][1:2].isdigit() else "/".join(words)
        )
        self.env.update(VRAM_SIM=plain, VRAM_SIM_STATE_DIR=self.work, VRAM_DRIVER=self.driver)
        self.cuda_library = f"{self.build}/tests/gpu/libcuda-sim.so"

    def find_gpu(self):
        """The first GPU whose memory is its own; False where there is none. From then on all is about this one."""
        document = self.status()
        gpus = [gpu for gpu in document["gpus"] if gpu["state"] == "ok" and gpu["memory_kind"] == "dedicated"]
        if not gpus:
            return False
        self.uuid, self.pci, self.library = gpus[0]["uuid"], gpus[0]["pci"], document["driver"]["library"]
        self.env["CUDA_VISIBLE_DEVICES"] = self.uuid
        return True

    # ---- Time ----

    def left(self):
        return self.deadline - time.monotonic()

    def scale(self, real, simulated):
        """A number of rounds or seconds: on a simulated driver there is nothing to measure."""
        return simulated if self.simulated else real

    # ---- Programs ----

    def run(self, *words, timeout=30, env=None, stdin=subprocess.DEVNULL):
        """Exit status, standard output, standard error of a program that must end by itself."""
        words = [str(word) for word in words]
        timeout = min(timeout, max(self.left(), 1))
        child = subprocess.Popen(
            words,
            env=env or self.env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = child.communicate(timeout=timeout)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failed(
                    f"{pathlib.Path(words[0]).name} {' '.join(words[1:4])} does not end within {timeout:.0f} s"
                )
            raise
        return child.returncode, out, err

    def vram(self, *words, timeout=30):
        return self.run(f"{self.build}/cli/vram", "--driver", self.driver, *words, timeout=timeout)

    def status(self):
        code, out, err = self.vram("status", "--json")
        if code != 0:
            raise Failed(f"vram status --json ends with {code}: {err.strip() or out.strip()}")
        return json.loads(out)

    def gpu(self, document=None):
        """The GPU under test in a snapshot."""
        for gpu in (document or self.status())["gpus"]:
            if gpu["uuid"] == self.uuid:
                return gpu
        raise Failed("the GPU under test is gone")

    def cuda_words(self, *commands):
        return [f"{self.build}/tests/gpu/cuda", self.cuda_library, *map(str, commands)]

    def start_cuda(self, *commands, env=None, before=()):
        return Program(self, [*before, *self.cuda_words(*commands)], env or self.env)

    def cuda(self):
        """A program with a context, which has said so."""
        program = self.start_cuda("context")
        answer = program.answer(60)
        if answer != "ok context":
            program.kill()
            raise Failed(f"no CUDA context can be made: {answer or program.child.stderr.read().decode().strip()}")
        return program

    def cuda_many(self, count, timeout=60):
        """So many programs with a context, as far as they come up in time and memory allows."""
        programs = [self.start_cuda("context") for _ in range(count)]
        ready, deadline = [], time.monotonic() + timeout
        for program in programs:
            try:
                good = program.answer(max(deadline - time.monotonic(), 0.1)) == "ok context"
            except Failed:
                good = False
            ready.append(program) if good else program.kill()
        return ready

    def probe(self, *words, timeout=30):
        """The objects that the probe prints."""
        code, out, err = self.run(f"{self.build}/tests/gpu/probe", self.library, self.pci, *words, timeout=timeout)
        if code != 0:
            raise Failed(f"probe {words[0]} ends with {code}: {err.strip()}")
        return [json.loads(line) for line in out.splitlines()]

    def binding(self):
        """What NVIDIA's Python binding reads, or None where this Python has none."""
        env = self.env
        if self.simulated:
            env = dict(env, LD_LIBRARY_PATH=str(pathlib.Path(self.library).parent))
        code, out, err = self.run(sys.executable, ROOT / "tests/binding/read_nvml.py", env=env)
        if code == 0:
            return json.loads(out)
        if "No module named 'pynvml'" in err:
            return None
        raise Failed(f"NVIDIA's binding fails: {err.strip().splitlines()[-1] if err.strip() else code}")

    def end_programs(self):
        """All at once, asked first: each takes the driver a moment, and one that it does not let go must not hold up
        the rest."""
        for force, seconds in ((False, 10), (True, 5)):
            for program in self.programs:
                program.begin_to_end(force)
            deadline = time.monotonic() + seconds
            for program in self.programs:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.child.wait(max(deadline - time.monotonic(), 0.01))
        self.programs.clear()

    def close(self):
        self.end_programs()
        shutil.rmtree(self.work, ignore_errors=True)
