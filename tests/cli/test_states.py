# SPDX-License-Identifier: MIT
"""GPUs that do not answer as they should: shown with words, never hidden, never guessed."""
TWO = "driver 550.54.14\ngpu 0 total=24564M reserved=400M\ngpu 1 total=24564M reserved=400M\n"


def states(run):
    return [gpu["state"] for gpu in run.json["gpus"]]


def test_lost_and_denied(vram, scenario):
    driver = scenario(TWO + "gpu 0 lost\ngpu 1 denied\n")
    assert states(vram("--json", driver=driver)) == ["lost", "denied"]
    run = vram(driver=driver)
    assert run.status == 0
    assert "lost: it no longer answers" in run.out
    assert "denied: this user may not open it" in run.out
    assert "vram: GPU 0: " in run.err and "vram: GPU 1: " in run.err
    assert "vram: GPU 0: " not in vram("--gpu", "1", driver=driver).err


def test_hung(vram, scenario):
    driver = scenario(TWO + "hang nvmlDeviceGetMemoryInfo* gpu=1\n")
    env = {"VRAM_CALL_TIMEOUT": "200ms"}
    run = vram(driver=driver, env=env)
    assert run.status == 0
    assert "hung: the driver does not answer" in run.out
    assert "23.6 GiB" in run.out  # the sibling is not hidden
    assert vram("fit", "4G", driver=driver, env=env).out.startswith("✓ 4 GiB fits on GPU 0")
    run = vram("fit", "4G", "--gpu", "1", driver=driver, env=env)
    assert run.status == 6
    assert "GPU 1 is hung" in run.out


def test_start_that_hangs(vram, scenario):
    driver = scenario(TWO + "hang nvmlInit*\n")
    run = vram(driver=driver, env={"VRAM_CALL_TIMEOUT": "200ms"})
    assert (run.status, run.out) == (3, "")
    assert "does not answer" in run.err


def test_asleep(vram, machine):
    env = {"VRAM_SYSROOT": machine("laptop")}
    run = vram(driver="sim:laptop", env=env)
    assert run.status == 0
    assert "asleep: --wake asks it" in run.out
    assert states(vram("--json", driver="sim:laptop", env=env)) == ["asleep"]
    awake = vram("--wake", driver="sim:laptop", env=env)
    assert "7.8 GiB" in awake.out
    asked = vram("fit", "4G", driver="sim:laptop", env=env)
    assert asked.status == 6
    assert "--wake asks it" in asked.out
    assert vram("fit", "4G", "--wake", driver="sim:laptop", env=env).status == 0


def test_unreadable_process_lists(vram, scenario):
    driver = scenario(TWO + "fail *Processes* ret=999\n")
    run = vram(driver=driver)
    assert run.status == 0
    assert run.out.count("processes: unknown") == 2
    assert "RunningProcesses" in run.err
    assert [gpu["processes"] for gpu in vram("--json", driver=driver).json["gpus"]] == [None, None]
    none = vram("ps", driver=driver)
    assert none.status == 6
    assert "as far as the driver tells" in none.err


def test_memory_that_no_process_seen_here_holds(vram, scenario):
    run = vram("ps", driver=scenario(TWO + "gpu 1 managed=783M\n"))
    assert (run.status, run.out) == (1, "")
    assert run.err == "vram: no process that can be seen here holds GPU memory; 783 MiB are used by others\n"
    assert vram("ps", driver=scenario(TWO)).err == "vram: no process holds GPU memory\n"
    shown = vram(driver=scenario(TWO + "gpu 1 managed=783M\n")).out
    assert "  no processes\n" in shown and "  no processes that can be seen here\n" in shown


def test_temperature_is_no_reason_to_fail(vram, scenario):
    driver = scenario(TWO + "fail *Temperature* ret=999\nfail *Utilization* ret=3\n")
    gpus = vram("--json", driver=driver).json["gpus"]
    assert [gpu["temperature_c"] for gpu in gpus] == [None, None]
    assert [gpu["free_bytes"] for gpu in gpus] == [24164 << 20] * 2


def test_marks_of_what_figures_mean(vram, machine):
    assert "used includes the driver's reserve" in vram(driver="sim:old").out
    assert "unified memory" in vram(driver="sim:gb10", env={"VRAM_SYSROOT": machine("gb10")}).out
    assert "MIG: a share of the card GPU-" in vram(driver="sim:mig").out
    assert "unattributed 3.7 GiB" in vram(driver="sim:wsl").out
    assert "unattributed" not in vram(driver="sim:rtx4090").out
