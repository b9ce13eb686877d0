# SPDX-License-Identifier: MIT
"""Whose memory fills a lease: descendants, what was attached, and those who inherit when the owner is gone."""
import os
from pathlib import Path

import pytest

from conftest import DEADLINE, VRAM_SIM, eventually
from leasing import GIB, Request, change, granted, kill, lease_of, leases, when


def start_later(crowd, size, env=None):
    """A process that will hold so much when it is told to."""
    return crowd.spawn("sh", "-c", f"read go; exec {VRAM_SIM} hold {size}", env=env)


def start_now(crowd, process):
    process.stdin.write("go\n")
    process.stdin.flush()
    return crowd.holds(process)


def held(daemon):
    return {lease["id"]: lease["held_bytes"] for lease in leases(daemon)["leases"]}


def lease_for(daemon, process, size, **more):
    return granted(Request(daemon, size, owner={"pid": process.pid}, **more).answer())


# ---- Attached ------------------------------------------------------------------------------------


def test_attach__a_process(daemon, crowd):
    """The lease of one program, filled by another that was started elsewhere."""
    other = start_later(crowd, "4G")
    lease = lease_for(daemon, crowd.idler(), 6 * GIB, members=[f"pid:{other.pid}"])
    assert lease["attached"] == [f"pid:{other.pid}"]
    start_now(crowd, other)
    listed, = leases(daemon)["leases"]
    assert (listed["held_bytes"], listed["outstanding_bytes"], listed["members"]) == (4 * GIB, 2 * GIB, [other.pid])


def test_attach__what_a_member_used_before_is_no_part_of_it(daemon, crowd, hold):
    other = hold(daemon, "4G")
    lease = lease_for(daemon, crowd.idler(), 6 * GIB, members=[f"pid:{other.pid}"])
    listed, = leases(daemon)["leases"]
    assert (listed["id"], listed["held_bytes"], listed["outstanding_bytes"]) == (lease["id"], 0, 6 * GIB)


def test_attach__to_a_lease_that_stands(daemon, crowd, hold):
    lease = lease_for(daemon, crowd.idler(), 6 * GIB)
    other = hold(daemon, "4G")
    answer = change(daemon, lease["id"], attach=[f"pid:{other.pid}"])
    assert granted(answer.json)["attached"] == [f"pid:{other.pid}"]
    assert held(daemon) == {lease["id"]: 4 * GIB}
    assert change(daemon, lease["id"], attach=["pid:4194399"]).status == 404
    assert granted(change(daemon, lease["id"], attach=[f"pid:{other.pid}"]).json)["attached"] == \
        [f"pid:{other.pid}"]


def test_attach__by_the_command_line(daemon, crowd):
    other = start_later(crowd, "4G")
    process = crowd.run("6G", "cat", options=["--member", f"pid:{other.pid}"])
    when(daemon, lambda listed: listed["leases"], "it holds")
    start_now(crowd, other)
    assert lease_of(daemon, process.pid)["held_bytes"] == 4 * GIB


def test_attach__by_the_environment(daemon, crowd):
    lease = lease_for(daemon, crowd.idler(), 6 * GIB)
    other = start_later(crowd, "4G", env={"VRAM_LEASE": lease["id"]})
    stranger = start_later(crowd, "1G", env={"VRAM_LEASE": "0" * 16})
    start_now(crowd, other)
    start_now(crowd, stranger)
    assert held(daemon) == {lease["id"]: 4 * GIB}


CONTAINER = "c0ffee" * 10 + "beef"


@pytest.mark.parametrize("name, member", [
    ("job", "cgroup:{path}"), ("job", "cgroup:{above}"), ("vram-test.service", "unit:vram-test.service"),
    ("vram-test.service", "unit:vram-test"), (f"docker-{CONTAINER}.scope", f"container:{CONTAINER}"),
    (f"docker-{CONTAINER}.scope", f"container:{CONTAINER[:12]}")])
def test_attach__a_cgroup(daemon, cgroup, crowd, name, member):
    directory, path = cgroup(name)
    other, stranger = start_later(crowd, "4G"), start_later(crowd, "1G")
    (directory / "cgroup.procs").write_text(str(other.pid))
    member = member.format(path=path, above=os.path.dirname(path))
    lease = lease_for(daemon, crowd.idler(), 6 * GIB, members=[member])
    assert lease["attached"] == [member]
    start_now(crowd, other)
    start_now(crowd, stranger)
    assert held(daemon) == {lease["id"]: 4 * GIB}
    kill(other)


def test_attach__a_cgroup_that_comes_later(daemon, cgroup, crowd):
    lease = lease_for(daemon, crowd.idler(), 6 * GIB, members=["unit:vram-later.service"])
    directory, _ = cgroup("vram-later.service")
    other = start_later(crowd, "4G")
    (directory / "cgroup.procs").write_text(str(other.pid))
    start_now(crowd, other)
    assert held(daemon) == {lease["id"]: 4 * GIB}
    kill(other)


# ---- Descendants ---------------------------------------------------------------------------------


def family(crowd, size="8G", child="2G"):
    """An owner with a child that holds memory; it ends when it is told to. Both, the child's pid."""
    owner = crowd.run(size, "sh", "-c", f"sh -c 'echo $$; exec {VRAM_SIM} hold {child}' & read go")
    pid = int(owner.stdout.readline())
    crowd.holds(owner)
    return owner, pid


def test_descendants__stay_members_when_their_parent_dies(daemon, crowd):
    between = f"(echo $BASHPID; exec {VRAM_SIM} hold 2G) & read go <&3"
    owner = crowd.run("8G", "sh", "-c", f"bash -c '{between}' 3<&0; read go")
    pid = int(owner.stdout.readline())
    crowd.holds(owner)
    assert leases(daemon)["leases"][0]["members"] == [pid]
    between = parent_of(pid)
    assert between != owner.pid
    owner.stdin.write("go\n")  # the one between ends; its child is somebody else's child now
    owner.stdin.flush()
    eventually(lambda: parent_of(pid) != between, "it has another parent")
    listed, = leases(daemon)["leases"]
    assert (listed["members"], listed["held_bytes"]) == ([pid], 2 * GIB)
    os.kill(pid, 9)


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_descendants__inherit(daemon, crowd):
    owner, pid = family(crowd)
    waiter = Request(daemon, 18 * GIB, owner={"pid": crowd.idler().pid})
    waiter.wait()
    kill(owner)
    listed = when(daemon, lambda listed: listed["leases"][0]["state"] == "inherited", "it is inherited")
    lease, = listed["leases"]
    assert (lease["held_bytes"], lease["outstanding_bytes"], lease["members"]) == (2 * GIB, 6 * GIB, [pid])
    os.kill(pid, 9)
    granted(waiter.answer())
    assert [lease["id"] for lease in leases(daemon)["leases"]] == [waiter.id]


def test_descendants__without_memory_do_not_inherit(daemon, crowd):
    owner = crowd.run("8G", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!; read go")
    pid = int(owner.stdout.readline())
    kill(owner)
    when(daemon, lambda listed: not listed["leases"], "it ends with its owner")
    os.kill(pid, 9)  # which lives still


def test_descendants__of_a_daemon_that_was_away(make_daemon, daemon, crowd):
    """The owner ends, and then its heir, while nobody watches; and an heir lives on."""
    first, first_child = family(crowd, "6G", "2G")
    second, second_child = family(crowd, "6G", "1G")
    when(daemon, lambda listed: [len(lease["members"]) for lease in listed["leases"]] == [1, 1], "both are seen")
    ids = [lease["id"] for lease in leases(daemon)["leases"]]
    kill(daemon.process)
    kill(first)
    kill(second)
    os.kill(second_child, 9)
    daemon.start()
    listed = when(daemon, lambda listed: len(listed["leases"]) == 1, "one has ended")
    lease, = listed["leases"]
    assert (lease["id"], lease["state"], lease["members"]) == (ids[0], "inherited", [first_child])
    assert (lease["held_bytes"], lease["outstanding_bytes"]) == (2 * GIB, 4 * GIB)
    os.kill(first_child, 9)
    when(daemon, lambda listed: not listed["leases"], "it ends with its heir")
    assert daemon.vram("fit", "20G", "--timeout", f"{DEADLINE}s").returncode == 0
