# SPDX-License-Identifier: MIT
"""The live page in a real browser, of a real daemon whose machine is simulated and whose processes come and go.

PICTURES names a directory for pictures of what the tests have seen.
"""
import importlib.util
import os
import socket
from pathlib import Path

import pytest
from browser import Browser, missing

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VRAM_BUILD", ROOT / "build"))


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rig = load("daemon_rig", ROOT / "tests/daemon/conftest.py")  # what the daemon's own tests start it with
make_daemon, hold, scenario, eventually = rig.make_daemon, rig.hold, rig.scenario, rig.eventually


def pytest_report_header():
    return f"browser: {missing() or 'chromium'}"


@pytest.fixture(scope="session")
def window(tmp_path_factory):
    """One browser for all tests."""
    if missing():
        pytest.skip(f"{missing()}: `apt-get install chromium chromium-driver` brings it")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.end()


@pytest.fixture
def browser(window):
    """It, as new; at the end nothing may have been complained of."""
    window.size(1440, 1100)
    window.scheme("light")
    window.console()
    yield window
    complaints = [text for text in window.complaints if not any(word in text for word in window.expected)]
    window.complaints, window.expected = [], ()
    assert not complaints


Browser.expected = ()  # complaints that a test causes
Browser.complaints = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Page:
    """The page of a daemon."""

    def __init__(self, browser, daemon, port):
        self.browser, self.daemon, self.port = browser, daemon, port

    def open(self, search=""):
        self.browser.open(f"http://127.0.0.1:{self.port}/{search}")
        self.browser.until("return !document.querySelector('main').hidden", what="the page shows something")
        return self

    def row(self, words):
        """The cells of the process that has these words; waits for it."""
        return self.browser.until("return [...document.querySelectorAll('#table tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
                                  ".find(cells => cells.join(' ').includes(arguments[0]))", words, what=f"a process {words}")

    def picture(self, name, whole=False):
        if "PICTURES" in os.environ:
            self.browser.picture(Path(os.environ["PICTURES"]) / f"{name}.png", whole)


@pytest.fixture
def make_page(browser, make_daemon, tmp_path):
    """Starts a daemon with a history, and opens its page."""
    def make(driver="sim:2x3090", *args, search="", opened=True, **more):
        port = free_port()
        daemon = make_daemon(driver).start("--listen", f"127.0.0.1:{port}", "--history", str(tmp_path / "history.db"), *args, **more)
        assert daemon.ready == "ready"
        page = Page(browser, daemon, port)
        return page.open(search) if opened else page
    yield make
    browser.open("about:blank")  # before its daemon goes
    browser.complaints = [entry["message"] for entry in browser.console()]
