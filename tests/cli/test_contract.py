# SPDX-License-Identifier: MIT
"""Exit statuses, and the errors that go with them."""
import json

import pytest

LOST = "driver 550.54.14\ngpu 0 total=24564M reserved=400M lost\n"
NO_FREE = "driver 580.95.05\ngpu 0 name=\"NVIDIA GB10\" memory=unsupported\n"

STATUSES = [
    (0, ["status"]),
    (0, []),
    (0, ["fit", "20000"]),
    (0, ["ps"]),
    (0, ["ps", "PYTHON"]),
    (0, ["help"]),
    (0, ["help", "fit"]),
    (0, ["--version"]),
    (0, ["fit", "--help"]),
    (1, ["fit", "22000"]),
    (1, ["ps", "nothing-is-called-so"]),
    (2, ["fit"]),
    (2, ["fit", "12Q"]),
    (2, ["fit", "4G", "--margin", "x"]),
    (2, ["fit", "4G", "--gpus", "0"]),
    (2, ["fit", "4G", "--gpus", "two"]),
    (2, ["fit", "4G", "--timeout", "soon"]),
    (2, ["watch", "--every", "99ms"]),
    (2, ["watch", "--every", "-1s"]),
    (2, ["status", "extra"]),
    (2, ["ps", "a", "b"]),
    (2, ["sttaus"]),
    (2, [""]),
    (2, ["--no-such-option"]),
    (2, ["--json", "--csv"]),
    (2, ["--json=yes"]),
    (2, ["--gpu"]),
    (2, ["--gpu", "7"]),
    (2, ["--gpu", "GPU-ffffffff"]),
    (2, ["--gpu", "no such thing"]),
    (2, ["--color", "blue"]),
    (2, ["--driver", "nonsense"]),
    (2, ["help", "sttaus"]),
    (5, ["fit", "30000"]),
    (5, ["fit", "4G", "--gpus", "2"]),
]


@pytest.mark.parametrize("status, args", STATUSES, ids=lambda value: " ".join(map(str, value)) or "-"
                         if isinstance(value, list) else str(value))
def test_status(vram, status, args):
    run = vram(*args)
    assert run.status == status
    if status == 2:
        assert run.out == "" or "--json" in args
        assert run.err.startswith("vram: ")
        assert len(run.err.splitlines()) <= 3


@pytest.mark.parametrize("status, args", [row for row in STATUSES if row[0] == 2],
                         ids=lambda value: " ".join(value) or "-" if isinstance(value, list) else "")
def test_usage_errors_as_json(vram, status, args):
    run = vram(*args, "--json") if "--gpu" != args[-1] else vram("--json", *args)
    assert run.status == 2
    assert set(run.json) == {"error"}
    assert set(run.json["error"]) == {"code", "message", "hint"}
    assert run.json["error"]["message"] in run.err


def test_unknown_is_6(vram, scenario):
    driver = scenario("driver 550.54.14\ngpu 0 total=24564M reserved=400M suspended\n"
                      "gpu 1 total=24564M reserved=400M\nfail nvmlDeviceGetMemoryInfo* gpu=1 ret=999\n")
    run = vram("fit", "4G", "--gpu", "1", driver=driver)
    assert run.status == 6
    assert "GPU 1 does not tell how much is free" in run.out


@pytest.mark.parametrize("args", [["status"], ["fit", "4G"], ["ps"], ["watch"]], ids=lambda args: args[0])
def test_no_gpu_is_3(vram, args):
    run = vram(*args, driver="sim:empty")
    assert (run.status, run.out) == (3, "")
    assert "no GPU found" in run.err
    assert "vram doctor" in run.err
    assert "CUDA_VISIBLE_DEVICES" not in run.err
    named = vram(*args, driver="sim:empty", env={"CUDA_VISIBLE_DEVICES": "0"})
    assert named.status == 3
    assert "CUDA_VISIBLE_DEVICES" in named.err
    as_json = vram(*args, "--json", driver="sim:empty")
    assert as_json.status == 3
    assert as_json.json["error"]["code"] == "no_gpu"


@pytest.mark.parametrize("args", [[], ["status"], ["fit", "4G"], ["ps"], ["watch"]], ids=lambda args: "".join(args))
def test_no_driver_is_3_with_advice(vram, tmp_path, args):
    root = tmp_path / "root"
    root.mkdir()
    env = {"VRAM_SYSROOT": str(root), "VRAM_DRIVER": f"nvml:{root}/libnvidia-ml.so.1"}
    run = vram(*args, env=env)
    assert (run.status, run.out) == (3, "")
    lines = run.err.splitlines()
    assert 2 <= len(lines) <= 3
    assert "libnvidia-ml.so.1" in lines[0]
    assert "vram doctor" in run.err
    as_json = vram(*args, "--json", env=env)
    assert as_json.status == 3
    assert as_json.json["error"]["hint"]


def test_doctor_without_a_driver_finds_it(vram, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    run = vram("doctor", env={"VRAM_SYSROOT": str(root), "VRAM_DRIVER": "nvml"})
    assert run.status == 3  # a finding, of the kind that leaves no usable GPU
    assert "remedy" in run.out


@pytest.mark.parametrize("code", [4, 9, 17, 18, 999])
def test_driver_that_does_not_start_is_3(vram, scenario, code):
    driver = scenario(f"driver 550.54.14\ngpu 0 total=24564M reserved=400M\nfail nvmlInit* ret={code}\n")
    run = vram("status", driver=driver)
    assert (run.status, run.out) == (3, "")
    assert len(run.err.splitlines()) <= 3


def test_lost_gpus_only_is_3_for_fit(vram, scenario):
    driver = scenario(LOST)
    run = vram("fit", "4G", driver=driver)
    assert run.status == 3
    assert "GPU 0 is lost" in run.err
    shown = vram("status", driver=driver)
    assert shown.status == 0
    assert "lost" in shown.out


def test_most_serious_answer_counts(vram, scenario):
    assert vram("fit", "4G", "22000").status == 1
    assert vram("fit", "30000", "22000", "4G").status == 5
    driver = scenario("driver 550.54.14\ngpu 0 total=24564M reserved=400M\n"
                      "fail nvmlDeviceGetMemoryInfo* ret=999\n")
    assert vram("fit", "4G", "8G", driver=driver).status == 6


def test_options_before_and_after_the_command(vram):
    before = vram("--json", "--gpu", "0", "ps", "python")
    after = vram("ps", "python", "--gpu=0", "--json")
    between = vram("--gpu", "0", "ps", "--json", "python")
    names = [[process["name"] for process in run.json["processes"]] for run in (before, after, between)]
    assert names == [["python3"]] * 3


def test_double_dash_ends_options(vram):
    assert vram("ps", "--", "--json").status == 1
    assert vram("--", "status").status == 0


def test_suggestions(vram):
    assert "did you mean status?" in vram("stats").err
    assert "did you mean doctor?" in vram("docto").err
    assert "did you mean --json?" in vram("ps", "--jsn").err
    assert "did you mean --margin?" in vram("fit", "4G", "--marign", "1G").err
    assert "did you mean" not in vram("xyzzy").err


def test_help_lists_what_there_is(vram):
    text = vram("help").out
    for command in ("status", "fit", "ps", "watch", "doctor", "help"):
        assert f"\n  {command}" in text
        page = vram("help", command)
        assert page.status == 0
        assert page.out == vram(command, "--help").out
        for title in ("Usage: vram", "Options of every command", "Exit status", "Examples"):
            assert title in page.out
    assert vram("--help").out == text


def test_help_names_every_key(vram):
    pages = {"status": vram("--json").json["gpus"][0], "fit": vram("fit", "4G", "--json").json["answers"][0],
             "ps": vram("ps", "--json").json["processes"][0]}
    for command, value in pages.items():
        text = vram("help", command).out
        for key in value:
            assert key in text, f"{command}: {key}"


def test_help_fits_narrow_screens(vram):
    for columns in (60, 100, 200):
        for command in ("status", "fit", "ps", "watch", "doctor", "help"):
            for line in vram.screen("help", command, columns=columns, env={"NO_COLOR": "1"}).lines:
                assert len(line) <= columns


def test_long_arguments_are_cut(vram):
    for args in (["x" * 5000], ["fit", "9" * 5000 + "Q"], ["--gpu", "f" * 5000], ["--" + "x" * 5000]):
        run = vram(*args)
        assert run.status == 2
        assert len(run.err) < 600


def test_hostile_arguments_are_escaped(vram):
    for args in (["\x1b[2J"], ["fit", "\x1b[2J"], ["--gpu", "\u202e1"], ["--\x1b"], ["ps", "\x1b]0;x\x07"]):
        run = vram(*args)
        assert run.status in (1, 2)
        assert "\x1b" not in run.err and "\u202e" not in run.err
        assert "\\x1b" in run.err or "\\u202e" in run.err


def test_version(vram):
    assert vram("--version").out.startswith("vram 0.")


def test_errors_are_one_json_object(vram):
    run = vram("--gpu", "9", "--json")
    assert json.loads(run.out)["error"]["code"] == "unknown_gpu"
    assert run.out.count("\n") == 1
