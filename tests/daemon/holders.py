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
    """Ollama v0.33.0-rc2: api/types.go (ProcessModelResponse, GenerateResponse), server/routes.go (PsHandler: who stays
    longest comes first; GenerateHandler: without a prompt and with keep_alive 0 it unloads before it looks what the model
    can do, so models of embeddings go the same way). So since v0.5.0."""

    def answer(self, method, path, body):
        if (method, path) == ("GET", "/api/ps"):
            models = [{"name": name, "model": name, "size": int(size[:-1]) << 30, "digest": "0123456789ab",
                       "details": {"format": "gguf", "family": "llama", "families": ["llama"]},
                       "expires_at": f"2026-01-31T12:00:{i:02}.5+01:00", "size_vram": int(size[:-1]) << 30,
                       "context_length": 4096} for i, (name, (_, size)) in enumerate(self.models.items())]
            return 200, json.dumps({"models": models[::-1]})
        if (method, path) == ("POST", "/api/generate"):
            asked = json.loads(body)
            assert asked["keep_alive"] == 0 and "prompt" not in asked
            if asked["model"] not in self.models:
                return 404, json.dumps({"error": f"model '{asked['model']}' not found"})
            return self.free(asked["model"]), json.dumps({
                "model": asked["model"], "created_at": "2026-01-31T12:00:00Z", "response": "", "done": True,
                "done_reason": "unload"})
        return 404, "404 page not found"


class ComfyUI(Holder):
    """ComfyUI, server.py at 005f3ba4aefa (/queue, /free) and main.py of the same time (prompt_worker): /free answers
    nothing, at once; its worker unloads afterwards, when it has no prompt to work on."""

    def answer(self, method, path, body):
        if (method, path) == ("GET", "/queue"):
            running = [[0, "0a1b", {"1": {"class_type": "KSampler", "inputs": {}}}, {"client_id": "c"}, ["1"]]]
            return 200, json.dumps({"queue_running": running if self.busy else [], "queue_pending": []})
        if (method, path) == ("POST", "/free"):
            assert json.loads(body) == {"unload_models": True, "free_memory": True}
            return max([self.free(model) for model in list(self.models)], default=200), ""
        return 404, "404: Not Found"


class LlamaSwap(Holder):
    """llama-swap v250: internal/server/server.go, api.go (handleUnload: it answers when all have stopped). So since v100."""

    def answer(self, method, path, body):
        if (method, path) == ("GET", "/unload"):
            return max([self.free(model) for model in list(self.models)], default=200), "OK"
        return 404, "404 page not found"


class LlamaServer(Holder):
    """llama.cpp's as a router: tools/server/server-models.cpp at 00dd0816129a (get_router_models,
    post_router_models_unload: it answers before the model's process has ended)."""

    @staticmethod
    def told(name, **status):
        return {"id": name, "aliases": [], "tags": [], "object": "model", "owned_by": "llamacpp", "created": 1767182400,
                "status": {**status, "args": ["llama-server", "--alias", name]}, "source": "models_dir"}

    def answer(self, method, path, body):
        if (method, path) == ("GET", "/models"):
            data = [self.told(name, value="loaded") for name in self.models]
            data.append(self.told("another", value="unloaded", exit_code=1, failed=True))
            return 200, json.dumps({"data": data, "object": "list"})
        if (method, path) == ("POST", "/models/unload"):
            model = json.loads(body)["model"]
            if model not in self.models:
                return 400, json.dumps({"error": {"code": 400, "message": "model is not running",
                                                  "type": "invalid_request_error"}})
            return self.free(model), '{"success":true}'
        return 404, '{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}'


class VLLM(Holder):
    """vLLM: vllm/entrypoints/serve/dev/sleep/api_router.py at e7a47b821ef4 (sleep), vllm/v1/metrics/loggers.py (two of the
    gauges that there are, one of each engine)."""

    def answer(self, method, path, body):
        if (method, path) == ("GET", "/metrics"):
            of = '{engine="0",model_name="m"'
            return 200, ("# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
                         "# TYPE vllm:num_requests_running gauge\n"
                         f"vllm:num_requests_running{of}}} {1.0 if self.busy else 0.0}\n"
                         "# HELP vllm:num_requests_waiting Number of requests waiting to be processed.\n"
                         "# TYPE vllm:num_requests_waiting gauge\n"
                         f"vllm:num_requests_waiting{of}}} 0.0\n"
                         "# TYPE vllm:num_requests_waiting_by_reason gauge\n"
                         f'vllm:num_requests_waiting_by_reason{of},reason="capacity"}} 0.0\n')
        if (method, path) == ("POST", "/sleep?level=1&mode=wait"):
            return max([self.free(model) for model in list(self.models)], default=200), ""
        return 404, '{"detail":"Not Found"}'
