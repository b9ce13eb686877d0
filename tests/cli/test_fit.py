# SPDX-License-Identifier: MIT
"""`vram fit`: sizes, margins, the four answers, waiting."""
import signal

import pytest

MIB = 1 << 20
FREE = 22844 * MIB  # of the rtx4090 profile

SIZES = [
    ("1G", 1 << 30), ("1g", 1 << 30), ("1GB", 1 << 30), ("1GiB", 1 << 30), ("1gib", 1 << 30),
    ("512M", 512 * MIB), ("1.5G", 1536 * MIB), ("0.0005K", 1), ("1B", 1), ("1T", 1 << 40), ("20000", 20000 * MIB),
    ("300.5", 315097088), ("64K", 65536),
]
BAD_SIZES = ["12Q", "-1", "1e400", "1e3", "", " 4G", "4 G", "4G ", "+4G", "0", "0.0", "0G", "G", ".5G", "5.", "1,5G",
             "0x10", "4GiBs", "4KK", "18446744073709551616", "18446744073709551615B", "99999999999T", "nan", "inf"]


@pytest.mark.parametrize("text, size", SIZES)
def test_sizes(vram, text, size):
    run = vram("fit", text, "--json")
    assert run.json["answers"][0]["size_bytes"] == size


@pytest.mark.parametrize("text", BAD_SIZES)
def test_bad_sizes(vram, text):
    run = vram("fit", text)
    assert (run.status, run.out) == (2, "")
    assert f"'{text}'" in run.err
    assert len(run.err.splitlines()) == 1


def test_small_bare_numbers_get_a_note(vram):
    assert "read as 24 MiB; write 24G" in vram("fit", "24").err
    assert "read as" not in vram("fit", "256").err
    assert "read as" not in vram("fit", "24M").err
    assert vram("fit", "24", "--json").err == ""


def test_boundary(vram):
    exact = FREE - 1024 * MIB
    assert vram("fit", f"{exact}B").status == 0
    assert vram("fit", f"{exact + 1}B").status == 1
    assert vram("fit", f"{FREE}B", "--margin", "0").status == 0
    assert vram("fit", f"{FREE + 1}B", "--margin", "0").status == 1


def test_margins(vram):
    def margin(text):
        return vram("fit", "4G", "--margin", text, "--json").json["answers"][0]["margin_bytes"]
    assert margin("0") == 0
    assert margin("2G") == 2 << 30
    assert margin("512") == 512 * MIB
    assert margin("50%") == 24564 * MIB // 2
    for text in ("101%", "-1%", "1e2", "", "%", "5 %"):
        run = vram("fit", "4G", "--margin", text)
        assert run.status == 2, text
        assert f"'{text}'" in run.err


def test_first_users_sizes(vram):
    run = vram("fit", "4000", "10000", "18000", "20000", "22000")
    assert run.status == 1
    assert [line[0] for line in run.lines if line[0] != " "] == ["✓"] * 4 + ["✗"]
    assert run.lines[3] == ("✓ 20000 MiB fits on GPU 0 (NVIDIA GeForce RTX 4090): "
                            "22,844 MiB free − 1,024 margin = 21,820 headroom")
    assert run.lines[4] == ("✗ 22000 MiB does not fit now: GPU 0 has "
                            "22,844 MiB free − 1,024 margin = 21,820 headroom, 180 MiB short")
    assert "python3" in run.lines[5] and "1,010 MiB" in run.lines[5]


def test_never_names_the_capacity(vram):
    run = vram("fit", "30000")
    assert run.status == 5
    assert "24,164 MiB" in run.out


def test_promises_note(vram):
    note = "vram: promises are not counted: no daemon runs\n"
    assert vram("fit", "4G").err == note
    assert vram("fit", "4G", "8G").err == note
    assert vram("fit", "4G", "--json").err == ""


def test_several_gpus(vram):
    run = vram("fit", "4G", "--gpus", "2", "--json", driver="sim:2x3090")
    assert run.status == 0
    assert len(run.json["answers"][0]["gpus_chosen"]) == 2
    run = vram("fit", "4G", "--gpus", "3", driver="sim:2x3090")
    assert run.status == 5
    assert "3 GPUs" in run.out
    run = vram("fit", "4G", "--gpus", "8", driver="sim:8xh100")
    assert run.status == 0
    assert "each of GPU 0, GPU 1" in run.out


def test_json_keys(vram):
    document = vram("fit", "4G", "22000", "--json").json
    assert set(document) == {"schema", "answers"}
    assert document["schema"] == 1
    assert [answer["answer"] for answer in document["answers"]] == ["fits", "not_now"]
    for answer in document["answers"]:
        assert {"size_bytes", "margin_bytes", "answer", "gpus_chosen", "waiters", "gpus"} <= set(answer)
        for gpu in answer["gpus"]:
            assert {"uuid", "free_bytes", "outstanding_bytes", "headroom_bytes", "shortfall_bytes"} <= set(gpu)


def test_csv(vram):
    rows = vram("fit", "4G", "22000", "30000", "--csv").rows
    assert [row["answer"] for row in rows] == ["fits", "not_now", "never"]
    assert rows[0]["size_bytes"] == str(4 << 30)
    assert rows[0]["gpus_chosen"].startswith("GPU-")
    assert rows[1]["gpus_chosen"] == ""
    assert rows[0]["waiters"] == ""


# ---- Waiting ---------------------------------------------------------------------------------------


def test_timeout_gives_the_last_answer(vram, hold):
    hold("14336")
    run = vram("fit", "12G", "--timeout", "300ms")
    assert run.status == 124
    assert run.lines[0].startswith("✗ 12 GiB does not fit now")
    assert "held by vram-sim" in run.out
    assert "nothing is held" in run.err
    as_json = vram("fit", "12G", "--timeout", "300ms", "--json")
    assert as_json.status == 124
    assert as_json.json["answers"][0]["answer"] == "not_now"
    assert as_json.err == ""


def test_it_ends_when_it_fits(vram, hold):
    holder = hold("14336")
    waiting = vram.start("fit", "12G", "--timeout", "60s")
    # The note comes before the first sample, so that the holder is there when it is taken, or gone: both are right.
    assert b"nothing is held" in waiting.stderr.readline()
    holder.kill()
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert out.decode().startswith("✓ 12 GiB fits")


def test_never_does_not_wait(vram):
    assert vram("fit", "30000", "--timeout", "1h").status == 5
    assert vram("fit", "4G", "30000", "--timeout", "1h").status == 5
    assert vram("fit", "4G", "--timeout", "1h").status == 0


def test_zero_timeout_asks_once(vram):
    assert vram("fit", "4G", "--timeout", "0").status == 0
    assert vram("fit", "22000", "--timeout", "0").status == 124


def test_interrupt_is_130(vram):
    waiting = vram.start("fit", "22000", "--timeout", "1h")
    assert b"nothing is held" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (130, b"")


# ---- Candidates ------------------------------------------------------------------------------------

MIXED = ("driver 550.54.14\n"
         "gpu 0 name=\"NVIDIA GeForce RTX 3090\" uuid=GPU-aaaa0000-0000-4000-8000-000000000000 total=24576M\n"
         "gpu 1 name=\"NVIDIA GeForce RTX 4090\" uuid=GPU-aaab0000-0000-4000-8000-000000000001 total=24564M\n")


def chosen(run):
    return [gpu["uuid"] for gpu in run.json["answers"][0]["gpus"]]


def test_cuda_visible_devices_narrows(vram):
    uuids = [gpu["uuid"] for gpu in vram("--json", driver="sim:2x3090").json["gpus"]]
    def fit(visible, *args):
        return vram("fit", "1G", "--json", *args, driver="sim:2x3090", env={"CUDA_VISIBLE_DEVICES": visible})
    assert chosen(fit("1")) == uuids[1:]
    assert chosen(fit(uuids[1])) == uuids[1:]
    assert chosen(fit("1,0")) == uuids
    assert chosen(fit("1,-1,0")) == uuids[1:]
    for hidden in ("", "-1", "none", "9"):
        run = fit(hidden)
        assert run.status == 3
        assert "CUDA_VISIBLE_DEVICES" in run.json["error"]["message"]
    assert chosen(fit("1", "--gpu", "0")) == uuids[:1]


def test_gpu_that_is_hidden_is_noted(vram):
    run = vram("fit", "1G", "--gpu", "0", driver="sim:2x3090", env={"CUDA_VISIBLE_DEVICES": "1"})
    assert run.status == 0
    assert "hides GPU 0" in run.err
    run = vram("fit", "1G", "--gpu", "1", driver="sim:2x3090", env={"CUDA_VISIBLE_DEVICES": "1"})
    assert "hides" not in run.err


def test_order_of_different_models(vram, scenario):
    driver = scenario(MIXED)
    run = vram("fit", "1G", driver=driver, env={"CUDA_VISIBLE_DEVICES": "0"})
    assert (run.status, run.out) == (2, "")
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in run.err
    assert vram("fit", "1G", driver=driver, env={"CUDA_VISIBLE_DEVICES": "0",
                                                 "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).status == 0
    assert vram("fit", "1G", driver=driver, env={"CUDA_VISIBLE_DEVICES": "GPU-aaab"}).status == 0
    assert vram("fit", "1G", "--gpu", "0", driver=driver, env={"CUDA_VISIBLE_DEVICES": "0"}).status == 0
    status = vram(driver=driver, env={"CUDA_VISIBLE_DEVICES": "0"})
    assert status.status == 0
    assert "PCI_BUS_ID" in status.err


def test_status_notes_what_cuda_sees(vram):
    run = vram(driver="sim:2x3090", env={"CUDA_VISIBLE_DEVICES": "1"})
    assert "CUDA programs started here see GPU 1\n" in run.err
    assert "GPU 0" in run.out and "GPU 1" in run.out
    assert "see no GPU" in vram(driver="sim:2x3090", env={"CUDA_VISIBLE_DEVICES": ""}).err
    assert vram("--json", driver="sim:2x3090", env={"CUDA_VISIBLE_DEVICES": "1"}).err == ""


def test_selectors(vram, scenario):
    driver = scenario(MIXED)
    def indexes(*args):
        return [gpu["index"] for gpu in vram("--json", *args, driver=driver).json["gpus"]]
    assert indexes() == [0, 1]
    assert indexes("--gpu", "1") == [1]
    assert indexes("--gpu", "1", "--gpu", "0", "--gpu", "1") == [0, 1]
    assert indexes("--gpu", "GPU-aaab") == [1]
    assert indexes("--gpu", "aaab") == [1]
    assert indexes("--gpu", "01:00.0") == [0]
    ambiguous = vram("--gpu", "GPU-aaa", driver=driver)
    assert (ambiguous.status, ambiguous.out) == (2, "")
    assert "several" in ambiguous.err and "GPU-aaab0000" in ambiguous.err
    unknown = vram("--gpu", "5", driver=driver)
    assert unknown.status == 2
    assert "0 GPU-aaaa0000" in unknown.err and "1 GPU-aaab0000" in unknown.err
