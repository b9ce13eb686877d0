# SPDX-License-Identifier: MIT
"""examples/python/ and the Python in README.md and docs/: everything runs, with what is not installed here played by stand-ins."""
import asyncio
import importlib.util
import logging
import os
import re
import signal
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import DEADLINE, ROOT, VRAM_SIM, until

import vram

EXAMPLES = ROOT / "examples/python"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FastAPI:
    """As much of FastAPI as the example uses."""

    def get(self, path):
        return lambda function: function

    post = get


class HTTPException(Exception):
    def __init__(self, status_code, detail, headers):
        self.status_code, self.detail, self.headers = status_code, detail, headers


def test_refuse_politely(leasing, monkeypatch):
    stand_in = types.SimpleNamespace(FastAPI=FastAPI, HTTPException=HTTPException)
    monkeypatch.setitem(sys.modules, "fastapi", stand_in)
    example = load("refuse_politely")
    assert example.health()["fits"] is True
    seen = []
    monkeypatch.setattr(example, "load_and_generate", lambda prompt: seen.append(len(vram.leases())) or prompt)

    async def two_at_once():
        return await asyncio.gather(example.generate("a"), example.generate("b"))

    assert asyncio.run(two_at_once()) == [{"text": "a"}, {"text": "b"}] and seen == [1, 1]
    assert not vram.leases().leases
    leasing.hold("20G")
    monkeypatch.setattr(example, "NEEDED", "30GiB")
    example.turn = asyncio.Lock()
    with pytest.raises(HTTPException) as caught:
        asyncio.run(example.generate("c"))
    assert caught.value.status_code == 503 and "headroom" in caught.value.detail["why"]


def test_share_a_card(leasing):
    def start(size, label, *command):
        return leasing.start(sys.executable, EXAMPLES / "share_a_card.py", size, label, "--", *command)

    comfyui = start("14G", "comfyui", VRAM_SIM, "hold", "14G")
    assert comfyui.stdout.readline().startswith("holding ")
    llm = start("12G", "llm", VRAM_SIM, "hold", "12G", "--for", "0s")
    until(lambda: [waiter.label for waiter in vram.leases().waiters] == ["llm"])
    leases = vram.leases()
    assert [lease.label for lease in leases] == ["comfyui"] and leases.leases[0].outstanding_bytes == 0
    holder, = leases.leases[0].members
    os.kill(holder, signal.SIGTERM)
    assert llm.communicate(timeout=DEADLINE)[0].startswith("holding 12288 MiB") and llm.returncode == 0


def test_lease_before_torch(leasing, monkeypatch, capsys):
    class Torch(types.ModuleType):
        """A tensor on "cuda" is a process that holds simulated memory."""
        uint8 = "uint8"

        def empty(self, number, dtype, device):
            assert (dtype, device) == ("uint8", "cuda") and os.environ["CUDA_VISIBLE_DEVICES"].startswith("GPU-")
            holder = leasing.hold(f"{number >> 20}M")
            return types.SimpleNamespace(numel=lambda: number, holder=holder)

    leasing.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # put back after what the example sets
    leasing.monkeypatch.setenv("VRAM_LEASE", "")
    monkeypatch.setitem(sys.modules, "torch", Torch("torch"))
    load("lease_before_torch").main()
    assert capsys.readouterr().out.startswith("3072 MiB on GPU-")
    assert not vram.leases().leases


def test_lease_for_a_container(leasing):
    seen = []

    class Comfy(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append([lease.attached for lease in vram.leases()])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"queued")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Comfy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        container = "ef" * 32
        answer = load("lease_for_a_container").submit(container, "14G", f"http://127.0.0.1:{server.server_port}/prompt", b"{}")
    finally:
        server.shutdown()
        server.server_close()
    assert answer == b"queued" and seen == [[(f"container:{container}",)]]
    assert not vram.leases().leases


def blocks():
    """Every Python example of every document."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)):
            yield pytest.param(path.name, code, id=f"{path.stem}-{number}")


@pytest.mark.parametrize("name, code", blocks())
def test_documents(leasing, name, code):
    for setting, value in {"CUDA_VISIBLE_DEVICES": "0", "VRAM_LEASE": "", "VRAM_DRIVER": os.environ["VRAM_DRIVER"]}.items():
        leasing.monkeypatch.setenv(setting, value)  # and to be as it was afterwards
    leasing.monkeypatch.setattr(logging.getLogger("vram"), "parent", logging.getLogger("vram").parent)
    exec(compile(code, name, "exec"), {"vram": vram, "__name__": "manual"})
