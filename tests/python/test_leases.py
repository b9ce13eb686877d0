# SPDX-License-Identifier: MIT
"""Leases from Python: waiting, giving up, holding, losing the daemon, ending with the process."""
import asyncio
import logging
import os
import signal
import sys
import threading
import time

import pytest
from conftest import DEADLINE, GIB, VRAM, until

import vram


def ours():
    return [thread for thread in threading.enumerate() if thread.name == "vram-lease"]


def waiting():
    return vram.leases().waiters


# ---- Holding -------------------------------------------------------------------------------------


def test_with(leasing):
    with vram.lease("12GiB", label="comfyui ü", timeout=DEADLINE) as lease:
        record, = vram.leases()
        assert (record.id, record.label, record.size_bytes, record.owner_pid) == (lease.id, "comfyui ü", 12 * GIB, os.getpid())
        assert (record.gpus, record.state, record.outstanding_bytes, record.until) == (lease.gpus, "ok", 12 * GIB, None)
        assert lease.info() == record
        assert lease.environment == {"CUDA_VISIBLE_DEVICES": "GPU-5a1d4090-7b3c-4e52-9f08-2c64d1a9e7b0", "VRAM_LEASE": lease.id}
        assert lease.visible_devices == ",".join(record.gpus)
        assert repr(lease) == f"<vram lease {lease.id} 'comfyui ü', 12 GiB on {lease.visible_devices}>"
        gpu, = vram.snapshot().gpus
        assert gpu.outstanding_bytes == gpu.own_outstanding_bytes == 12 * GIB
        assert vram.fit("12GiB").promises_counted and vram.fit("12GiB")  # its own promise is not held against it
        assert leasing.vram("fit", "12G").returncode == 0  # nor against its descendants
    assert len(vram.leases()) == 0
    with pytest.raises(vram.NotFound):
        lease.info()
    lease.release()  # once more is no error
    assert not ours()


def test_released_when_the_block_fails(leasing):
    with pytest.raises(KeyError):
        with vram.lease("1G"):
            raise KeyError
    assert len(vram.leases()) == 0


def test_acquire_without_a_block(leasing):
    lease = vram.lease(5 * GIB, timeout=DEADLINE).acquire()
    assert lease.info().size_bytes == 5 * GIB
    lease.release()
    assert not vram.leases().leases


def test_a_request_can_be_used_again(leasing):
    request = vram.lease("1G", timeout=DEADLINE)
    with request as first, request as second:
        assert {lease.id for lease in vram.leases()} == {first.id, second.id}
    with request as third:
        assert [lease.id for lease in vram.leases()] == [third.id]
    assert not vram.leases().leases


def test_nothing_is_asked_before_it_is_entered(leasing):
    vram.lease("12GiB")
    assert vram.leases() == vram.Leases((), (), None, 0)
    assert not list(leasing.runtime.iterdir())


def test_resize(leasing):
    with vram.lease("12GiB", timeout=DEADLINE) as lease:
        lease.resize("4G")
        assert lease.size_bytes == lease.info().size_bytes == 4 * GIB
        lease.resize("6G")
        with pytest.raises(vram.DoesNotFit) as caught:
            lease.resize("40G")
        assert caught.value.answer == "never"
        assert lease.size_bytes == lease.info().size_bytes == 6 * GIB


def test_filled_and_a_time_to_end(leasing):
    with vram.lease("12GiB", timeout=DEADLINE) as lease:
        lease.filled()
        assert (lease.info().state, lease.info().outstanding_bytes) == ("filled", 0)
        lease.end_after(3600)
        left = lease.info().until - lease.info().since
        assert 3590 < left.total_seconds() < 3700
        lease.end_after(0.001)
        until(lambda: not vram.leases().leases)


def test_duration(leasing):
    with vram.lease("1G", duration=3600, timeout=DEADLINE) as lease:
        assert abs((lease.info().until - lease.info().since).total_seconds() - 3600) < 1
    lease = vram.lease("1G", duration=0.001, timeout=DEADLINE).acquire()
    until(lambda: not vram.leases().leases)
    lease.release()


def test_members(leasing):
    stranger = leasing.start("setsid", sys.executable, "-c", "import sys; sys.stdin.read()")
    container = "ab" * 32
    with vram.lease("1G", members=["unit:llm.service"], timeout=DEADLINE) as lease:
        lease.attach(container=container)
        lease.attach(cgroup="/jobs")
        lease.attach(unit="comfyui.service")
        lease.attach(pid=stranger.pid)
        attached = lease.info().attached
        assert {"unit:llm.service", f"container:{container}", "cgroup:/jobs", "unit:comfyui.service"} <= set(attached)
        assert f"pid:{stranger.pid}" in attached
        for wrong in ({}, {"unit": "a.service", "pid": 1}):
            with pytest.raises(TypeError):
                lease.attach(**wrong)
        with pytest.raises(vram.Error):
            lease.attach(cgroup="not absolute")


def test_a_container_by_its_name(leasing, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$7" = comfyui ] && echo {"cd" * 32}\n')
    docker.chmod(0o755)
    leasing.set(PATH=f"{tmp_path}:{os.environ['PATH']}")
    with vram.lease("1G", timeout=DEADLINE) as lease:
        lease.attach(container="comfyui")
        assert lease.info().attached == (f"container:{'cd' * 32}",)
        leasing.set(PATH="/nowhere")
        with pytest.raises(vram.BadRequest, match="cannot be found out"):
            lease.attach(container="comfyui")


def test_a_child_fills_it(leasing):
    with vram.lease("12GiB", timeout=DEADLINE) as lease:
        holder = leasing.hold("12G")
        assert until(lambda: lease.info().outstanding_bytes == 0)
        assert (lease.info().held_bytes, lease.info().members) == (12 * GIB, (holder.pid,))
        mine = [process for process in vram.snapshot().gpus[0].processes if process.pid == holder.pid]
        assert mine[0].lease == lease.id


def test_gpus_by_name(leasing):
    leasing.use("sim:2x3090")
    first, second = (gpu.uuid for gpu in vram.snapshot().gpus)
    with vram.lease("2G", gpu=1, timeout=DEADLINE) as lease:
        assert lease.gpus == (second,)
    with vram.lease("2G", gpu=first[:16], timeout=DEADLINE) as lease:
        assert lease.gpus == (first,)
    with vram.lease("2G", gpus=2, timeout=DEADLINE) as lease:
        assert set(lease.gpus) == {first, second}
    leasing.set(CUDA_VISIBLE_DEVICES="1")
    with vram.lease("2G", timeout=DEADLINE) as lease:
        assert lease.gpus == (second,)
    with pytest.raises(vram.DoesNotFit):
        vram.lease("2G", gpus=2, timeout=0).acquire()
    with pytest.raises(vram.NoGPUError):
        vram.lease("2G", gpu=7).acquire()


@pytest.mark.parametrize("wrong", [
    {"size": 0}, {"size": "x"}, {"size": "12"}, {"gpus": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"duration": 0},
    {"margin": "101%"}, {"margin": -1}, {"label": "a\0b"}])
def test_wrong_values(wrong):
    with pytest.raises(ValueError):
        vram.lease(**{"size": "1G", **wrong})


def test_a_label_that_is_too_long(leasing):
    with pytest.raises(vram.BadRequest):
        vram.lease("1G", label="x" * 65).acquire()


# ---- Refusals ------------------------------------------------------------------------------------


def test_not_now_with_the_arithmetic(leasing):
    leasing.hold("14G")
    with pytest.raises(vram.DoesNotFit) as caught:
        vram.lease("14GiB", timeout=0).acquire()
    error = caught.value
    assert (error.answer, error.code, error.fit.answer) == ("not_now", "not_now", "not_now")
    assert error.fit.gpus[0].free_bytes < 14 * GIB and error.fit.gpus[0].shortfall_bytes > 0
    assert not isinstance(error, vram.LeaseTimeout) and not error.fit
    assert error.hint == str(error.fit) and str(error) == f"{error.message}\n{error.hint}"
    assert "MiB free" in error.hint and "headroom" in error.hint


def test_never(leasing):
    with pytest.raises(vram.DoesNotFit) as caught:
        vram.lease("30GiB").acquire()
    assert caught.value.answer == "never"


def test_timeout(leasing):
    leasing.hold("14G")
    with pytest.raises(vram.LeaseTimeout) as caught:
        vram.lease("14GiB", timeout=0.3).acquire()
    assert isinstance(caught.value, TimeoutError) and isinstance(caught.value, vram.DoesNotFit)
    assert caught.value.answer == "timed_out" and caught.value.fit.answer == "not_now" and caught.value.hint
    assert not waiting() and not ours()


def test_no_daemon(machine):
    with pytest.raises(vram.DaemonError) as caught:
        vram.lease("1G").acquire()
    assert caught.value.code == "no_daemon" and "vram serve" in caught.value.hint
    assert vram.leases().daemon is None


def test_no_daemon_can_be_started(leasing):
    leasing.set(VRAM_DAEMON="/nowhere/vramd")
    with pytest.raises(vram.DaemonError) as caught:
        vram.lease("1G").acquire()
    assert caught.value.code == "no_vramd"


def test_paused(leasing):
    with vram.lease("1G", timeout=DEADLINE):
        assert leasing.vram("pause").returncode == 0
        with pytest.raises(vram.DaemonError, match="vram resume"):
            vram.lease("1G", timeout=0).acquire()
        assert not vram.leases().daemon.promising
        assert leasing.vram("resume").returncode == 0


# ---- Waiting -------------------------------------------------------------------------------------


def test_its_turn_comes(leasing):
    holder = leasing.hold("14G")
    told, leased = [], threading.Event()

    def work():
        with vram.lease("14GiB", label="second", progress=lambda *of: told.append(of), timeout=DEADLINE):
            leased.set()

    thread = threading.Thread(target=work)
    thread.start()
    until(waiting)
    waiter, = waiting()
    assert (waiter.position, waiter.pid, waiter.label, waiter.size_bytes) == (1, os.getpid(), "second", 14 * GIB)
    assert waiter.waits_for and not leased.is_set()
    until(lambda: told)
    holder.kill()
    thread.join(DEADLINE)
    assert leased.is_set() and told[0][0] == 1 and told[0][1]


def test_what_progress_raises_ends_nothing(leasing, caplog):
    holder = leasing.hold("14G")
    told = threading.Event()

    def progress(position, waits_for):
        told.set()
        raise RuntimeError("of the caller's own")

    thread = threading.Thread(target=lambda: vram.lease("14GiB", progress=progress, timeout=DEADLINE).acquire().release())
    thread.start()
    assert told.wait(DEADLINE)
    holder.kill()
    thread.join(DEADLINE)
    assert not thread.is_alive() and "of the caller's own" in caplog.text


INTERRUPTED = """
import signal, sys, threading, vram
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
try:
    with vram.lease("14GiB"):
        print("leased", flush=True)
except KeyboardInterrupt:
    print("interrupted", [thread.name for thread in threading.enumerate()], flush=True)
    print(vram.leases().waiters, flush=True)
"""


def test_control_c_takes_the_request_back(leasing):
    leasing.hold("14G")
    program = leasing.start(sys.executable, "-c", INTERRUPTED)
    until(waiting)
    program.send_signal(signal.SIGINT)
    assert program.communicate(timeout=DEADLINE)[0] == "interrupted ['MainThread']\n()\n"
    assert not waiting()


def test_a_waiter_that_is_killed_is_gone(leasing):
    leasing.hold("14G")
    program = leasing.start(sys.executable, "-c", INTERRUPTED)
    until(waiting)
    program.kill()
    until(lambda: not waiting())


def test_two_python_programs_run_one_after_the_other(leasing):
    script = ("import vram\nwith vram.lease('14GiB') as lease:\n    print('leased', flush=True)\n    input()\n")
    first = leasing.start(sys.executable, "-c", script)
    assert first.stdout.readline() == "leased\n"
    second = leasing.start(sys.executable, "-c", script)
    until(waiting)
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.wait(DEADLINE) == 0
    assert second.stdout.readline() == "leased\n"
    third = leasing.start(VRAM, "run", "14G", "--", "echo", "ran")  # the command line waits with them
    until(waiting)
    second.kill()  # the lease ends with its process
    assert third.communicate(timeout=DEADLINE)[0] == "ran\n"


def test_a_restarted_daemon_loses_nothing(leasing):
    holder = leasing.hold("14G")
    leasing.start(VRAM, "run", "1G", "--label", "kept", "--", "cat")
    until(lambda: vram.leases().leases)
    got = []
    thread = threading.Thread(target=lambda: got.append(vram.lease("14GiB", timeout=DEADLINE).acquire()))
    thread.start()
    until(waiting)
    before = vram.leases()
    os.kill(before.daemon.pid, signal.SIGKILL)
    until(waiting)
    after = vram.leases()
    assert after.daemon.pid != before.daemon.pid
    assert [(each.id, each.label, each.since) for each in after] == [(each.id, each.label, each.since) for each in before]
    assert [each.id for each in after.waiters] == [each.id for each in before.waiters]
    holder.kill()
    thread.join(DEADLINE)
    assert got[0].info().size_bytes == 14 * GIB
    os.kill(vram.leases().daemon.pid, signal.SIGKILL)
    got[0].resize("2G")  # which finds the daemon gone
    got[0].release()


def test_who_holds_does_not_wait(leasing):
    """It must not wait for what it could itself give back: an answer at once."""
    with vram.lease("14GiB", timeout=DEADLINE):
        with pytest.raises(vram.DoesNotFit) as caught:
            vram.lease("14GiB").acquire()
        assert caught.value.answer == "not_now"


def test_the_lease_of_a_forked_childs_parent_stays(leasing):
    with vram.lease("1G", timeout=DEADLINE) as lease:
        child = os.fork()
        if child == 0:
            try:
                lease._leave()  # what the end of the block does, should the child come to it
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert lease.info().id == lease.id
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with vram.lease("1G", timeout=DEADLINE) as own:
                    status = int(own.info().owner_pid != os.getpid())
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert [each.id for each in vram.leases()] == [lease.id]


def test_fit_waits_for_room_and_holds_nothing(leasing):
    holder = leasing.hold("14G")
    with vram.lease("1G", timeout=DEADLINE):
        answer = vram.fit("14GiB", timeout=0.1)
        assert answer.answer == "timed_out" and not answer
        threading.Timer(0.2, holder.kill).start()
        assert vram.fit("14GiB", timeout=DEADLINE)
        assert len(vram.leases()) == 1


def test_it_is_logged(leasing, caplog):
    caplog.set_level(logging.DEBUG, "vram")
    with vram.lease("1G", label="seen", timeout=DEADLINE) as lease:
        pass
    assert any(lease.id in record.getMessage() and "seen" in record.getMessage() for record in caplog.records)


# ---- asyncio -------------------------------------------------------------------------------------


def test_async_with(leasing):
    async def main():
        async with vram.lease("12GiB", label="async", timeout=DEADLINE) as lease:
            assert [each.label for each in vram.leases()] == ["async"]
            return lease.id

    assert len(asyncio.run(main())) == 16
    assert not vram.leases().leases and not ours()


async def appear(condition):
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end
        await asyncio.sleep(0.005)
    return value


def test_async_waits_without_holding_the_loop_up(leasing):
    holder = leasing.hold("14G")
    told = []

    async def wait():
        async with vram.lease("14GiB", progress=lambda *of: told.append((threading.current_thread(), *of)), timeout=DEADLINE):
            return True

    async def main():
        task = asyncio.create_task(wait())
        await appear(waiting)
        await appear(lambda: told)
        holder.kill()
        return await task

    assert asyncio.run(main()) and not ours()
    assert told[0][:2] == (threading.main_thread(), 1)


@pytest.mark.parametrize("moment", ["waiting", "at once", "soon"])
def test_async_cancelled(leasing, moment):
    leasing.hold("14G")
    with vram.lease("1G", timeout=DEADLINE):
        pass  # from now on there is a daemon

    async def wait():
        async with vram.lease("14GiB"):
            raise AssertionError("there is no room")

    async def main():
        task = asyncio.create_task(wait())
        if moment == "waiting":
            await appear(waiting)
        elif moment == "soon":
            await appear(ours)
        else:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ours()
        assert not waiting()

    asyncio.run(main())


def test_async_cancelled_while_it_is_granted(leasing):
    """Whatever wins, nothing stays behind."""
    async def wait():
        async with vram.lease("2GiB"):
            pass

    async def main():
        for turn in range(30):
            task = asyncio.create_task(wait())
            await asyncio.sleep(turn * 0.0003)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            assert not ours() and not waiting() and not vram.leases().leases

    with vram.lease("1G", timeout=DEADLINE):
        pass
    asyncio.run(main())


def test_async_wait_for(leasing):
    leasing.hold("14G")

    async def wait():
        async with vram.lease("14GiB"):
            pass

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(), 0.3)
        assert not waiting() and not ours()

    asyncio.run(main())


def test_async_refused(leasing):
    async def main():
        with pytest.raises(vram.DoesNotFit):
            async with vram.lease("30GiB"):
                pass

    asyncio.run(main())


def test_a_program_ends_though_a_thread_waits(leasing):
    leasing.hold("14G")
    script = ("import threading, vram\nthreading.Thread(target=vram.lease('14GiB').acquire, daemon=True).start()\n"
              "while not vram.leases().waiters: pass\n")
    done = leasing.python(script)
    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: not waiting())


# ---- On offer ------------------------------------------------------------------------------------


OFFERS = """
import sys, threading, vram

asked = []
told = []
threading.excepthook = lambda args: told.append(args.exc_type.__name__)

def give_back(wanted):
    asked.append((wanted, threading.current_thread().name))
    {manner}

with vram.lease("14GiB", label="job", timeout=60) as lease:
    lease.offer(give_back, cost=20)
    try:
        lease.offer(give_back)
    except vram.BadRequest:
        print("offered", flush=True)
    sys.stdin.readline()
threads = [thread for thread in threading.enumerate() if thread.name == "vram-lease-offer"]
wanted, thread = asked[0] if asked else (None, None)
print(len(asked), len(threads), told, lease.size_bytes >> 30, thread, wanted and wanted.gpus == lease.gpus,
      wanted and wanted.for_whom.split(" (")[0], wanted and 0 < wanted.bytes < 14 << 30)
"""


def offering(leasing, manner):
    """A program whose lease is on offer, once it is."""
    program = leasing.start(sys.executable, "-c", OFFERS.format(manner=manner))
    assert program.stdout.readline() == "offered\n"
    until(lambda: "lease" in leasing.vram("holders").stdout)
    return program


def said_by(program):
    """What it says at its end."""
    return program.communicate("\n", timeout=DEADLINE)[0].strip()


@pytest.mark.parametrize("manner,asked,size", [
    ("lease.resize('4GiB')", 1, 4), ("lease.release()", 1, 14),
    ("return False if len(asked) == 1 else lease.resize('4GiB')", 2, 4),
], ids=["shrinks", "ends", "is busy at first"])
def test_offer(leasing, manner, asked, size):
    program = offering(leasing, manner)
    with vram.lease("12GiB", label="render", timeout=DEADLINE):
        assert said_by(program) == f"{asked} 0 [] {size} vram-lease-offer True render True"


def test_offer_that_nobody_wants_ends_with_its_block(leasing):
    assert said_by(offering(leasing, "pass")) == "0 0 [] 14 None None None None"


def test_offer_that_fails(leasing):
    """The exception is reported, and is no answer; what it could not give stays its own."""
    program = offering(leasing, "raise KeyError")
    with pytest.raises(vram.LeaseTimeout):
        with vram.lease("12GiB", label="render", timeout=2):
            pass
    assert "nothing came back (it could not)" in leasing.vram("holders").stdout
    assert said_by(program) == "1 0 ['KeyError'] 14 vram-lease-offer True render True"
