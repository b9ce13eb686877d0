// SPDX-License-Identifier: MIT
// All charts: which time they show, what history says of it, and the moment that is pointed at in all of them.
import { clock, el, gib, setText } from "./format.js";
import { get } from "./api.js";
import { Chart, processOfHistory } from "./chart.js";

export const RANGES = { "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000 };
const STEPS = { 300: 1, 900: 5, 3600: 10, 21600: 60, 86400: 300, 604800: 1800, 2592000: 7200 };

const NO_CHARTS = globalThis.uPlot ? "" : "built without charts: configure with -Duplot=DIR, which tools/uplot DIR fills";

export class Charts {
  constructor(state, leases, changed) {
    Object.assign(this, { state, leases, changed, range: "15m", custom: null, before: [], paused: null, pinned: null, tipped: null, bases: new Map(),
      events: [], charts: new Map(), note: NO_CHARTS, readAt: 0, reading: 0, drawn: 0, slowest: 0, times: 0 });
    this.section = document.getElementById("charts");
    this.tipBox = document.getElementById("tip");
    new ResizeObserver(() => { for (const chart of this.charts.values()) chart.resize(); }).observe(this.section);
  }

  /** From and to, in seconds. */
  window() {
    if (this.custom) return this.custom;
    const to = this.paused ?? Date.now() / 1000;
    return [to - RANGES[this.range], to];
  }

  isLive() {
    return !this.custom && this.paused === null;
  }

  // ---- What is shown ----

  show(range) {
    this.before = [];
    this.custom = null;
    this.range = range;
    this.read();
  }

  zoom(from, to) {
    this.before.push(this.custom);
    this.custom = [from, to];
    this.read();
  }

  back() {
    if (this.custom) {
      this.custom = this.before.pop() ?? null;
      this.read();
    }
  }

  pause(on) {
    this.paused = on ? Date.now() / 1000 : null;
    if (!on) this.read();
    this.changed();
  }

  step() {
    const [from, to] = this.window();
    return STEPS[to - from] ?? STEPS[RANGES[this.range] * !this.custom] ?? Math.max(1, Math.ceil((to - from) / 300));
  }

  async read() {
    const [from, to] = this.window(), turn = ++this.reading;
    this.readAt = performance.now();
    this.changed();
    const time = `from=${from.toFixed(3)}&to=${(to + 1).toFixed(3)}`;
    try {
      const [memory, processes, events] = await Promise.all([get(`v1/history?${time}&step=${this.step()}`),
        get(`v1/processes?${time}&steps=1`), get(`v1/events?${time}&limit=300`)]);
      if (turn !== this.reading) return;
      this.take(memory, processes.processes, events.events);
      this.note = NO_CHARTS;
    } catch (error) {
      if (turn !== this.reading) return;
      if (error.code === "no_history") this.note = "no history is kept: from now on";
      else if (error.status) this.note = error.message;
    }
    await this.leases.read(from, to);
    this.draw();
  }

  take(memory, processes, events) {
    this.bases.clear();
    for (const gpu of memory.gpus) {
      this.bases.set(gpu.uuid, { t: memory.t, step: memory.step_s, used: gpu.used, free: gpu.free, min: gpu.min, max: gpu.max,
        processes: processes.filter((p) => p.gpu === gpu.uuid).map(processOfHistory) });
    }
    this.events = events;
    const known = new Set(this.state.events.map((e) => e.at + e.kind + e.pid));
    this.state.events = [...this.state.events, ...events.filter((e) => !known.has(e.at + e.kind + e.pid))]
      .sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, 300);
  }

  marks(uuid) {
    return this.state.events.filter((e) => e.gpu === uuid || (!e.gpu && e.kind !== "daemon_started"))
      .map((e) => ({ kind: e.kind, t: Date.parse(e.at) / 1000 })).sort((a, b) => a.t - b.t);
  }

  // ---- Drawing ----

  draw(onlyGpu = this.onlyGpu) {
    this.onlyGpu = onlyGpu;
    const began = performance.now(), [from, to] = this.window(), leases = this.leases.all();
    const old = new Map(this.charts);
    for (const [uuid, one] of this.state.gpus) {
      if (onlyGpu && onlyGpu !== uuid) continue;
      old.delete(uuid);
      let chart = this.charts.get(uuid);
      if (!chart) {
        chart = new Chart(uuid, this);
        this.charts.set(uuid, chart);
        this.section.append(chart.box);
      }
      chart.update(one, this.bases.get(uuid), leases, from, to);
    }
    for (const [uuid, chart] of old) {
      chart.forget();
      chart.box.remove();
      this.charts.delete(uuid);
    }
    queueMicrotask(() => { // behind uPlot's, which draws in one
      this.times++;
      this.drawn = performance.now() - began;
      this.slowest = Math.max(this.slowest, this.drawn);
    });
    const stale = performance.now() - this.readAt > Math.max(30, this.step() * 2) * 1000;
    if (this.isLive() && stale) this.read();
  }

  redraw() {
    for (const chart of this.charts.values()) chart.forget();
    this.draw();
  }

  // ---- The moment that is pointed at ----

  pin(t, chart, event) {
    this.pinned = t;
    this.tipBox.classList.toggle("pinned", Boolean(t));
    if (t) this.tip(chart, chart.nearest(t), event);
    else this.tip(null);
    for (const one of this.charts.values()) {
      one.drawLegend(t ? one.nearest(t) : one.data.t.length - 1);
      one.plot?.redraw(false);
    }
  }

  /** Shows what `chart` tells of its i-th moment; null: nothing. */
  tip(chart, i, event) {
    this.tipped = chart;
    this.tipBox.hidden = !chart;
    if (!chart) return;
    const rows = chart.values(i).map(([label, bytes, color, kind]) => {
      const row = el("div"), mark = el("i", kind);
      mark.style.backgroundColor = color;
      row.append(mark, el("span", "", label), el("b", "", gib(bytes, 2)));
      return row;
    });
    const day = Date.now() / 1000 - chart.data.t[i] > 43200;
    this.tipBox.replaceChildren(el("strong", "", clock(chart.data.t[i], day) + (this.pinned ? " – pinned" : "")), ...rows);
    const left = event.clientX + 16, width = this.tipBox.offsetWidth, height = this.tipBox.offsetHeight;
    this.tipBox.style.left = `${left + width > innerWidth ? Math.max(4, event.clientX - width - 16) : left}px`;
    this.tipBox.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - height - 4))}px`;
  }
}

export function drawRanges(box, charts) {
  if (!box.children.length) {
    for (const range of Object.keys(RANGES)) {
      const button = el("button", "", range);
      button.type = "button";
      button.addEventListener("click", () => charts.show(range));
      box.append(button);
    }
    box.append(el("span", "quiet custom"));
  }
  for (const button of box.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(!charts.custom && button.textContent === charts.range));
  }
  const [from, to] = charts.window();
  setText(box.lastChild, charts.custom ? `${clock(from, to - from > 43200)} – ${clock(to)}` : "");
}
