# SPDX-License-Identifier: MIT
"""Who may do what with leases, at a daemon for the whole machine: users are told apart by the kernel."""
import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import DEADLINE, VRAM_SIM, Daemon
from leasing import GIB, IS_ROOT, Crowd, Request, change, end, granted, ids, leases, new_id

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root can be several users")

ADA, BOB, EVE = 61001, 61002, 61003  # nobody's
LEASERS, ADMINS = 65534, 12  # groups that every Debian has: nogroup, man
CALL = """
import http.client, json, socket, sys
path, method, target, body = json.load(sys.stdin)
connection = http.client.HTTPConnection("vram")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(path)
connection.request(method, target, body=body)
response = connection.getresponse()
print(json.dumps([response.status, response.read().decode().splitlines()[-1]]))
"""


@pytest.fixture
def system():
    """A daemon that all users can reach; two may lease, and one of these is an administrator."""
    with tempfile.TemporaryDirectory(prefix="vram-") as directory:
        Path(directory).chmod(0o755)
        config = Path(directory, "vram.conf")
        config.write_text("[daemon]\nlease_group = nogroup\nadmin_group = man\n")
        daemon = Daemon(directory).start("--config", str(config))
        assert daemon.ready == "ready"
        yield daemon
        daemon.process.kill()
        daemon.process.wait()


@pytest.fixture
def users(system):
    made = Crowd(system)
    yield made
    made.end()


def as_user(daemon, uid, method, target, body=None, groups=(LEASERS,)):
    """A call of another user's. Status and answer."""
    text = json.dumps([str(daemon.socket), method, target, body and json.dumps(body)])
    run = subprocess.run(["/usr/bin/python3", "-I", "-c", CALL], input=text, capture_output=True, text=True, user=uid,
                         group=uid, extra_groups=list(groups), timeout=DEADLINE, cwd="/")
    assert run.returncode == 0, run.stderr
    status, line = json.loads(run.stdout)
    return status, json.loads(line)


def ask_as(daemon, uid, size=GIB, groups=(LEASERS,), **more):
    body = {"id": new_id(), "size_bytes": size, "wait_ms": 0, **more}
    return as_user(daemon, uid, "POST", "/v1/leases", body, groups)


def code(answer):
    return answer[0], answer[1]["error"]["code"]


def lease_of_ada(daemon, users):
    process = users.spawn("cat", user=ADA, group=ADA, extra_groups=[])
    status, answer = ask_as(daemon, ADA, owner={"pid": process.pid}, label="ada's")
    assert status == 200
    return granted(answer), process


def test_rights__everybody_may_look(system, users):
    lease, _ = lease_of_ada(system, users)
    assert as_user(system, EVE, "GET", "/v1/daemon", groups=())[0] == 200
    assert as_user(system, EVE, "GET", "/v1/snapshot", groups=())[1]["gpus"][0]["outstanding_bytes"] == GIB
    assert ids(as_user(system, EVE, "GET", "/v1/leases", groups=())[1]["leases"]) == [lease["id"]]


def test_rights__leases_are_for_the_group(system):
    status, answer = ask_as(system, EVE, groups=())
    assert code((status, answer)) == (403, "forbidden")
    assert "nogroup" in answer["error"]["message"] and "usermod" in answer["error"]["hint"]
    granted(ask_as(system, EVE)[1])
    granted(ask_as(system, EVE, groups=[ADMINS])[1])


def test_rights__a_lease_is_its_users(system, users):
    lease, _ = lease_of_ada(system, users)
    target = f"/v1/leases/{lease['id']}"
    for groups in ((LEASERS,), ()):
        assert code(as_user(system, BOB, "DELETE", target, groups=groups)) == (403, "forbidden")
        for what in ({"filled": True}, {"size_bytes": 1}, {"for_ms": 1}, {"attach": ["cgroup:/x"]}):
            assert code(as_user(system, BOB, "PATCH", target, what, groups=groups)) == (403, "forbidden")
    assert leases(system)["leases"][0] == lease
    assert as_user(system, ADA, "PATCH", target, {"size_bytes": 2 * GIB})[0] == 200
    assert as_user(system, ADA, "DELETE", target)[0] == 200
    assert not leases(system)["leases"]


def test_rights__a_request_is_its_users(system, users):
    granted(Request(system, 20 * GIB, owner={"pid": users.idler().pid}).answer())
    waiter = users.idler()
    request = Request(system, 20 * GIB, owner={"pid": waiter.pid})
    request.wait()
    assert code(as_user(system, BOB, "DELETE", f"/v1/leases/{request.id}")) == (403, "forbidden")
    status, answer = ask_as(system, BOB, 20 * GIB, id=request.id)  # nor can its id be taken over
    assert code((status, answer)) == (409, "conflict")
    assert ids(leases(system)["waiters"]) == [request.id]


def test_rights__administrators_may_end_and_change_all(system, users):
    lease, _ = lease_of_ada(system, users)
    assert as_user(system, BOB, "PATCH", f"/v1/leases/{lease['id']}", {"size_bytes": 2 * GIB}, [ADMINS])[0] == 200
    assert change(system, lease["id"], size_bytes=GIB).status == 200  # root
    assert as_user(system, BOB, "DELETE", f"/v1/leases/{lease['id']}", groups=[ADMINS])[0] == 200
    lease, _ = lease_of_ada(system, users)
    assert end(system, lease["id"]).status == 200


def test_rights__the_owners_user_may_end_what_an_administrator_asked_for(system, users):
    process = users.spawn("cat", user=ADA, group=ADA, extra_groups=[])
    lease = granted(Request(system, GIB, owner={"pid": process.pid}).answer())
    assert code(as_user(system, BOB, "DELETE", f"/v1/leases/{lease['id']}")) == (403, "forbidden")
    assert as_user(system, ADA, "DELETE", f"/v1/leases/{lease['id']}")[0] == 200


def test_rights__nobody_else_is_made_an_owner_or_a_member(system, users):
    lease, own = lease_of_ada(system, users)
    roots, target = users.idler(), f"/v1/leases/{lease['id']}"
    assert code(ask_as(system, ADA, owner={"pid": roots.pid})) == (403, "forbidden")
    assert code(ask_as(system, BOB, owner={"pid": own.pid})) == (403, "forbidden")
    assert code(ask_as(system, ADA, members=[f"pid:{roots.pid}"])) == (403, "forbidden")
    assert code(as_user(system, ADA, "PATCH", target, {"attach": [f"pid:{roots.pid}"]})) == (403, "forbidden")
    assert as_user(system, ADA, "PATCH", target, {"attach": [f"pid:{own.pid}"]})[0] == 200
    assert len(leases(system)["leases"]) == 1


def test_rights__the_environment_claims_nothing_for_another_user(system, users):
    lease, _ = lease_of_ada(system, users)
    claims = users.spawn(VRAM_SIM, "hold", "1G", env={"VRAM_LEASE": lease["id"]})
    users.holds(claims)  # root's, and ada's lease is not filled by it
    assert leases(system)["leases"][0]["held_bytes"] == 0
    processes = system.snapshot()["gpus"][0]["processes"]
    assert [process["lease"] for process in processes if process["pid"] == claims.pid] == [None]


def test_rights__pause_is_for_administrators(system):
    for verb in ("pause", "resume"):
        assert code(as_user(system, EVE, "POST", f"/v1/{verb}")) == (403, "forbidden")
        assert as_user(system, EVE, "POST", f"/v1/{verb}", groups=[ADMINS])[0] == 200
    assert system.get("/v1/daemon").json["paused"] is False


def test_rights__command_lines_are_for_their_users(system, users):
    holder = users.holds(users.spawn(VRAM_SIM, "hold", "1G"))

    def command(answer):
        return [process["command"] for process in answer["gpus"][0]["processes"] if process["pid"] == holder.pid]
    target = "/v1/snapshot?take=processes,commands"
    assert command(as_user(system, EVE, "GET", target)[1]) == [None]
    assert command(as_user(system, EVE, "GET", target, groups=[ADMINS])[1])[0].endswith("hold 1G")
    assert command(system.get(target).json)[0].endswith("hold 1G")
