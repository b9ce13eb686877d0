// SPDX-License-Identifier: MIT
// The page put together: the stream in, everything drawn, keys, the address, downloads.
import { Stream, get, setToken, takeToken } from "./api.js";
import { drawCards } from "./cards.js";
import { Charts, RANGES, drawRanges } from "./charts.js";
import { Fit } from "./fit.js";
import { clock, el, gib, known, name, setText, span } from "./format.js";
import { Leases } from "./leases.js";
import { State, gpuName } from "./state.js";
import { Table } from "./table.js";

const byId = (id) => document.getElementById(id);
const THEMES = ["auto", "light", "dark"];
const TOLD = { process_started: "started", process_ended: "ended", nearly_full: "nearly full", oom_suspected: "out of memory?", gpu_lost: "lost", gpu_back: "back",
  lease_queued: "queued", lease_granted: "granted", lease_ended: "lease ended", lease_over: "over its lease", lease_squeezed: "squeezed", holder_asked: "asked for memory",
  daemon_started: "daemon started", daemon_stopped: "daemon stopped", clock_changed: "clock changed" };

const state = new State();
const leases = new Leases(state);
const charts = new Charts(state, leases, () => { drawHead(); writeAddress(); });
const table = new Table(state, () => { table.draw(onlyGpu); writeAddress(); });
const fit = new Fit(state);
let onlyGpu = null, wantedGpu = null, link = { is: "connecting", error: null, retryAt: 0 }, lostAt = 0, spokenAt = -60000, queued = false;

// ---- Drawing ------------------------------------------------------------------------------------

/** Once a frame at most, and not what is paused. */
function queue() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; draw(); });
}

function draw() {
  if (!state.snapshot) return;
  const gpus = state.gpus.size;
  document.querySelector("main").hidden = false;
  drawEmpty();
  if (wantedGpu !== null) {
    onlyGpu = state.gpuList().find(({ gpu }) => gpu.index === wantedGpu)?.key ?? null;
    wantedGpu = null;
  }
  if (onlyGpu && !state.gpus.has(onlyGpu)) onlyGpu = null;
  for (const id of ["cards", "charts", "processes", "fit"]) byId(id).hidden = !gpus;
  if (gpus) {
    drawCards(byId("cards"), state, onlyGpu);
    if (charts.isLive() || onlyGpu !== charts.onlyGpu) charts.draw(onlyGpu);
    table.draw(onlyGpu);
    fit.draw();
  }
  leases.draw(...charts.window());
  drawEvents();
  drawHead();
}

function drawEmpty() {
  const box = byId("empty"), error = state.trouble ?? state.snapshot.errors[0];
  box.hidden = state.gpus.size > 0;
  if (box.hidden) return;
  setText(box.querySelector("p"), error ? `${error.message}${error.hint ? ` – ${error.hint}` : ""}`
    : "The driver runs and knows of no GPU. Where there is one, this tells what is wrong; and without one, this simulates one:");
  setText(box.querySelector("pre"), "vram doctor\nvram serve --driver sim:rtx4090 --listen 127.0.0.1:9470");
}

function drawHead() {
  const { driver } = state.snapshot ?? {};
  if (driver) {
    setText(byId("machine"), `${location.hostname} · ${driver.kind === "sim" ? "simulated driver" : "driver"} ${name(driver.version, 20)} · vram ${name(state.daemon?.version, 20)}`);
  }
  drawRanges(byId("ranges"), charts);
  byId("back").hidden = !charts.custom;
  const paused = charts.paused !== null;
  byId("pause").setAttribute("aria-pressed", String(paused));
  setText(byId("pause"), paused ? "live" : "pause");
  drawHealth();
}

function drawHealth() {
  const age = state.receivedAt ? (Date.now() - state.receivedAt) / 1000 : null, hung = state.gpuList().filter(({ gpu }) => gpu.state === "hung");
  const parts = [];
  let level = "good";
  if (link.is === "live") parts.push("live");
  if (known(age)) parts.push(`updated ${age < 10 ? age.toFixed(1) : Math.round(age)} s ago`);
  if (state.lag) parts.push(`${state.lag} missed`);
  const errors = state.snapshot?.errors ?? [];
  if (errors.length) parts.push(`${errors.length} collector error${errors.length > 1 ? "s" : ""}: ${name(errors[0].message, 90)}`);
  if (charts.paused !== null) parts.push("charts paused");
  if (errors.length || age > 5) level = "warn";
  if (state.trouble || hung.length || link.is === "down" || age > 12) level = "bad";
  if (!parts.length) parts.push("connecting …");
  setText(byId("health-text"), parts.join(" · "));
  byId("health").className = `health ${level}`;
  drawBanner(age, hung);
}

function drawBanner(age, hung) {
  const say = (title, text) => {
    byId("banner").hidden = !title;
    setText(byId("banner").children[0], title);
    setText(byId("banner").children[1], text);
  };
  if (link.is === "down") {
    const wait = Math.max(0, Math.ceil((link.retryAt - Date.now()) / 1000));
    const why = link.error?.status ? ` ${link.error.message}.` : "";
    say("Disconnected.", `${why} What is shown is of ${lostAt ? clock(lostAt / 1000) : "before"}. Trying again in ${wait} s.`);
  } else if (state.trouble) {
    const { code, message, hint } = state.trouble;
    say(code === "paused" ? "Paused." : "The driver has trouble.", `${name(message, 200)}${hint ? ` – ${name(hint, 200)}` : ""}. Figures are ${known(age) ? span(age) : "not"} old.`);
  } else if (hung.length) {
    say("The driver hangs.", `${hung.map(({ gpu }) => gpuName(gpu)).join(", ")}: no answer. The last figures are shown. vram doctor tells more.`);
  } else if (age > 12) {
    say("The driver does not answer.", `Figures are ${span(age)} old. vram doctor tells more.`);
  } else say("", "");
}

function drawEvents() {
  const list = byId("event-list"), [from, to] = charts.window();
  const shown = state.events.filter((e) => { const t = Date.parse(e.at) / 1000; return t >= from && t <= to + 60; }).slice(0, 100);
  const key = shown.map((e) => e.at).join();
  if (list.dataset.key === key && list.children.length) return;
  list.dataset.key = key;
  const long = to - from > 43200;
  list.replaceChildren(...shown.map((e) => {
    const item = el("li", e.kind), where = known(e.gpu_index) ? ` on GPU ${e.gpu_index}` : "";
    const who = e.name ? `${name(e.name, 40)}${e.pid ? ` (${e.pid})` : ""}` : e.lease ?? "";
    item.append(el("time", "", clock(Date.parse(e.at) / 1000, long)), el("b", "", TOLD[e.kind] ?? e.kind), el("span", "",
      `${who}${where}${known(e.bytes) ? `, ${gib(e.bytes)}${e.kind === "nearly_full" ? " free" : ""}` : ""}${e.text ? ` – ${name(e.text, 80)}` : ""}`));
    return item;
  }));
  if (!shown.length) list.append(el("li", "none", charts.note ? "No history is kept: vramd --history on keeps one." : "Nothing happened in this time."));
}

function speak() {
  if (!state.snapshot || performance.now() - spokenAt < 60000) return;
  spokenAt = performance.now();
  byId("spoken").textContent = state.gpuList().map(({ gpu }) => `${gpuName(gpu)} ${gib(gpu.used_bytes)} of ${gib(gpu.total_bytes)} used, headroom ${gib(gpu.headroom_bytes)}`).join(". ");
}

// ---- The stream ---------------------------------------------------------------------------------

const STREAM = {
  snapshot: (data) => state.figures(data, true),
  memory: (data) => state.figures(data, false),
  leases: (data) => Object.assign(state, { leases: data.leases, waiters: data.waiters, ceilings: data.ceilings }),
  event: (data) => state.happened(data),
  lag: (data) => { state.lag += data.missed; },
  trouble: (data) => {
    state.trouble = data.error;
    state.snapshot ??= { taken_at: null, errors: [], gpus: [], driver: null };
  },
};

const stream = new Stream((kind, data) => {
  STREAM[kind]?.(data);
  queue();
}, (is, error, retryAt) => {
  const was = link.is;
  if (is === "down" && was === "live") lostAt = Date.now();
  link = { is, error, retryAt };
  byId("token").hidden = error?.status !== 401;
  if (is === "live" && was === "down") charts.read(); // with the gap
  drawHealth();
});

byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(byId("token-text").value.trim());
  stream.now();
  charts.read();
});

// ---- The address --------------------------------------------------------------------------------

function readAddress() {
  const from = new URLSearchParams(location.search);
  if (RANGES[from.get("range")]) charts.range = from.get("range");
  const custom = [Number(from.get("from")), Number(from.get("to"))];
  if (custom[0] > 0 && custom[1] > custom[0]) charts.custom = custom;
  if (from.has("gpu")) wantedGpu = Number(from.get("gpu"));
  table.filter = byId("filter").value = from.get("q") ?? "";
  table.group = byId("group").value = ["user", "where"].includes(from.get("group")) ? from.get("group") : "";
  if (from.has("sort")) Object.assign(table, { sort: Math.min(Math.abs(parseInt(from.get("sort"), 10)) || 0, 11), down: !from.get("sort").startsWith("-") });
  byId("fit-size").value = from.get("fit") ?? "";
  document.body.classList.toggle("kiosk", from.get("kiosk") === "1");
  if (THEMES.includes(from.get("theme"))) setTheme(from.get("theme"));
}

function writeAddress() {
  const old = new URLSearchParams(location.search), to = new URLSearchParams();
  if (charts.custom) {
    to.set("from", charts.custom[0].toFixed(0));
    to.set("to", charts.custom[1].toFixed(0));
  }
  to.set("range", charts.range);
  const gpu = onlyGpu && state.gpus.get(onlyGpu)?.gpu;
  if (gpu) to.set("gpu", gpu.index);
  else if (wantedGpu !== null) to.set("gpu", wantedGpu);
  if (table.filter) to.set("q", table.filter);
  if (table.group) to.set("group", table.group);
  if (table.sort !== 5 || !table.down) to.set("sort", `${table.down ? "" : "-"}${table.sort}`);
  if (byId("fit-size").value) to.set("fit", byId("fit-size").value);
  for (const kept of ["kiosk", "theme"]) if (old.has(kept)) to.set(kept, old.get(kept));
  const search = `?${to}`;
  if (search !== location.search) history.replaceState(null, "", search);
}

// ---- Tools --------------------------------------------------------------------------------------

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  setText(byId("theme"), `theme: ${theme}`);
  charts.redraw();
  queue();
}

function download(kind, type, text) {
  const link = el("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `vram-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copyLink() {
  let done = "copied";
  try {
    await navigator.clipboard.writeText(location.href);
  } catch {
    done = "it is in the address bar"; // the clipboard is only there for pages of this machine, or encrypted ones
  }
  setText(byId("copy"), done);
  setTimeout(() => setText(byId("copy"), "copy link"), 1500);
}

byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % THEMES.length];
  localStorage.setItem("vram-theme", next);
  setTheme(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { charts.redraw(); queue(); });
byId("copy").addEventListener("click", copyLink);
byId("csv").addEventListener("click", () => download("csv", "text/csv", table.csv()));
byId("json").addEventListener("click", () => download("json", "application/json", `${JSON.stringify({ ...state.snapshot,
  gpus: state.gpuList().map(({ gpu, processes }) => ({ ...gpu, processes })), leases: state.leases, waiters: state.waiters, ceilings: state.ceilings }, null, 1)}\n`));
byId("pause").addEventListener("click", () => charts.pause(charts.paused === null));
byId("back").addEventListener("click", () => charts.back());
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("filter").addEventListener("input", (event) => {
  table.filter = event.target.value;
  table.changed();
});
byId("group").addEventListener("change", (event) => {
  table.group = event.target.value;
  table.order = [];
  table.changed();
});
byId("fit-size").addEventListener("change", writeAddress);

// ---- Keys ---------------------------------------------------------------------------------------

function chooseGpu(index) {
  const one = state.gpuList()[index];
  if (!one) return;
  onlyGpu = onlyGpu === one.key ? null : one.key;
  writeAddress();
  queue();
}

const KEYS = {
  "/": () => byId("filter").focus(),
  j: () => table.move(1),
  k: () => table.move(-1),
  r: () => byId("ranges").querySelector("[aria-pressed=true], button").focus(),
  p: () => byId("pause").click(),
  "?": () => byId("help").showModal(),
  Escape: () => { if (charts.pinned) charts.pin(null); },
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (typing && event.key === "Escape") event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (/^[1-9]$/.test(event.key)) chooseGpu(Number(event.key) - 1);
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

// ---- Begin --------------------------------------------------------------------------------------

takeToken();
readAddress();
if (!new URLSearchParams(location.search).has("theme")) setTheme(localStorage.getItem("vram-theme") ?? "auto");
stream.open();
charts.read();
setInterval(() => { drawHealth(); speak(); if (state.snapshot) leases.timeline(...charts.window()); }, 1000);
setInterval(async () => { try { table.learn((await get(`v1/processes?from=${Date.now() / 1000 - 5}`)).processes); } catch { /* no history */ } }, 10000);
get(`v1/processes?from=${(Date.now() / 1000 - 5).toFixed(3)}`).then((answer) => table.learn(answer.processes), () => {});

export const measured = () => ({ drawn: charts.drawn, slowest: charts.slowest, times: charts.times });
globalThis.vramPage = { measured };
