# SPDX-License-Identifier: MIT
"""Room kept for programs that never ask, with real processes on the simulated driver."""
import getpass
import signal

import pytest

from conftest import VRAM_SIM, eventually
from leasing import GIB, MIB, Crowd, Request, granted, leases

HEADROOM = (24564 - 400 - 310 - 1010 - 1024) * MIB  # of the RTX 4090 that is simulated
CEILING = "[ceiling render]\nmatch = name:render\nsize = 12G\n"


@pytest.fixture
def configured(make_daemon, tmp_path):
    """A daemon with this configuration, and what it logs."""
    def start(text, driver="sim:rtx4090"):
        config = tmp_path / "vram.conf"
        config.write_text(text)
        log = open(tmp_path / "log", "w+")
        daemon = make_daemon(driver)
        assert daemon.start("--config", str(config), stderr=log).ready == "ready"
        daemon.config, daemon.log = config, log
        return daemon
    return start


def said(daemon):
    daemon.log.seek(0)
    return daemon.log.read()


def reconfigure(daemon, text, line):
    daemon.config.write_text(text)
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: line in said(daemon), line)


def gpu_of(daemon):
    return daemon.snapshot()["gpus"][0]


def test_ceilings__are_kept_while_nobody_runs(configured):
    daemon = configured(CEILING)
    gpu = gpu_of(daemon)
    assert (gpu["outstanding_bytes"], gpu["ceiling_bytes"], gpu["own_outstanding_bytes"]) == (12 * GIB, 12 * GIB, 0)
    assert leases(daemon)["ceilings"] == [
        {"name": "render", "match": "name:render", "gpu": gpu["uuid"], "size_bytes": 12 * GIB, "held_bytes": 0,
         "outstanding_bytes": 12 * GIB}]
    left = (HEADROOM - 12 * GIB) // MIB
    assert daemon.vram("fit", str(left)).returncode == 0
    assert daemon.vram("fit", str(left + 1)).returncode == 1
    status = daemon.vram("status").stdout
    assert "12.0 GiB of outstanding kept by ceilings" in status
    table = daemon.vram("leases")
    assert table.stdout.split() == ["CEILING", "FOR", "GPU", "SIZE", "HELD", "OUTSTANDING",
                                    "render", "name:render", "0", "12.0", "GiB", "0", "B", "12.0", "GiB"], table.stdout
    assert "vram_ceiling_bytes{" in daemon.vram("metrics").stdout


def test_ceilings__are_filled_and_kept_again(configured, hold):
    daemon = configured(CEILING)
    program = hold(daemon, "8G", "--name", "render")
    assert gpu_of(daemon)["ceiling_bytes"] == 4 * GIB
    assert leases(daemon)["ceilings"][0]["held_bytes"] == 8 * GIB
    program.kill()
    program.wait()
    assert gpu_of(daemon)["ceiling_bytes"] == 12 * GIB


def test_ceilings__hold_back_leases_and_say_so(configured):
    daemon = configured(CEILING)
    crowd = Crowd(daemon)
    try:
        request = Request(daemon, 11 * GIB, owner={"pid": crowd.idler().pid})
        assert "where 12.0 GiB are kept by ceilings" in request.wait()["waits_for"]
        reconfigure(daemon, CEILING.replace("12G", "4G"), "the configuration was read again")
        granted(request.answer())
        assert leases(daemon)["ceilings"][0]["size_bytes"] == 4 * GIB
    finally:
        crowd.end()


def test_ceilings__a_mistake_is_told_and_what_held_before_goes_on(configured):
    daemon = configured(CEILING)
    reconfigure(daemon, CEILING.replace("12G", "12 G"), "what was configured before goes on")
    assert f"{daemon.config}:3: size cannot be '12 G': it is a size such as 18G" in said(daemon)
    assert gpu_of(daemon)["ceiling_bytes"] == 12 * GIB


def test_ceilings__a_lease_of_the_program_is_not_counted_besides(configured):
    daemon = configured(CEILING.replace("12G", "6G"))
    crowd = Crowd(daemon)
    try:
        program = crowd.run("14G", VRAM_SIM, "hold", "9G", "--name", "render")
        crowd.holds(program)
        gpu = gpu_of(daemon)
        assert (gpu["outstanding_bytes"], gpu["ceiling_bytes"]) == (5 * GIB, 0)
        assert leases(daemon)["ceilings"][0]["held_bytes"] == 9 * GIB
    finally:
        crowd.end()


def test_ceilings__are_on_the_gpus_that_are_named(configured):
    daemon = configured(CEILING + "gpu = 1\n[ceiling all]\nmatch = user:nobody-at-all\nsize = 1G\n", "sim:2x3090")
    assert [gpu["ceiling_bytes"] for gpu in daemon.snapshot()["gpus"]] == [1 * GIB, 13 * GIB]
    assert [one["name"] for one in leases(daemon)["ceilings"]] == ["render", "all", "all"]


def test_ceilings__command_lines_can_be_told_apart(configured, hold):
    daemon = configured("[ceiling main]\nmatch = command:hold 3G\nsize = 5G\n")
    hold(daemon, "3G")
    hold(daemon, "4G")
    assert gpu_of(daemon)["ceiling_bytes"] == 2 * GIB
    assert all(process.get("command") is None for process in gpu_of(daemon)["processes"])


def test_ceilings__whoever_is_under_one_does_not_count_it_against_itself(configured):
    daemon = configured(f"[ceiling mine]\nmatch = user:{getpass.getuser()}\nsize = 20G\n")
    assert gpu_of(daemon)["own_outstanding_bytes"] == 20 * GIB
    assert daemon.vram("fit", "14G").returncode == 0
    crowd = Crowd(daemon)
    try:
        granted(Request(daemon, 14 * GIB, owner={"pid": crowd.idler().pid}, wait_ms=0).answer())
        assert gpu_of(daemon)["outstanding_bytes"] == 20 * GIB
    finally:
        crowd.end()
