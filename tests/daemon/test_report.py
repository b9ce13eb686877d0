# SPDX-License-Identifier: MIT
"""Who had the memory: /v1/report and `vram report`, of real leases and processes, and of a week that was written down."""
import csv
import io
import json
import os
import pwd
import re
import signal
import sqlite3
import time

import pytest
from conftest import DEADLINE
from leasing import GIB, IS_ROOT, Crowd, Request, change, granted, kill, waiting, when
from test_history import Past, make_past, past  # noqa: F401 (fixtures)
from test_many_users import system, users  # noqa: F401

ME = pwd.getpwuid(os.getuid()).pw_name
MINUTE = 60_000
HOUR = 60 * MINUTE
MONDAY = (int(time.time()) // 86400 - 10) * 24 * HOUR  # whatever day it was
AMOUNTS = ("leased", "held", "idle", "unleased")


def report(past, **parameters):
    return past.get("report", **parameters)


def row(answer, **what):
    found = [one for one in answer["rows"] if what.items() <= one.items()]
    assert len(found) == 1, answer
    return found[0]


def amounts(one):
    return tuple(one[f"{what}_gib_hours"] for what in AMOUNTS)


def once(past, condition, what, **parameters):
    """The report once it is so; every look is a sample."""
    deadline = time.monotonic() + DEADLINE
    while True:
        past.look()
        answer = report(past, **parameters)
        if condition(answer):
            return answer
        assert time.monotonic() < deadline, f"never: {what}: {answer}"


def check_sums(answer):
    """Rows come to the total, and what was leased was held or idle, or nobody knows."""
    for what in AMOUNTS:
        assert sum(one[f"{what}_gib_hours"] for one in answer["rows"]) == pytest.approx(
            answer["total"][f"{what}_gib_hours"], abs=1e-5)


# ---- As it happens ----------------------------------------------------------------------------------


def test_report__a_lease_what_it_holds_and_who_holds_without(past, hold):  # noqa: F811
    crowd = Crowd(past.daemon)
    try:
        crowd.hold("4G", "3G", options=("--label", "train"))
        hold(past.daemon, "2G")
        answer = once(past, lambda told: row(told, label="train")["held_gib_hours"] > 3 / 3600
                      and row(told, has_lease=False)["held_gib_hours"] > 2 / 3600, "both held a second", by="label")
        check_sums(answer)
        train, other = row(answer, label="train"), row(answer, has_lease=False)
        assert train["unleased_gib_hours"] == 0 and train["granted"] == 1 and train["waited"] == 0
        # 3 of 4 GiB for as long as it was known, but for the moments between the grant and the first look.
        assert train["leased_gib_hours"] == pytest.approx(
            train["held_gib_hours"] + train["idle_gib_hours"] + 4 * train["unknown_idle_hours"], abs=1e-5)
        assert 0 < train["idle_gib_hours"] < train["leased_gib_hours"]
        assert (other["label"], other["leased_gib_hours"], other["granted"]) == (None, 0, 0)
        assert other["held_gib_hours"] == other["unleased_gib_hours"]
        mine = row(report(past), user=ME)  # there is the machine's own desktop besides
        assert mine["granted"] == 1 and mine["leased_gib_hours"] > 0 and mine["unleased_gib_hours"] > 2 / 3600
        card = row(report(past, by="gpu"), gpu_index=0)
        assert card["held_gib_hours"] > 5 / 3600 and card["granted"] == 1
        assert report(past, gpu=0)["by"] == "user" and past.daemon.get("/v1/report?gpu=7").status == 404
    finally:
        crowd.end()


def test_report__who_outlives_a_lease_holds_without_one(past):  # noqa: F811
    crowd = Crowd(past.daemon)
    try:
        process = crowd.hold("4G", options=("--label", "train"))
        once(past, lambda told: row(told, label="train")["held_gib_hours"] > 0, "it held", by="label")
        lease, = past.daemon.get("/v1/leases").json["leases"]
        assert past.daemon.call("DELETE", f"/v1/leases/{lease['id']}").status == 200
        answer = once(past, lambda told: any(not one["has_lease"] and one["held_gib_hours"] > 4 / 3600 for one in told["rows"]),
                      "it goes on", by="label")
        check_sums(answer)
        assert process.poll() is None
        held = row(answer, label="train")["held_gib_hours"]
        assert report(past, by="label")["rows"][-1]["held_gib_hours"] >= 0
        assert row(report(past, by="label"), label="train")["held_gib_hours"] == held  # it does not grow any more
    finally:
        crowd.end()


def test_report__what_a_lease_was_before_it_changed(past):  # noqa: F811
    crowd = Crowd(past.daemon)
    try:
        owner = crowd.idler()
        id = granted(Request(past.daemon, 8 * GIB, owner={"pid": owner.pid}).answer())["id"]
        first = once(past, lambda told: told["total"]["leased_gib_hours"] > 8 / 3600, "a second of it")
        assert change(past.daemon, id, size_bytes=GIB).status == 200
        second = once(past, lambda told: told["hours"] and told["total"]["leased_gib_hours"]
                      > first["total"]["leased_gib_hours"] + 0.5 / 3600, "and more")
        with sqlite3.connect(past.file) as file:
            assert file.execute("SELECT lease, was FROM resize").fetchall() == [(id, 8 * GIB)]
            granted_ms, = file.execute("SELECT granted FROM lease").fetchone()
            at, = file.execute("SELECT at FROM resize").fetchone()
        # At the first size until then, and at the other since: no more than the time that has passed allows, and what
        # six decimals round.
        least, most = 8 * (at - granted_ms) / HOUR, (8 * (at - granted_ms) + time.time() * 1000 - at) / HOUR
        assert least - 1e-6 <= second["total"]["leased_gib_hours"] <= most + 1e-6
    finally:
        crowd.end()


def test_report__who_waited_who_gave_up_and_who_waits(past):  # noqa: F811
    crowd = Crowd(past.daemon)
    try:
        holder = crowd.hold("20G")
        first, second, third = (Request(past.daemon, 20 * GIB, owner={"pid": crowd.idler().pid}) for _ in range(3))
        for request in (first, second, third):
            request.wait()
        waiting(past.daemon, first.id, second.id, third.id)
        asked = time.monotonic()
        second.hang_up()
        waiting(past.daemon, first.id, third.id)
        while time.monotonic() - asked < 1.1:  # who waited less did not wait
            past.look()
        kill(holder)
        assert granted(first.answer())
        total = report(past)["total"]
        assert (total["granted"], total["waited"], total["gave_up"], total["waiting"]) == (2, 1, 1, 1)
        assert 1 <= total["wait_median_s"] == total["wait_mean_s"] == total["wait_longest_s"] < DEADLINE
        third.hang_up()
        first.hang_up()
    finally:
        crowd.end()


@pytest.mark.skipif(not IS_ROOT, reason="only root can be several users")
def test_report__of_two_users(system, users, tmp_path):  # noqa: F811
    from test_lease_rights import ADA, BOB
    daemon = system()
    daemon.stop()
    past = Past(daemon, tmp_path / "history.db").start("--config", str(daemon.directory / "vram.conf"))  # noqa: F811
    crowd = users(daemon)
    for user, size in ((ADA, "4G"), (BOB, "2G")):
        crowd.run(size, "cat", user=user, group=user, extra_groups=[65534])
    when(daemon, lambda listed: len(listed["leases"]) == 2, "both have one")
    answer = once(past, lambda told: sum(one["leased_gib_hours"] > 1 / 3600 for one in told["rows"]) == 2,
                  "half a second of both")
    check_sums(answer)
    lessees = [one for one in answer["rows"] if one["granted"]]
    assert all(one["idle_gib_hours"] > 0 and one["held_gib_hours"] == 0 and one["granted"] == 1 for one in lessees)
    assert len({one["user"] for one in lessees}) == 2 and lessees[0]["leased_gib_hours"] > lessees[1]["leased_gib_hours"]


def test_report__nobody_knows_what_was_held_while_no_daemon_ran(past, hold):  # noqa: F811
    crowd = Crowd(past.daemon)
    try:
        crowd.hold("4G", "3G", options=("--label", "train"))
        once(past, lambda told: row(told, label="train")["held_gib_hours"] > 0, "it held", by="label")
        past.daemon.stop(signal.SIGKILL)
        ended = time.time()
        while time.time() - ended < 1:
            pass
        past.start()
        once(past, lambda told: told["gpus"][0]["seen_hours"] > 0, "it is looked at")
        answer = once(past, lambda told: row(told, label="train")["unknown_idle_hours"] > 1 / 3600, "the gap is known", by="label")
        train = row(answer, label="train")
        assert train["unknown_held_hours"] > 1 / 3600 and train["granted"] == 1
        assert train["leased_gib_hours"] == pytest.approx(
            train["held_gib_hours"] + train["idle_gib_hours"] + 4 * train["unknown_idle_hours"], abs=1e-5)
        with sqlite3.connect(past.file) as file:
            looks = [seen for seen, in file.execute("SELECT seen FROM look ORDER BY at")]
        assert looks == [1, 0, 1]
    finally:
        crowd.end()


# ---- A week that was written down -------------------------------------------------------------------


@pytest.fixture
def week(past):  # noqa: F811
    """On Monday ada leases 40 GiB for a day, bob 10 GiB after a wait; somebody holds 2 GiB all week without a lease."""
    past.look()
    past.daemon.stop()
    with sqlite3.connect(past.file) as file:
        (gpu, uuid), = file.execute("SELECT id, uuid FROM gpu").fetchall()
        file.execute("DELETE FROM look")
        file.executemany("INSERT INTO look VALUES(?, ?, ?)", [(gpu, MONDAY - HOUR, 1), (gpu, MONDAY + 12 * HOUR, 0),
                                                              (gpu, MONDAY + 18 * HOUR, 1), (gpu, MONDAY + 168 * HOUR, 0)])

        def lease(id, label, user, size, asked, granted, ended):
            file.execute("INSERT INTO lease(id, label, user, size, gpus, asked, granted, ended) VALUES(?,?,?,?,?,?,?,?)",
                         (id, label, user, size * GIB, uuid, asked, granted, ended))
        lease("a1", "train", "ada", 40, MONDAY, MONDAY, MONDAY + 24 * HOUR)
        lease("b1", "serve", "bob", 10, MONDAY, MONDAY + 90 * MINUTE, MONDAY + 24 * HOUR)
        lease("b2", None, "bob", 1, MONDAY + HOUR, MONDAY + HOUR + 4000, MONDAY + 2 * HOUR + 4000)
        lease("b3", None, "bob", 99, MONDAY + HOUR, None, MONDAY + 5 * HOUR)

        def process(id, user, began, ended, member, *steps):
            file.execute("INSERT INTO process(id, gpu, pid, began, ended, name, user) VALUES(?,?,?,?,?,'python3',?)",
                         (id, gpu, id, began, ended, user))
            file.executemany("INSERT INTO step VALUES(?, ?, ?)", [(id, at, used) for at, used in steps])
            if member:
                file.execute("INSERT INTO member VALUES(?, ?, ?)", (id, began, member))
        process(1001, "root", MONDAY, MONDAY + 24 * HOUR, "a1", (MONDAY, 30 * GIB), (MONDAY + 6 * HOUR, 20 * GIB))
        process(1002, "ada", MONDAY, MONDAY + 6 * HOUR, "a1", (MONDAY, 10 * GIB))
        process(1003, None, MONDAY - HOUR, None, None, (MONDAY - HOUR, 2 * GIB))
    past.start()
    past.daemon.env["TZ"] = "UTC"
    return past


def day(number, form="%Y-%m-%d"):
    return time.strftime(form, time.gmtime(MONDAY // 1000 + number * 86400))


WEEK = {"from_": day(0, "%Y-%m-%dT00:00:00Z"), "to": day(7, "%Y-%m-%dT00:00:00Z")}
TIME = ("--since", day(0), "--until", day(7, "%Y-%m-%d 00:00"))



def test_report__of_a_week_comes_out_as_it_was(week):
    answer = report(week, **WEEK)
    assert answer["hours"] == 168 and answer["gpus"][0]["seen_hours"] == 162
    ada, bob, unknown = (row(answer, user=user) for user in ("ada", "bob", None))
    # Of 24 hours of 40 GiB: 6 with both processes, 6 with one, 6 that nobody saw, 6 with one.
    assert amounts(ada) == (960, 40 * 6 + 20 * 12, 20 * 12, 0)
    assert (ada["unknown_idle_hours"], ada["unknown_held_hours"], ada["granted"], ada["waited"]) == (6, 6, 1, 0)
    assert amounts(bob) == (225 + 1, 0, 165 + 1, 0)
    assert (bob["granted"], bob["waited"], bob["gave_up"]) == (2, 2, 1)
    assert (bob["wait_mean_s"], bob["wait_median_s"], bob["wait_longest_s"]) == (2702, 2702, 5400)
    assert amounts(unknown)[1:] == (324, 0, 324)
    assert [one["user"] for one in answer["rows"]] == ["ada", None, "bob"]
    check_sums(answer)
    labels = report(week, by="label", **WEEK)
    assert [(one["label"], one["has_lease"]) for one in labels["rows"]] == [
        ("train", True), (None, False), ("serve", True), (None, True)]
    card, = report(week, by="gpu", **WEEK)["rows"]
    assert amounts(card) == amounts(answer["total"])
    few = report(week, limit=1, **WEEK)
    assert len(few["rows"]) == 1 and few["left_out"] == 2 and few["total"] == answer["total"]
    evening = report(week, from_=day(0, "%Y-%m-%dT20:00:00Z"), to=day(0, "%Y-%m-%dT22:00:00Z"))
    assert amounts(row(evening, user="ada")) == (80, 40, 40, 0) and row(evening, user="ada")["granted"] == 0


PEOPLE = f"""\
GiB-hours from {day(0)} 00:00 to {day(7)} 00:00

USER   LEASED   HELD   IDLE  UNLEASED  LEASES  WAITED  MEDIAN  LONGEST  GAVE UP
ada     960.0  480.0  240.0         0       1       0       –        –        –
–           0  324.0      0     324.0       0       0       –        –        –
bob     226.0      0  166.0         0       2       2  45 min   90 min        1
total   1,186  804.0  406.0     324.0       3       2  45 min   90 min        1
"""


@pytest.mark.parametrize("columns", ["80", "160"])
def test_command__is_a_table(week, columns):
    week.daemon.env["COLUMNS"] = columns
    told = week.daemon.vram("report", *TIME)
    assert (told.returncode, told.stdout) == (0, PEOPLE)
    assert "processes were looked at for 162.0 of 168.0 hours" in told.stderr
    labels = week.daemon.vram("report", "--by", "label", *TIME).stdout.splitlines()
    assert [line.split("  ")[0] for line in labels[2:]] == ["LABEL", "train", "(no lease)", "serve", "(no label)", "total"]
    assert max(map(len, PEOPLE.splitlines())) <= 80


def test_command__for_programs(week):
    rows = list(csv.DictReader(io.StringIO(week.daemon.vram("report", "--csv", *TIME).stdout)))
    assert [one["user"] for one in rows] == ["ada", "", "bob"] and float(rows[0]["idle_gib_hours"]) == 240
    assert rows[0]["wait_median_s"] == "" and float(rows[2]["wait_median_s"]) == 2702
    rows = list(csv.DictReader(io.StringIO(week.daemon.vram("report", "--csv", "--by", "label", *TIME).stdout)))
    assert [(one["label"], one["has_lease"]) for one in rows][:2] == [("train", "true"), ("", "false")]
    rows = list(csv.DictReader(io.StringIO(week.daemon.vram("report", "--csv", "--by", "gpu", *TIME).stdout)))
    assert rows[0]["gpu_index"] == "0" and rows[0]["gpu"].startswith("GPU-")
    assert json.loads(week.daemon.vram("report", "--json", *TIME).stdout)["total"]["granted"] == 3
    text = week.daemon.vram("report", "--json", "--since", "1000s").stdout
    assert re.search(r'"hours":0.27777[0-9],', text), "what the daemon has rounded is shown so"


def test_report__over_tcp_is_for_reading(past):  # noqa: F811
    past.daemon.stop()
    past.start("--listen", "127.0.0.1:0")
    address = past.daemon.get("/v1/daemon").json["listen"]
    import http.client
    connection = http.client.HTTPConnection(address, timeout=DEADLINE)
    connection.request("GET", "/v1/report")
    assert connection.getresponse().status == 200
    connection.close()


# ---- What is none -----------------------------------------------------------------------------------


def test_report__questions_that_are_none_are_told(past):  # noqa: F811
    for query, word in (("by=colour", "by is user, label or gpu"), ("from=x", "from is no moment"), ("to=1&from=2", "to is not behind"),
                        ("limit=0", "limit is a number"), ("from=2099-01-01T00:00:00Z&to=2100-01-01T00:00:00Z", "has not been yet")):
        reply = past.daemon.get(f"/v1/report?{query}")
        assert reply.status == 400 and word in reply.json["error"]["message"], reply.body
    assert past.daemon.call("POST", "/v1/report").status == 405
    for arguments, word in ((("--by", "colour"), "--by is user, label or gpu"), (("--since", "then"), "is no moment"),
                            (("--since", "1h", "--until", "2h"), "--until is not behind"), (("--since", "2099-01-01", "--until",
                             "2100-01-01"), "has not been yet"), (("more",), "more")):
        told = past.daemon.vram("report", *arguments)
        assert told.returncode == 2 and word in told.stderr, told
    assert past.daemon.vram("report", "--gpu", "9").returncode == 3


def test_report__where_nothing_was_it_says_so(past):  # noqa: F811
    told = past.daemon.vram("report", "--since", "3d", "--until", "2d")
    assert (told.returncode, told.stdout) == (6, "") and "nothing was recorded in that time" in told.stderr
    empty = report(past, from_=1, to=2)
    assert empty["rows"] == [] and empty["total"]["leased_gib_hours"] == 0 and empty["total"]["wait_mean_s"] is None


def test_report__without_a_history_it_says_how_to_have_one(daemon):
    told = daemon.vram("report")
    assert told.returncode == 4 and daemon.get("/v1/report").status == 503
    assert "without SQLite" in told.stderr or ("no history is kept" in told.stderr and "history = on" in told.stderr)


def test_report__many_at_once_are_made_one_after_the_other(week):
    """Some go before theirs is made; the others all have it, and who is too many is told."""
    asked = [week.daemon.connect(b"GET /v1/report?by=label HTTP/1.1\r\nHost: vram\r\n\r\n") for _ in range(40)]
    for one in asked[::4]:
        one.close()
    statuses = set()
    for i, one in enumerate(asked):
        if i % 4:
            one.settimeout(DEADLINE)
            statuses.add(one.recv(64).split()[1])
            one.close()
    assert b"200" in statuses and statuses <= {b"200", b"503"}
    assert week.daemon.get("/v1/report").status == 200


def test_report__the_end_of_the_daemon_does_not_wait_for_one(week):
    asked = [week.daemon.connect(b"GET /v1/report HTTP/1.1\r\nHost: vram\r\n\r\n") for _ in range(10)]
    assert week.daemon.stop() == 0
    for one in asked:
        one.close()
