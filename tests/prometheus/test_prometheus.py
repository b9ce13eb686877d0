# SPDX-License-Identifier: MIT
"""Prometheus' own programs as the judges of what is exported: promtool of the text and of the rules, a server of a scrape.
What of the dashboard and of the rules needs no judge is looked at everywhere."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/daemon"))
from conftest import DEADLINE, VRAM_SIM, crowd, daemon, make_daemon  # noqa: E402, F401 - fixtures
from reading import OPEN, Tcp  # noqa: E402

FILES = ROOT / "packaging/prometheus"
RULES, DASHBOARD = FILES / "vram.rules.yml", FILES / "vram.dashboard.json"
NAME = re.compile(r"\b(vram_[a-z0-9_]+)\b")


def judge(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (Debian: prometheus)")
    return program


def exported():
    """What docs/metrics.md lists: names with their labels. That it is what is told, tests/daemon holds."""
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*)\|", (ROOT / "docs/metrics.md").read_text(), re.M)
    return {name: set(labels.replace("D", "gpu, uuid").replace(",", " ").split()) for name, labels in rows}


def dashboard_texts():
    board = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"], ""


# ---- Everywhere ------------------------------------------------------------------------------------


def test_dashboard__uses_what_is_exported():
    known = exported()
    labels = set().union(*known.values()) | {"instance", "job"}
    used = set()
    for expression, legend in dashboard_texts():
        names = set(NAME.findall(expression))
        assert names and names <= set(known), expression
        used |= names
        told = re.findall(r"(\w+)=~?\"", expression) + re.findall(r"\{\{(\w+)\}\}", legend)
        assert set(told) <= labels, (expression, legend)
    assert len(used) >= 15


def test_dashboard__places_and_names_are_its_own():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _y in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells


def test_rules__use_what_is_exported_and_are_all_tried():
    text = RULES.read_text()
    assert set(NAME.findall(text)) <= set(exported())
    alerts = re.findall(r"- alert: (\w+)", text)
    tried = (FILES / "vram.rules.test.yml").read_text()
    assert len(alerts) >= 6
    for alert in alerts:
        assert re.search(rf"alertname: {alert}\}}", tried), f"{alert} is not seen silent"
        assert re.search(rf"alertname: {alert}\n *exp_alerts:", tried), f"{alert} is not seen to fire"


# ---- promtool --------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["rtx4090", "8xh100", "mig", "gb10", "empty"])
def test_promtool__has_nothing_to_say_of_the_text(make_daemon, profile):
    made = make_daemon(f"sim:{profile}").start()
    for text in (made.get("/metrics").body, made.vram("metrics").stdout.encode()):
        done = subprocess.run([judge("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=DEADLINE)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool__rules_are_sound_and_do_what_they_should():
    for what in (["check", "rules", RULES], ["test", "rules", FILES / "vram.rules.test.yml"]):
        done = subprocess.run([judge("promtool"), *what], capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0 and "FAILED" not in done.stdout, done.stdout + done.stderr


# ---- A server --------------------------------------------------------------------------------------


class Prometheus:
    """A server of the test's own that scrapes one place."""

    def __init__(self, directory, target, scheme):
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            self.port = chosen.getsockname()[1]
        config = directory / "prometheus.yml"
        config.write_text(f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{RULES}]\n"
                          f"scrape_configs:\n  - job_name: vram\n{scheme}"
                          f"    static_configs: [{{targets: ['{target}']}}]\n")
        subprocess.run([judge("promtool"), "check", "config", config], check=True, capture_output=True)
        self.log = (directory / "prometheus.log").open("w")
        self.process = subprocess.Popen(
            [judge("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={directory}/tsdb",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def get(self, target):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{target}", timeout=DEADLINE) as reply:
                return json.load(reply)["data"]
        except (urllib.error.URLError, ConnectionError):
            assert self.process.poll() is None, Path(self.log.name).read_text()
            return None

    def until(self, look, what):
        deadline = time.monotonic() + DEADLINE
        while not (found := look()):
            assert time.monotonic() < deadline, f"never: {what}: {self.get('targets')}"
            time.sleep(0.05)  # a server has no event for its first scrape
        return found

    def ask(self, expression):
        found = self.until(lambda: (self.get("query?query=" + urllib.parse.quote(expression)) or {}).get("result"), expression)
        return {(one["metric"].get("gpu"), one["metric"].get("model")): float(one["value"][1]) for one in found}

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=DEADLINE)
        self.log.close()


@pytest.fixture
def serve(tmp_path):
    made = []

    def start(target, scheme=""):
        made.append(Prometheus(tmp_path, target, scheme))
        return made[-1]
    yield start
    for server in made:
        server.end()


def test_server__scrapes_and_joins(make_daemon, serve, tmp_path):
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple\n")
    token.chmod(0o600)
    made = make_daemon("sim:8xh100").start("--listen", "127.0.0.1:0", "--token-file", str(token))
    server = serve(f"127.0.0.1:{Tcp(made).port}", f"    authorization: {{credentials_file: {token}}}\n")
    assert set(server.ask('up{job="vram"} == 1').values()) == {1}
    total = server.ask("vram_total_bytes * on(uuid) group_left(model) vram_device_info")
    assert total == {(str(gpu), "NVIDIA H100 80GB HBM3"): 81559 << 20 for gpu in range(8)}
    added = server.ask("vram_used_bytes + vram_free_bytes + vram_driver_reserved_bytes == vram_total_bytes")
    assert len(added) == 8
    active = server.get("targets")["activeTargets"][0]
    assert active["health"] == "up" and active["lastError"] == ""
    assert active["lastScrapeDuration"] < 1
    types = server.get("metadata")
    assert types["vram_total_bytes"] == [{"type": "gauge", "help": types["vram_total_bytes"][0]["help"], "unit": "bytes"}]
    assert types["vram_device"][0]["type"] == "info"  # so it was OpenMetrics that was spoken
    rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) >= 6
    server.until(lambda: all(rule["health"] == "ok" for group in server.get("rules")["groups"] for rule in group["rules"]),
                 "the rules are evaluated")


def test_server__every_expression_of_the_dashboard_is_understood(make_daemon, serve):
    made = make_daemon("sim:8xh100").start("--listen", "127.0.0.1:0")
    server = serve(f"127.0.0.1:{Tcp(made).port}")
    server.ask("vram_total_bytes")
    for expression, _legend in dashboard_texts():
        if not expression.startswith("label_values"):
            filled = expression.replace("$instance", ".*").replace("$gpu", ".*").replace("$__rate_interval", "1m")
            assert server.get("query?query=" + urllib.parse.quote(filled)) is not None, expression
