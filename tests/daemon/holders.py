# SPDX-License-Identifier: MIT
"""Stand-ins for programs that hold memory and can be asked to give it back: real HTTP servers, whose simulated memory a
real process holds, and which answer as the program they are called after does."""
import json
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from conftest import DEADLINE, VRAM_SIM, eventually


class Holder:
    """`models`: how much each holds. `manner`: what it does when it is asked."""

    def __init__(self, daemon, name, models, manner="at once", gpu=0, load=False):
        self.daemon, self.name, self.manner, self.gpu = daemon, name, manner, gpu
        self.asked = []  # "POST /free" and so on, in their order
        self.bodies = []
        self.busy = False
        self.released = threading.Event()  # what hangs ends with it
        self.models = {}
        for model, size in models.items():
            self.load(model, size)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def load(self, model, size):
        process = subprocess.Popen([VRAM_SIM, "hold", size, "--gpu", str(self.gpu), "--name", self.name],
                                   env=self.daemon.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        assert line.startswith("holding "), line
        self.models[model] = (process, size)

    def unload(self, model):
        process, _ = self.models.pop(model)
        process.kill()
        process.wait()
        process.stdout.close()

    def free(self, model):
        """As its manner is. Returns the status to answer."""
        if self.manner == "hangs":
            self.released.wait(DEADLINE)
        elif self.manner == "keeps it":
            pass
        elif self.manner == "late":
            threading.Timer(0.7, lambda: model in self.models and self.unload(model)).start()
        elif self.manner == "hangs and frees":
            self.unload(model)
            self.released.wait(DEADLINE)
        elif self.manner == "fails":
            return 500
        else:
            self.unload(model)
        return 200

    def answer(self, method, path, body):
        """The status and the text."""
        raise NotImplementedError

    def handler(holder):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                holder.asked.append(f"{self.command} {self.path}")
                holder.bodies.append(body)
                status, text = holder.answer(self.command, self.path, body)
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            do_GET = do_POST = handle_any

            def log_message(self, *_):
                pass
        return Handler

    def end(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        for model in list(self.models):
            self.unload(model)


class Ollama(Holder):
    def answer(self, method, path, body):
        if (method, path) == ("GET", "/api/ps"):
            models = [{"name": name, "model": name, "size_vram": int(size[:-1]) << 30,
                       "expires_at": f"2026-01-31T12:00:{i:02}Z"} for i, (name, (_, size)) in enumerate(self.models.items())]
            return 200, json.dumps({"models": models})
        if (method, path) == ("POST", "/api/generate"):
            asked = json.loads(body)
            assert asked["keep_alive"] == 0 and "prompt" not in asked
            return self.free(asked["model"]), '{"done":true,"done_reason":"unload"}'
        return 404, "{}"


class ComfyUI(Holder):
    def answer(self, method, path, body):
        if (method, path) == ("GET", "/queue"):
            return 200, json.dumps({"queue_running": [[0, "id", {}]] if self.busy else [], "queue_pending": []})
        if (method, path) == ("POST", "/free"):
            assert json.loads(body) == {"unload_models": True, "free_memory": True}
            return max([self.free(model) for model in list(self.models)], default=200), ""
        return 404, ""


class LlamaSwap(Holder):
    def answer(self, method, path, body):
        if (method, path) == ("GET", "/unload"):
            return max([self.free(model) for model in list(self.models)], default=200), "OK"
        return 404, ""


class LlamaServer(Holder):
    """As a router."""

    def answer(self, method, path, body):
        if (method, path) == ("GET", "/models"):
            data = [{"id": name, "status": {"value": "loaded"}} for name in self.models]
            return 200, json.dumps({"data": data + [{"id": "another", "status": {"value": "unloaded"}}]})
        if (method, path) == ("POST", "/models/unload"):
            return self.free(json.loads(body)["model"]), '{"success":true}'
        return 404, ""


class VLLM(Holder):
    def answer(self, method, path, body):
        if (method, path) == ("GET", "/metrics"):
            return 200, ("# TYPE vllm:num_requests_running gauge\n"
                         f'vllm:num_requests_running{{engine="0",model_name="m"}} {1.0 if self.busy else 0.0}\n'
                         'vllm:num_requests_waiting{engine="0",model_name="m"} 0.0\n')
        if (method, path) == ("POST", "/sleep?level=1"):
            return max([self.free(model) for model in list(self.models)], default=200), ""
        return 404, ""
