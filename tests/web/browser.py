# SPDX-License-Identifier: MIT
"""A real browser, told what to do in its own words: Chromium's driver speaks WebDriver, which is JSON over HTTP."""
import base64
import http.client
import json
import shutil
import subprocess
import time

DEADLINE = 30
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"escape": "\ue00c", "enter": "\ue007", "tab": "\ue004"}


def missing():
    """Why there is no browser; None: there is one."""
    for program in ("chromedriver", "chromium"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return None


class BrowserError(Exception):
    """What the browser says went wrong."""


class Browser:
    """One window. Ends with end()."""

    def __init__(self, directory):
        self.log = open(directory / "chromedriver.log", "w")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=self.log, text=True)
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.port = int(line.rstrip(".\n").rpartition(" ")[2])
                break
        options = {"binary": shutil.which("chromium"), "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars",
                                                                f"--user-data-dir={directory / 'profile'}", "--force-device-scale-factor=1"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = ""
        self.session = "/session/" + self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        self.version = None

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        connection.request(method, self.session + path, json.dumps(body) if method == "POST" else None,
                           {"Content-Type": "application/json"})
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise BrowserError(f"{value['error']}: {value['message']}")
        return value

    def end(self):
        try:
            self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(DEADLINE)
            self.driver.stdout.close()
            self.log.close()

    # ---- What it shows ----

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def js(self, script, *arguments):
        """What a function's body returns."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def texts(self, selector):
        return self.js("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)

    def until(self, script, *arguments, what=None):
        """Looks until a function's body returns what is true. Returns it."""
        end = time.monotonic() + DEADLINE
        while not (value := self.js(script, *arguments)):
            assert time.monotonic() < end, f"never: {what or script}"
            time.sleep(0.05)
        return value

    def until_text(self, selector, words):
        return self.until("return document.querySelector(arguments[0])?.textContent.includes(arguments[1])", selector, words,
                          what=f"{words!r} in {selector}: {self.text(selector)!r}")

    def console(self):
        """What was complained of since the last time, breaches of the page's own policy among it."""
        return [entry for entry in self.ask("POST", "/se/log", {"type": "browser"}) if entry["level"] in ("SEVERE", "WARNING")]

    # ---- What a person does ----

    def element(self, selector):
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.ask("POST", f"/element/{self.element(selector)}/click", {})

    def type(self, selector, text):
        self.ask("POST", f"/element/{self.element(selector)}/value", {"text": text})

    def press(self, *keys):
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def pointer(self, *steps):
        """Steps: (x, y) moves there; "down", "up"; a number waits so many ms."""
        actions = []
        for step in steps:
            if isinstance(step, tuple):
                actions.append({"type": "pointerMove", "x": int(step[0]), "y": int(step[1]), "duration": 50})
            elif isinstance(step, str):
                actions.append({"type": f"pointer{step.title()}", "button": 0})
            else:
                actions.append({"type": "pause", "duration": step})
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def box(self, selector):
        return self.js("const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.x, r.y, r.width, r.height]", selector)

    # ---- How it looks ----

    def cdp(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, mobile=False):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def scheme(self, value):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def picture(self, path, whole=False):
        if whole:
            data = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        else:
            data = self.ask("GET", "/screenshot")
        path.write_bytes(base64.b64decode(data))
