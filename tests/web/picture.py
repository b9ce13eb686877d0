#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes docs/images/page.png, the README's picture of the live page: `./dev env python3 tests/web/picture.py`. Takes some four
minutes, in which processes come and go on a simulated machine, and needs Chromium and its driver."""
import base64
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from browser import Browser, missing

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT = 9470
# When, and what: a program that holds memory, with a lease or without.
STORY = [
    (0, "hold 3G --gpu 0 --name sd-webui --for 90s"),
    (20, "run 5G --gpu 1 --label train -- vram-sim hold 4G --gpu 0 --ramp 50s"),
    (60, "hold 4G --gpu 0 --name jupyter --ramp 20s"),
    (95, "run 3G --gpu 0 --label vllm -- vram-sim hold 1G --gpu 0"),
    (110, "hold 2G --gpu 1 --name comfyui --for 60s"),
    (150, "run 16G --gpu 1 --label finetune -- true"),
    (200, "hold 1G --gpu 1 --name embedder"),
]


def play(env, started):
    begin = time.monotonic()
    for at, words in STORY:
        time.sleep(max(0, begin + at - time.monotonic()))
        verb, *rest = words.split()
        program = ["vram-sim", "hold"] if verb == "hold" else ["vram", verb]
        started.append(subprocess.Popen([*program, *rest], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    time.sleep(max(0, begin + 225 - time.monotonic()))


def main():
    if missing():
        sys.exit(f"picture: {missing()}")
    started = []
    with tempfile.TemporaryDirectory(prefix="vram-") as place:
        env = dict(os.environ, VRAM_DRIVER="sim:2x3090@picture", VRAM_SIM_STATE_DIR=place, VRAM_SOCKET=f"{place}/vram.sock")
        try:
            started.append(subprocess.Popen(["vramd", "--listen", str(PORT), "--history", f"{place}/history.db"], env=env))
            play(env, started)
            browser = Browser(pathlib.Path(place))
            try:
                browser.size(1400, 1320)
                browser.scheme("light")
                browser.open(f"http://127.0.0.1:{PORT}/?range=5m&fit=8G")
                browser.until_text("#fit-answer", "GPU 0")
                browser.until_text("#table tbody", "jupyter")
                time.sleep(2)
                clip = {"x": 0, "y": 0, "width": 1400, "height": 1270, "scale": 0.78}  # as wide as a page shows it
                picture = browser.cdp("Page.captureScreenshot", format="png", clip=clip)["data"]
                (ROOT / "docs/images/page.png").write_bytes(base64.b64decode(picture))
            finally:
                browser.end()
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


main()
