# SPDX-License-Identifier: MIT
"""GET /metrics and `vram metrics`: the formats, the figures, and what they cost the driver."""
import os
import re
import signal
from pathlib import Path

import pytest
from conftest import DEADLINE, VRAM_SIM, eventually
from exposition import parse
from leasing import GIB, MIB, Crowd, Request, granted, kill
from reading import scrape

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"VRAM_CALL_TIMEOUT": "300ms"}
TWO_GPUS = """driver 550.54.14
gpu 0 name=One uuid=GPU-00000000-0000-0000-0000-000000000001 pci=0000:01:00.0 total=24564M reserved=400M temp=41
gpu 1 name=Two uuid=GPU-00000000-0000-0000-0000-000000000002 pci=0000:02:00.0 total=24564M reserved=400M temp=42
proc 0 pid=4194401 name=python3 mem=1010M type=C
"""
PROFILES = ["rtx4090", "2x3090", "8xh100", "gb10", "wsl", "mig", "empty", "laptop", "old"]


def calls(daemon, function):
    return sum(int(count) for count in re.findall(rf"^calls +(\d+)  {function}\w*$", daemon.sim("stats"), re.M))


@pytest.mark.parametrize("open", [False, True], ids=["prometheus", "openmetrics"])
@pytest.mark.parametrize("profile", PROFILES)
def test_metrics__formats_hold_on_every_machine(make_daemon, profile, open):
    daemon = make_daemon(f"sim:{profile}").start()
    told = scrape(daemon, open=open)
    assert told.value("vram_collect_success", backend="sim") == 1
    gpus = daemon.snapshot()["gpus"]
    assert len(told.get("vram_device_up", ())) == len(gpus)
    for gpu in gpus:
        for key, name in (("total_bytes", "vram_total_bytes"), ("used_bytes", "vram_used_bytes"),
                          ("free_bytes", "vram_free_bytes"), ("driver_reserved_bytes", "vram_driver_reserved_bytes"),
                          ("temperature_c", "vram_temperature_celsius")):
            found = [value for labels, value in told.get(name, ()) if labels["uuid"] == gpu["uuid"]]
            if gpu["memory_kind"] == "unified" and key in ("used_bytes", "free_bytes"):  # this machine's RAM: it never rests
                assert len(found) == 1
            else:
                assert found == ([] if gpu[key] is None else [gpu[key]]), (profile, key)


def test_metrics__figures_add_up(make_daemon):
    told = scrape(make_daemon("sim:8xh100").start())
    for labels, total in told["vram_total_bytes"]:
        uuid = labels["uuid"]
        used = told.value("vram_used_bytes", uuid=uuid)
        assert total == used + told.value("vram_free_bytes", uuid=uuid) + told.value("vram_driver_reserved_bytes", uuid=uuid)
        held = sum(value for have, value in told["vram_process_used_bytes"] if have["uuid"] == uuid)
        assert told.value("vram_unattributed_bytes", uuid=uuid) == used - held
        assert told.value("vram_headroom_bytes", uuid=uuid) == told.value("vram_free_bytes", uuid=uuid) - GIB
        states = [value for have, value in told["vram_device_state"] if have["uuid"] == uuid]
        assert sorted(states) == [0, 0, 0, 0, 1]
    assert {labels["gpu"] for labels, _value in told["vram_total_bytes"]} == set("01234567")


def with_a_past(daemon, directory):
    """A daemon that keeps a history and runs a command for events."""
    config = directory / "vram.conf"
    config.write_text("[daemon]\non_event = cat > /dev/null\n")
    daemon.start("--config", config, "--history", str(directory / "history.db"))
    if "without SQLite" in daemon.get("/v1/history").body.decode():
        pytest.skip("this vramd was built without SQLite")
    return daemon


def test_metrics__the_document_lists_them_all(make_daemon, tmp_path):
    """docs/metrics.md against what a machine with everything tells: families, types, labels."""
    daemon = with_a_past(make_daemon(), tmp_path)
    crowd = Crowd(daemon)
    try:
        crowd.hold("4G", options=["--for", "1h", "--label", "x"])
        eventually(lambda: scrape(daemon).get("vram_lease_held_bytes"), "a lease")
        assert daemon.get("/v1/history").status == 200  # has it written, and so measured
        told = scrape(daemon)
    finally:
        crowd.end()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", (ROOT / "docs/metrics.md").read_text(), re.M)
    listed = {name: (kind.replace("info", "gauge"), labels.replace("D", "gpu, uuid").replace(" ", "").strip(","))
              for name, kind, labels in rows}
    seldom = {"vram_container_used_bytes", "vram_process_start_time_seconds"}  # no container, nobody 30 s old
    assert set(listed) - seldom == set(told) - seldom
    for name, samples in told.items():
        assert told.types[name] == listed[name][0], name
        labels = {",".join(labels) for labels, _value in samples}
        assert labels == {listed[name][1]}, name


def test_metrics__events_are_counted_where_somebody_looks(make_daemon, tmp_path, hold):
    daemon = with_a_past(make_daemon(), tmp_path)
    free = daemon.snapshot("?take=processes")["gpus"][0]["free_bytes"]
    assert scrape(daemon).value("vram_events_total", gpu="0", event="oom_suspected") == 0
    kill(hold(daemon, f"{free // MIB - 100}M"))
    daemon.snapshot("?take=processes")
    holder = hold(daemon, f"{free // MIB - 100}M")
    daemon.snapshot("?take=processes")
    kill(holder)
    daemon.snapshot("?take=processes")
    told = scrape(daemon)
    for event in ("nearly_full", "oom_suspected"):
        assert told.value("vram_events_total", gpu="0", event=event) == 1, event
    assert told.value("vram_events_total", gpu="0", event="process_ended") >= 1
    assert told.value("vram_events_total", gpu="0", event="gpu_lost") == 0
    eventually(lambda: scrape(daemon).value("vram_event_commands_total", result="done") >= 5, "the command was run")


def test_metrics__a_peak_between_scrapes_is_told(daemon, hold):
    used = scrape(daemon).value("vram_used_bytes", gpu="0")
    assert scrape(daemon).value("vram_used_peak_bytes", gpu="0", window="1m") == used
    holder = hold(daemon, "6G")
    daemon.snapshot("?take=processes")  # whoever asks
    kill(holder)
    eventually(lambda: scrape(daemon).value("vram_used_bytes", gpu="0") == used, "it is gone")
    told = scrape(daemon)
    assert told.value("vram_used_peak_bytes", gpu="0", window="1m") == used + 6 * GIB
    daemon.sim("inject", "gpu 0 lost")
    eventually(lambda: "vram_used_bytes" not in scrape(daemon), "it is lost")
    assert "vram_used_peak_bytes" not in scrape(daemon)


def test_metrics__leases(daemon, crowd):
    first = Request(daemon, 4 * GIB, label='two "words"\n', owner={"pid": crowd.idler().pid})
    lease = granted(first.answer())
    assert Request(daemon, 900 * GIB, wait_ms=0).answer()["verdict"] == "never"
    waiter = Request(daemon, 20 * GIB)
    waiter.wait()
    told = scrape(daemon)
    assert told.value("vram_leases", state="ok") == 1 and told.value("vram_leases", state="squeezed") == 0
    assert told.value("vram_waiters") == 1
    assert told.value("vram_lease_size_bytes", lease=lease["id"], gpu="0") == 4 * GIB
    assert told.value("vram_lease_held_bytes", lease=lease["id"]) == 0
    assert told.value("vram_lease_outstanding_bytes", lease=lease["id"]) == 4 * GIB
    assert told.value("vram_outstanding_bytes", gpu="0") == 4 * GIB
    assert told.value("vram_lease_info", lease=lease["id"], label='two "words"') == 1
    assert told.value("vram_lease_requests_total", result="granted") == 1
    assert told.value("vram_lease_requests_total", result="never") == 1
    assert told.value("vram_promising") == 1
    waiter.hang_up()


def test_metrics__requests_are_counted_by_route(daemon):
    daemon.get("/v1/daemon")
    daemon.get("/v1/daemon")
    daemon.call("DELETE", "/v1/snapshot")
    daemon.get("/secret/path")
    daemon.call("DELETE", "/v1/leases/0123456789abcdef")
    told = scrape(daemon)
    assert told.value("vram_http_requests_total", handler="/v1/daemon", code="200") == 2
    assert told.value("vram_http_requests_total", handler="(other)", code="404") == 1
    assert told.value("vram_http_requests_total", handler="/v1/leases/", code="404") == 1
    assert scrape(daemon).value("vram_http_requests_total", handler="/metrics", code="200") == 1
    assert told.value("process_resident_memory_bytes") > 1 << 20


# ---- What a scrape costs ---------------------------------------------------------------------------


def test_metrics__a_scrape_asks_no_driver(make_daemon, scenario):
    """However many there are, the driver is asked once a second."""
    daemon = make_daemon(scenario(TWO_GPUS)).start()
    scrape(daemon)
    begun = scrape(daemon).value("vram_collect_last_success_timestamp_seconds")
    before = calls(daemon, "nvmlDeviceGetMemoryInfo")
    for _ in range(200):
        told = scrape(daemon)
    passed = told.value("vram_collect_last_success_timestamp_seconds") - begun
    assert (calls(daemon, "nvmlDeviceGetMemoryInfo") - before) / 2 <= passed + 2
    assert passed < 30


def test_metrics__figures_are_kept_fresh(make_daemon, scenario):
    """Memory each second, process lists less often, and nobody has to ask for it but a scraper."""
    daemon = make_daemon(scenario(TWO_GPUS)).start()
    assert calls(daemon, "nvmlDeviceGetMemoryInfo") == 0  # nobody has asked for anything
    first = scrape(daemon).value("vram_collect_last_success_timestamp_seconds")
    eventually(lambda: calls(daemon, "nvmlDeviceGetMemoryInfo") >= 2 * 6, "five seconds of figures")
    lists = calls(daemon, "nvmlDeviceGetComputeRunningProcesses") / 2
    assert 1 <= lists <= 3, lists
    assert scrape(daemon).value("vram_collect_last_success_timestamp_seconds") > first
    assert scrape(daemon).value("vram_process_used_bytes", pid="4194401") == 1010 * MIB


def test_metrics__samples_of_memory_alone_are_no_news(make_daemon, scenario):
    """Who waits for a change is not told of one because process lists were not asked for in between."""
    daemon = make_daemon(scenario(TWO_GPUS)).start()
    scrape(daemon)
    epoch = daemon.snapshot()["epoch"]
    first = scrape(daemon).value("vram_collect_last_success_timestamp_seconds")
    eventually(lambda: scrape(daemon).value("vram_collect_last_success_timestamp_seconds") > first + 0.5, "a sample")
    assert daemon.snapshot()["epoch"] == epoch


def test_metrics__the_first_scrape_waits_no_longer_than_it_may(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS + "hang nvmlInit* until=release\n")).start()
    told = scrape(daemon, "?timeout_ms=50")
    assert "vram_device_up" not in told and "vram_collect_success" not in told
    assert told.value("vram_collect_running_seconds") > 0
    daemon.sim("release")
    eventually(lambda: "vram_device_up" in scrape(daemon), "the driver answers")


@pytest.mark.parametrize("target, status, code", [
    ("/metrics?timeout_ms=x", 400, "bad_request"), ("/metrics?driver=sim:other", 409, "other_driver"),
    ("/metrics/", 404, "not_found")])
def test_metrics__refuses(daemon, target, status, code):
    reply = daemon.get(target)
    assert (reply.status, reply.error["code"]) == (status, code)


# ---- Bad days --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how, state", [("lost", "lost"), ("hang nvmlDeviceGetMemoryInfo_v2 gpu=1 until=release", "hung")])
def test_metrics__a_gpu_that_is_gone_is_down_and_hides_nothing(make_daemon, scenario, how, state):
    text = TWO_GPUS.replace("temp=42", "temp=42 lost") if how == "lost" else f"{TWO_GPUS}{how}\n"
    daemon = make_daemon(scenario(text)).start(env=QUICK)
    told = scrape(daemon, f"?timeout_ms={DEADLINE * 1000}")
    assert told.value("vram_device_up", gpu="0") == 1 and told.value("vram_device_up", gpu="1") == 0
    assert told.value("vram_device_state", gpu="1", state=state) == 1
    for name in ("vram_total_bytes", "vram_used_bytes", "vram_free_bytes", "vram_headroom_bytes", "vram_processes"):
        assert [labels["gpu"] for labels, _value in told[name]] == ["0"], name
    daemon.sim("release")


def test_metrics__a_driver_that_hangs_is_seen(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS)).start(env=QUICK)
    scrape(daemon)
    os.kill(daemon.collector(), signal.SIGSTOP)
    eventually(lambda: scrape(daemon).value("vram_collect_running_seconds") > 0.5, "a collection that does not end")
    eventually(lambda: scrape(daemon).value("vram_collect_errors_total", reason="timeout") == 1, "it is given up")
    eventually(lambda: scrape(daemon).value("vram_collect_success") == 1, "another answers")


def test_metrics__a_driver_that_fails_is_counted(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS + "fail nvmlInit* ret=999\n")).start()
    told = scrape(daemon)
    assert told.value("vram_collect_success") == 0 and told.value("vram_collect_errors_total", reason="driver") == 1
    assert "vram_device_up" not in told and "vram_collect_last_success_timestamp_seconds" not in told


def test_metrics__paused(daemon):
    scrape(daemon)
    daemon.call("POST", "/v1/pause")
    told = scrape(daemon)
    assert told.value("vram_promising") == 0
    assert told.value("vram_collect_running_seconds") == 0


HOSTILE = ["a\\\\b", "x\ty", "\u202eevil\u2066", "naïve €", "x" * 63, "{}=,", "# HELP x"]


def test_metrics__hostile_names_from_the_driver(make_daemon, tmp_path):
    lines = "".join(f'proc 1 pid={4194500 + i} name="{name}" mem=500M type=C\n' for i, name in enumerate(HOSTILE))
    path = tmp_path / "hostile.scenario"
    path.write_bytes((TWO_GPUS.replace("name=Two", 'name="Two \\ of them"') + lines).encode()
                     + b'proc 1 pid=4194600 name="\xff\xfe\xc0" mem=600M type=C\n')
    daemon = make_daemon(f"sim:{path}@hostile").start()
    for open in (False, True):
        told = scrape(daemon, open=open)
        assert len([labels for labels, _value in told["vram_process_used_bytes"] if labels["gpu"] == "1"]) == 8
        assert all(len(labels["process"].encode()) <= 64 for labels, _value in told["vram_process_used_bytes"])
        assert told.value("vram_process_used_bytes", pid="4194600") == 600 * MIB


def test_metrics__hostile_names_of_programs(daemon, crowd, tmp_path):
    """A program that calls itself as no program should. Its series wait until it is old enough; its lease's do not."""
    program = tmp_path / 'e"v\ni}l\\'
    program.symlink_to(VRAM_SIM)
    crowd.holds(crowd.run("2G", program, "hold", "2G", options=["--label", 'a "b"\\ {c="d"} 1\n# EOF']))
    for open in (False, True):
        told = eventually(lambda: scrape(daemon, open=open).get("vram_lease_info"), "a lease")
        assert told[0][0]["label"] == 'a "b"\\ {c="d"} 1# EOF'


def test_metrics__series_are_bounded(make_daemon, scenario):
    processes = "".join(f"proc 0 pid={4194500 + i} name=p{i} mem={100 + i}M type=C\n" for i in range(60))
    daemon = make_daemon(scenario(TWO_GPUS + processes)).start()
    told = scrape(daemon)
    mine = [labels for labels, _value in told["vram_process_used_bytes"] if labels["gpu"] == "0"]
    assert len(mine) == 21 and mine[-1]["process"] == "(other)"
    assert told.value("vram_processes", gpu="0") == 61 and told.value("vram_processes_omitted", gpu="0") == 41
    assert sum(map(len, told.values())) < 300


# ---- vram metrics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("open", [False, True], ids=["prometheus", "openmetrics"])
def test_command__prints_the_daemons(daemon, open):
    run = daemon.vram("metrics", *["--openmetrics"] * open)
    told = parse(run.stdout, open=open)
    assert run.returncode == 0 and told.value("vram_leases", state="ok") == 0
    assert told.value("vram_total_bytes", gpu="0") == 24564 * MIB


@pytest.mark.parametrize("open", [False, True], ids=["prometheus", "openmetrics"])
def test_command__prints_its_own_without_a_daemon(make_daemon, open):
    told = parse(make_daemon().vram("metrics", *["--openmetrics"] * open).stdout, open=open)
    assert told.value("vram_total_bytes", gpu="0") == 24564 * MIB
    assert told.value("vram_device_up", gpu="0") == 1
    assert not [name for name in told if name.startswith(("vram_lease", "vram_collect", "process_"))]


def test_command__does_not_take_another_drivers(daemon):
    run = daemon.vram("metrics", "--driver", "sim:8xh100")
    assert len(parse(run.stdout)["vram_device_up"]) == 8


def test_command__fails_as_others_do(make_daemon, scenario):
    run = make_daemon(scenario(TWO_GPUS + "fail nvmlInit* ret=9\n")).vram("metrics")
    assert (run.returncode, run.stdout) == (3, "") and run.stderr.startswith("vram: ")
