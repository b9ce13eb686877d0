# SPDX-License-Identifier: MIT
"""The whole promise, with real processes: whoever allocates what it was promised never runs out of memory, whatever is
killed or stopped meanwhile; and nothing of it is left. STORM_SEED=N repeats a storm."""
import os
import random
import signal

import pytest
from conftest import eventually
from storm import Storm, out_of_memory, processes_of


def seed_of_now():
    seed = int(os.environ.get("STORM_SEED", random.randrange(1 << 32)))
    print(f"STORM_SEED={seed}")
    return seed


def fds_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def fds_at_rest(storm):
    """A daemon's descriptors once it has promised and asked the driver, and nobody wants anything any more."""
    daemon = storm.daemon
    storm.keeper.start()
    run = daemon.vram("run", "1G", "--margin", "0", "--", "true")
    assert run.returncode == 0, run.stderr
    eventually(lambda: daemon.get("/v1/leases").json["leases"] == [], "the lease ends")
    daemon.snapshot()
    count = fds_of(daemon.pid)
    daemon.stop()
    return count


@pytest.fixture
def storm(make_daemon):
    """A storm that has raged, with leases; what fails is looked at by the tests."""
    raged = []

    def rage(**kwargs):
        daemon = make_daemon("sim:rtx4090@storm")  # named: its counts last
        storm = Storm(daemon, seed_of_now(), **kwargs)
        raged.append(storm)
        storm.fds = fds_at_rest(storm)
        storm.keeper.start()
        storm.run()
        return storm
    yield rage
    for storm in raged:
        storm.end()
        print(storm.keeper.log.read_text())
        for pid in processes_of(storm.daemon):
            os.kill(pid, signal.SIGKILL)


def check_promises(storm):
    problems = [text for text in (client.problem() for client in storm.clients) if text]
    assert not problems, "\n".join(problems)
    assert out_of_memory(storm.daemon) == 0


def check_nothing_left(storm):
    daemon = storm.daemon
    if not storm.keeper.pid():
        storm.keeper.start()

    def idle():
        told = daemon.get("/v1/leases").json
        return not told["leases"] and not told["waiters"]
    eventually(idle, "no lease, no waiter")
    pid = storm.keeper.pid()
    eventually(lambda: fds_of(pid) <= storm.fds, "the daemon's descriptors are as at first")
    eventually(lambda: all("vramd" in command for command in processes_of(daemon).values()), "only the daemon is left")
    assert len(processes_of(daemon)) <= 2
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not processes_of(daemon), "daemon and collector end")
    assert not daemon.socket.exists()
    assert not [name for name in os.listdir(daemon.socket.parent) if name.endswith(".journal")]


def test_storm__200_clients_while_the_daemon_is_killed(storm, make_daemon, tmp_path):
    raged = storm(clients=200, upsets=8)
    assert sum(raged.keeper.ends.values()) >= 5, raged.keeper.ends
    check_promises(raged)
    check_nothing_left(raged)
    # The same without leases: what the promises were good for.
    (tmp_path / "without").mkdir()
    bare = Storm(make_daemon("sim:rtx4090@storm", tmp_path / "without"), seed_of_now(), clients=200, upsets=0)
    try:
        bare.run(with_leases=False)
        assert out_of_memory(bare.daemon) > 0
    finally:
        bare.end()


def test_storm__as_on_a_kernel_without_peerpidfd(storm):
    raged = storm(clients=60, upsets=3, variables="VRAMD_WITHOUT=peerpidfd")
    check_promises(raged)
    check_nothing_left(raged)
