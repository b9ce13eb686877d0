# SPDX-License-Identifier: MIT
"""Every element of the live page, as a person sees and uses it."""
import csv
import json
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import BUILD, eventually, rig

VRAM = BUILD / "cli/vram"
HAS_CHARTS = "/web/uplot.js" in (BUILD / "daemon/web/page_files.c").read_text()
charts = pytest.mark.skipif(not HAS_CHARTS, reason="built without uPlot")
SHIFTS = "window.shifts = 0; new PerformanceObserver(l => { for (const e of l.getEntries()) if (!e.hadRecentInput) window.shifts += e.value; })" \
         ".observe({type: 'layout-shift', buffered: true});"


@pytest.fixture
def leases():
    """Commands that hold leases, or wait for them; they end with the test."""
    started = []

    def run(daemon, *words):
        started.append(subprocess.Popen([VRAM, "run", *words], env=daemon.env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return started[-1]
    yield run
    for process in started:
        process.kill()
        process.wait()


def test_cards__what_there_is_and_whose(make_page, browser, hold, leases):
    page = make_page()
    assert browser.texts(".card h2") == ["All GPUs", "GPU 0", "GPU 1"]
    assert browser.texts(".card .state") == ["", "active", "active"]
    leases(page.daemon, "3G", "--gpu", "0", "--label", "comfyui", "--", "sleep", "60")
    holder = hold(page.daemon, "2G", "--gpu", "0", "--name", "trainer")
    gpu = ".card:nth-child(2) "
    browser.until("return document.querySelector(arguments[0])?.getAttribute('aria-label').includes('trainer')", gpu + ".bar")
    browser.until("return document.querySelector(arguments[0]).getAttribute('aria-label').includes('leased')", gpu + ".bar")
    told = browser.js("return document.querySelector(arguments[0]).getAttribute('aria-label')", gpu + ".bar")
    for words in ("ollama (4194412) 14.5 GiB", f"trainer ({holder.pid}) 2.0 GiB", "driver 0.3 GiB", "leased, not filled yet 3.0 GiB", "free "):
        assert words in told
    browser.until_text(".card:nth-child(1) .legend", "leased, not filled yet3.0 GiB")
    snapshot = page.daemon.snapshot()["gpus"]
    used = sum(one["used_bytes"] for one in snapshot) / 2**30
    assert browser.text(".card:nth-child(1) .big") == f"{used:.1f}"
    # The pieces are as long as what they stand for.
    browser.until("const [part, bar] = [...arguments].map(s => document.querySelector(s).offsetWidth);"
                  "return Math.abs(part / bar - 14.47 / 24) < 0.02", gpu + ".bar span", gpu + ".bar", what="its length")
    page.picture("cards")
    holder.kill()
    browser.until("return !document.querySelector(arguments[0]).textContent.includes('trainer')", gpu + ".legend")


def test_cards__what_ceilings_keep(make_page, browser, tmp_path):
    config = tmp_path / "vram.conf"
    config.write_text("[ceiling render]\nmatch = name:render\nsize = 6G\ngpu = 0\n")
    page = make_page("sim:2x3090", "--config", str(config))
    browser.until_text(".card:nth-child(2) .legend", "kept by ceilings6.0 GiB")
    browser.until_text(".card:nth-child(1) .legend", "kept by ceilings6.0 GiB")
    assert "ceilings" not in browser.text(".card:nth-child(3) .legend")
    browser.until_text("#ceiling-table td:first-child", "render")
    assert browser.texts("#ceiling-table td") == ["render", "name:render", "GPU 0", "6.0 GiB", "0.0 GiB", "6.0 GiB"]
    page.picture("ceilings", whole=True)


def test_cards__a_drained_gpu(make_page, browser):
    page = make_page("sim:2x3090")
    assert "drained" not in browser.text(".card:nth-child(2) .facts")
    page.daemon.vram("drain", "0")
    browser.until_text(".card:nth-child(2) .facts", "drained: no new lease")
    page.daemon.vram("undrain", "0")
    browser.until("return !document.querySelector(arguments[0]).textContent.includes('drained')", ".card:nth-child(2) .facts")


def test_cards__processes_that_cannot_be_seen(make_page, browser):
    make_page("sim:wsl")
    assert "not visible" in " ".join(browser.texts("#table td")) + browser.text("#shown") + browser.text(".facts")


def test_cards__what_is_not_known_is_not_0(make_page, browser, scenario):
    page = make_page(scenario("driver 550.54.14\ngpu 0 total=24G name=A\nproc 0 pid=4194500 name=worker mem=1G type=C\n"
                              "gpu 1 total=24G name=B denied\ngpu 2 total=24G lost\n"))
    assert browser.texts(".card .state")[1:] == ["active", "denied", "lost"]
    assert browser.texts(".card .big") == ["1.0", "1.0", "–", "–"] and "/ –" in browser.text(".card:nth-child(3) .figure")
    assert "2 not known, not in it" in browser.text(".card .figure") and "not visible on 2 GPUs" in browser.text("#shown")
    page.picture("unknown")


@charts
def test_charts__bands_lines_and_marks(make_page, browser, hold):
    page = make_page(search="?range=5m")
    holder = hold(page.daemon, "2G", "--gpu", "0", "--name", "trainer")
    browser.until_text(".chart .values", "trainer")
    assert len(browser.texts(".chart canvas")) == 2
    values = browser.texts(".chart:first-child .values li")
    assert any(re.match(rf"trainer \({holder.pid}\)2\.0 GiB", value) for value in values) and any(value.startswith("used") for value in values)
    browser.until_text("#event-list", "trainer")
    painted = "const c = document.querySelector('.chart canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;" \
              "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 100; return n"
    assert browser.js(painted) > 300
    page.picture("charts")


@charts
def test_charts__crosshair_pin_zoom_and_back(make_page, browser, hold):
    page = make_page(search="?range=5m")
    hold(page.daemon, "2G", "--gpu", "0", "--name", "trainer")
    browser.until_text(".chart .values", "trainer")
    x, y, width, height = browser.box(".chart .u-over")
    for _ in range(100):  # the chart moves on underneath
        browser.pointer((x + width - 2, y + height / 2), (x + width - 1, y + height / 2))
        if "trainer" in (tip := browser.text("#tip")):
            break
    assert re.search(r"\d\d:\d\d:\d\d", tip) and "trainer" in tip and "ollama (4194412)14.47 GiB" in tip and "free" in tip
    lines = browser.js("return [...document.querySelectorAll('.u-cursor-x')].map(e => getComputedStyle(e).transform)")
    assert len(set(lines)) == 1 and len(lines) == 2  # in both charts
    browser.pointer("Down", "Up")
    browser.until_text("#tip", "pinned")
    browser.pointer((x + 5, y - 40))
    assert "pinned" in browser.text("#tip")
    browser.press("escape")
    browser.until("return document.querySelector('#tip').hidden")
    browser.pointer((x + width * 0.5, y + 20), "Down", (x + width * 0.75, y + 20), 50, (x + width * 0.9, y + 20), "Up")
    browser.until("return /from=\\d+&to=\\d+/.test(location.search)", what="the zoom is in the address")
    assert not browser.js("return document.querySelector('#back').hidden")
    length = browser.js("const p = new URLSearchParams(location.search); return p.get('to') - p.get('from')")
    assert 90 < length < 150
    browser.pointer((x + width * 0.5, y + 20), "Down", "Up", "Down", "Up")
    browser.until("return !/from=/.test(location.search)", what="a double click leads back")


def test_charts__as_a_table(make_page, browser):
    page = make_page()
    if HAS_CHARTS:
        browser.click(".chart button")
    browser.until("return document.querySelectorAll('.area table tbody tr').length > 0")
    heads = browser.texts(".chart:first-child .area th")
    assert heads[:3] == ["time", "used", "free"] and any(head.startswith("ollama") for head in heads)
    assert "14.7 GiB" in browser.text(".area table tbody tr")
    page.picture("table")


def test_range__pause_and_the_address(make_page, browser):
    make_page(search="?range=1h&q=ollama&group=user&theme=dark")
    assert browser.texts("#ranges button[aria-pressed=true]") == ["1h"]
    assert browser.js("return document.documentElement.dataset.theme") == "dark"
    assert browser.js("return document.querySelector('#filter').value") == "ollama"
    browser.click("#ranges button:nth-child(4)")
    browser.until("return new URLSearchParams(location.search).get('range') === '6h'")
    browser.click("#pause")
    browser.until_text("#health-text", "charts paused")
    browser.click("#pause")
    assert browser.text("#pause") == "pause"


def test_table__sorts_filters_groups_and_stands_still(make_page, browser, hold):
    page = make_page()
    order = lambda: [row[2] for row in browser.js("return [...document.querySelectorAll('#table tbody tr[tabindex]')].map(r => [...r.cells].map(c => c.textContent))")]  # noqa: E731
    assert order()[0] == "ollama"
    assert browser.js("return document.querySelector('#table th:nth-child(6)').getAttribute('aria-sort')") == "descending"
    browser.click("#table th:nth-child(3) button")
    browser.until("return document.querySelector('#table th:nth-child(3)').getAttribute('aria-sort') === 'ascending'")
    assert order() == sorted(order())
    browser.click("#table th:nth-child(6) button")
    browser.pointer((browser.box("#table")[0] + 200, browser.box("#table")[1] + 60))  # somebody reads
    hold(page.daemon, "9G", "--gpu", "1", "--name", "newcomer")
    page.row("newcomer")
    assert order()[0] == "ollama" and order()[-1] == "newcomer"
    browser.pointer((10, 10))
    browser.until("return [...document.querySelectorAll('#table tbody tr')].findIndex(r => r.textContent.includes('newcomer')) === 1", what="it takes its place")
    browser.press("/")
    browser.type("#filter", "whisper")
    browser.until("return document.querySelectorAll('#table tbody tr').length === 1")
    assert "whisper" in browser.text("#table tbody") and browser.text("#shown") == "1 shown"
    browser.press("escape")
    browser.js("document.querySelector('#filter').value = ''; document.querySelector('#filter').dispatchEvent(new Event('input'))")
    browser.js("const g = document.querySelector('#group'); g.value = 'user'; g.dispatchEvent(new Event('change'))")
    browser.until("return document.querySelectorAll('#table tr.group').length === 2")
    assert any(re.match(r"root: 9\.0 GiB in 1", text) for text in browser.texts("tr.group"))


def test_table__peaks_and_ages(make_page, browser, hold):
    page = make_page()
    holder = hold(page.daemon, "3G", "--gpu", "1", "--name", "peaky")
    row = page.row("peaky")
    assert row[0] == "GPU 1" and row[1] == str(holder.pid) and row[5] == row[6] == "3.0 GiB" and row[7] == "13 %"
    assert re.match(r"\d+ s", row[9]), row
    assert page.row("ollama")[9].startswith(">")  # it ran already when somebody looked first


def test_fit__the_box(make_page, browser, leases, hold):
    page = make_page()
    browser.type("#fit-size", "8G + 3G")
    browser.press("enter")
    browser.until_text("#fit-answer", "fits now: 11.00 GiB")
    leases(page.daemon, "6G", "--gpu", "1", "--label", "comfyui", "--", "sleep", "60")
    browser.until_text("#fit-answer", "not now: 11.00 GiB")
    said = browser.text("#fit-answer")
    assert "against it: lease comfyui of root, 6.0 GiB not filled" in said and "would fit without" in said
    browser.js("document.querySelector('#fit-size').value = '40G'")
    browser.click("#fit-form button")
    browser.until_text("#fit-answer", "never: 40.00 GiB")
    browser.js("document.querySelector('#fit-size').value = 'much'")
    browser.click("#fit-form button")
    browser.until_text("#fit-answer", "A size is such as 24G")
    page.picture("fit")


def test_leases__who_has_and_who_waits(make_page, browser, leases):
    page = make_page()
    assert "Nothing is leased" in browser.text("#lease-table") and "Nobody waits" in browser.text("#queue-table")
    leases(page.daemon, "2G", "--gpu", "1", "--label", "comfyui", "--", "sleep", "60")
    browser.until_text("#lease-table", "comfyui")
    leases(page.daemon, "20G", "--gpu", "1", "--label", "big-train", "--", "true")
    browser.until_text("#queue-table", "big-train")
    assert "unused" in browser.text("#lease-table") and "with its holder" in browser.text("#lease-table")
    browser.until("return document.querySelectorAll('#timeline .lease').length === 1")
    assert "1 · 2.0 GiB promised, 2.0 GiB of it not filled" in browser.text("#lease-sum")


def test_trouble__a_driver_that_hangs_is_told(make_page, browser):
    page = make_page(env={"VRAM_CALL_TIMEOUT": "1s"})
    page.daemon.sim("inject", "hang nvmlDeviceGetMemoryInfo")
    browser.until("return !document.querySelector('#banner').hidden", what="the banner")
    assert browser.js("return document.querySelector('#health').classList.contains('bad')")
    assert "driver" in browser.text("#banner").lower() and browser.text(".card .big") != ""
    page.picture("hung")
    page.daemon.sim("release")
    browser.until("return document.querySelector('#banner').hidden", what="it is gone again")


def test_trouble__a_daemon_that_is_restarted(make_page, browser):
    browser.expected = ("ERR_CONNECTION", "Failed to load resource", "ERR_INCOMPLETE")
    page = make_page(search="?range=5m")
    assert page.daemon.stop() == 0
    browser.until_text("#banner", "Disconnected.")
    assert "Trying again in" in browser.text("#banner") and page.row("ollama")
    page.picture("disconnected")
    time.sleep(6)  # the gap that is to be seen
    page.daemon.start("--listen", f"127.0.0.1:{page.port}", "--history", str(page.daemon.directory / "history.db"))
    browser.until("return document.querySelector('#banner').hidden", what="it comes back by itself")
    browser.until_text("#health-text", "live")
    browser.until_text("#event-list", "daemon started")
    page.picture("restarted")


HOSTILE = ["<img src=x>", "a\"b'c`d", "\u202egnp.exe", "line\nbreak\r\n\tx", "x" * 4096, "${alert(1)}", "=cmd|' calc'!A0"]


def test_hostile__names_are_texts(make_page, browser, hold, leases):
    page = make_page(search="?range=5m")
    page.daemon.sim("inject", "proc 0 pid=4194499 mem=100M type=C name=\"<img src=x onerror=document.title='owned'>" + "y" * 20 + '"')
    for name in HOSTILE:
        hold(page.daemon, "200M", "--gpu", "0", "--name", name)
    leases(page.daemon, "1G", "--gpu", "1", "--label", "<script>document.title='owned'</script>", "--", "sleep", "60")
    page.row("onerror")
    browser.until_text("#lease-table", "<script>")
    browser.until("return document.querySelectorAll('#table tbody tr').length >= 12")
    assert browser.js("return [document.title, document.querySelectorAll('main img, main script').length]") == ["vram", 0]
    seen = " ".join(browser.texts("main"))
    assert "\u202e" not in seen and "x" * 300 not in seen
    assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
    browser.js("const c = URL.createObjectURL; URL.createObjectURL = (b) => { window.made = b; return c(b); }; HTMLAnchorElement.prototype.click = () => {};")
    browser.click("#csv")
    text = browser.js("return window.made.text()")
    rows = list(csv.DictReader(text.splitlines()))
    assert any(row["name"].startswith("'=cmd") for row in rows)
    browser.click("#json")
    assert json.loads(browser.js("return window.made.text()"))["gpus"][0]["processes"]
    page.picture("hostile")


def test_keys(make_page, browser):
    make_page()
    browser.press("j", "j", "k")
    browser.until("return document.querySelectorAll('#table tr[aria-selected=true]').length === 1")
    assert browser.js("return document.activeElement === document.querySelector('#table tbody tr')")
    browser.press("2")
    browser.until("return document.querySelectorAll('.card').length === 2 && document.querySelector('.card:nth-child(2)').textContent.includes('GPU 1')")
    assert browser.js("return new URLSearchParams(location.search).get('gpu')") == "1"
    browser.press("2")
    browser.until("return document.querySelectorAll('.card').length === 3")
    browser.press("r")
    assert browser.js("return document.activeElement.closest('#ranges') !== null")
    browser.press("p")
    assert browser.text("#pause") == "live"
    browser.press("?")
    assert browser.js("return document.querySelector('#help').open")
    browser.press("escape")
    assert not browser.js("return document.querySelector('#help').open")
    browser.press("tab")
    assert browser.js("return getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_reader__is_told(make_page, browser):
    make_page()
    browser.until("return /GPU 0 14\\.7 GiB of 24\\.0 GiB used/.test(document.querySelector('#spoken').textContent)")
    unnamed = browser.js("return [...document.querySelectorAll('button, input, select')].filter(e => e.offsetParent && !(e.textContent.trim() || "
                         "e.getAttribute('aria-label') || (e.labels && e.labels.length))).map(e => e.outerHTML)")
    assert unnamed == []


CONTRAST = """
const lum = (c) => { const v = c.map(x => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; }); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const rgb = (s) => s.match(/[\\d.]+/g).slice(0, 3).map(Number);
const panel = lum(rgb(getComputedStyle(document.querySelector('.card')).backgroundColor));
const ratio = (s) => { const l = lum(rgb(s)); return (Math.max(l, panel) + .05) / (Math.min(l, panel) + .05); };
return [...document.querySelectorAll('.card .quiet, .card .facts, .card .state, .card b, .card h2')].filter(e => e.textContent).map(e => [e.className, ratio(getComputedStyle(e).color)])
  .filter(([, r]) => r < 4.5).concat([...document.querySelectorAll('.card .process')].map(e => ['process', ratio(getComputedStyle(e).backgroundColor)]).filter(([, r]) => r < 3));
"""


@pytest.mark.parametrize("width, height", [(1440, 1100), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_look(make_page, browser, hold, width, height, scheme):
    """Readable in light and dark, on a wall and on a phone; nothing jumps."""
    browser.size(width, height, mobile=width < 600)
    browser.scheme(scheme)
    page = make_page(search="?range=5m")
    browser.js(SHIFTS)
    holder = hold(page.daemon, "2G", "--gpu", "0", "--name", "trainer")
    page.row("trainer")
    assert browser.js(CONTRAST) == []
    assert browser.js("return document.documentElement.scrollWidth") == width
    if width < 600:
        small = browser.js("return [...document.querySelectorAll('button, input, select')].filter(e => e.offsetParent).map(e => [e.textContent, e.getBoundingClientRect()])"
                           ".filter(([, r]) => r.height < 44 || r.width < 44).map(([t, r]) => [t, r.width, r.height])")
        assert small == []
        columns = browser.js("return getComputedStyle(document.querySelector('#cards')).gridTemplateColumns.split(' ').length")
        assert columns == 1
    holder.kill()
    browser.until("return ![...document.querySelectorAll('#table tr')].some(r => r.textContent.includes('trainer'))")
    page.picture(f"{scheme}-{width}", whole=width < 600)
    assert browser.js("return window.shifts") < 0.01


def test_kiosk(make_page, browser):
    page = make_page(search="?kiosk=1")
    assert browser.js("return document.querySelector('.tools').offsetParent === null && document.querySelector('.card').offsetParent !== null")
    page.picture("kiosk")


def test_empty__says_what_to_do(make_page, browser, scenario):
    page = make_page("sim:empty")
    browser.until("return document.querySelector('#empty').offsetParent !== null")
    assert "vram doctor" in browser.text("#empty") and "--driver sim:rtx4090" in browser.text("#empty")
    page.picture("empty")


def test_token__is_asked_for_and_kept_from_the_address(make_page, browser, tmp_path):
    browser.expected = ("401",)
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple\n")
    token.chmod(0o600)
    page = make_page("sim:2x3090", "--token-file", str(token), opened=False)
    browser.open(f"http://127.0.0.1:{page.port}/")
    browser.until("return !document.querySelector('#token').hidden")
    browser.type("#token-text", "correct-horse-battery-staple")
    browser.click("#token button")
    page.row("ollama")
    browser.js("sessionStorage.clear()")
    browser.open("about:blank")
    page.open("#t=correct-horse-battery-staple")
    assert "correct" not in browser.js("return location.href")


@charts
def test_budget__what_it_takes(make_page, browser, record_property):
    """How much it is and how quick: measured and told (pytest -s), not judged, but for what would be another page."""
    page = make_page("sim:8xh100")
    browser.until("return document.querySelectorAll('.chart canvas').length === 8")
    size = browser.js("return performance.getEntriesByType('resource').filter(r => /web/.test(r.name)).reduce((s, r) => s + r.encodedBodySize, "
                      "performance.getEntriesByType('navigation')[0].encodedBodySize)")
    paint = browser.js("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
    browser.until("return vramPage.measured().times >= 5")
    drawn = browser.js("return vramPage.measured()")
    for name, value in (("bytes", size), ("first_paint_ms", paint), ("update_ms", drawn["drawn"]), ("slowest_ms", drawn["slowest"])):
        record_property(name, value)
    print(f"page {size} bytes gzip, first paint {paint:.0f} ms, update of 8 charts {drawn['drawn']:.0f} ms, slowest {drawn['slowest']:.0f} ms", file=sys.stderr)
    assert 20000 < size < 60000
    page.picture("eight")


def test_without_charts__is_said(make_page, browser):
    if not HAS_CHARTS:
        make_page()
        assert "-Duplot=DIR" in browser.text(".chart .note")
        return
    page = make_page(opened=False)
    browser.cdp("Network.enable")
    browser.cdp("Network.setBlockedURLs", urls=["*uplot*"])
    try:
        browser.expected = ("uplot", "ERR_BLOCKED")
        page.open()
        browser.until_text(".chart .note", "-Duplot=DIR")
        assert page.row("ollama") and browser.texts(".area table")
    finally:
        browser.cdp("Network.setBlockedURLs", urls=[])


def test_hidden__no_stream_is_held_for_nobody(make_page, browser):
    """A page that is left behind lets go of its stream at once."""
    page = make_page()
    base = page.daemon.fds()
    browser.open("about:blank")
    eventually(lambda: page.daemon.fds() < base, "the stream is closed")
    assert rig.alive(page.daemon.pid) and page.daemon.stop(signal.SIGTERM) == 0
