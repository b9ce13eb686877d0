#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes docs/images/page.png, the README's picture of the live page: `./dev env python3 tests/web/picture.py`. Takes some four
minutes, in which processes come and go on a simulated machine, and needs Chromium and its driver."""
import base64
import collections
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import zlib

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


def rows(png):
    """The pixels of a PNG as Chromium writes it: lists of (red, green, blue)."""
    at, data, width, depth = 8, b"", 0, 0
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IHDR":
            width, depth = struct.unpack(">I", png[at + 8:at + 12])[0], 4 if png[at + 17] == 6 else 3
        data += png[at + 8:at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    data, stride, above = zlib.decompress(data), width * depth, bytes(width * depth)
    for begin in range(0, len(data), stride + 1):
        method, line = data[begin], bytearray(data[begin + 1:begin + 1 + stride])
        for i in range(stride):
            left, up, corner = (line[i - depth], above[i], above[i - depth]) if i >= depth else (0, above[i], 0)
            nearest = min((abs(up - corner), 0, left), (abs(left - corner), 1, up), (abs(left + up - 2 * corner), 2, corner))[2]
            line[i] = (line[i] + (0, left, up, (left + up) // 2, nearest)[method]) & 255
        above = bytes(line)
        yield [tuple(line[i:i + 3]) for i in range(0, stride, depth)]


def small(png):
    """The same picture in its 256 commonest colours."""
    lines = list(rows(png))
    counted = collections.Counter(pixel for line in lines for pixel in line)
    palette = [color for color, _count in counted.most_common(256)]
    index = {color: min(range(len(palette)), key=lambda i: sum((a - b) ** 2 for a, b in zip(palette[i], color))) for color in counted}
    data = zlib.compress(b"".join(b"\0" + bytes(index[pixel] for pixel in line) for line in lines), 9)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", len(lines[0]), len(lines), 8, 3, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"PLTE", bytes(value for color in palette for value in color)) +
            chunk(b"IDAT", data) + chunk(b"IEND", b""))


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
                (ROOT / "docs/images/page.png").write_bytes(small(base64.b64decode(picture)))
            finally:
                browser.end()
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
