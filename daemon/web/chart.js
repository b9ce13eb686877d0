// SPDX-License-Identifier: MIT
// One GPU's memory over time: what is drawn (numbers, pure), and the drawing.
import { GIB, MIB, clock, el, gib, known, name, setText } from "./format.js";
import { css, processColor, processKey } from "./color.js";
import { promisedAt } from "./leases.js";
import { gpuName } from "./state.js";

const BANDS = 8;
const HEIGHT = 176;
const EVENT_MARKS = { process_started: ["▲", "--good"], process_ended: ["▽", "--quiet"], oom_suspected: ["OOM", "--bad"], nearly_full: ["full", "--warn"],
  gpu_lost: ["lost", "--bad"], gpu_back: ["back", "--good"], lease_granted: ["L", "--leased"], lease_over: ["over", "--warn"], lease_squeezed: ["squeezed", "--warn"] };

// ---- Numbers ------------------------------------------------------------------------------------

/** What a process held at t: steps are [seconds, bytes], in order; before the first, and after its end, nothing. */
function heldAt(process, t) {
  if (t < process.began || (process.ended && t >= process.ended)) return 0;
  const steps = process.steps;
  let low = 0, high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle][0] <= t) low = middle + 1;
    else high = middle;
  }
  return low ? steps[low - 1][1] : (steps[0]?.[1] ?? process.first ?? 0);
}

/** Points in time: {t, used, free, min, max, held: Map of key → bytes, outstanding}. From history first, then as seen. */
function points(base, live, from, to) {
  const step = base?.step ?? 1, firstLive = live.find((p) => p.t >= from)?.t ?? Infinity, list = [];
  for (let i = 0; base && i < base.t.length && base.t[i] < firstLive && base.t[i] <= to; i++) {
    const t = base.t[i], used = base.used[i], held = new Map();
    if (t < from - step) continue;
    if (known(used)) for (const p of base.processes) { const bytes = heldAt(p, t); if (bytes) held.set(p.key, bytes); }
    list.push({ t, used, free: base.free[i], min: base.min[i], max: base.max[i], held });
  }
  let bucket = NaN;
  for (const p of live) {
    if (p.t < from || p.t > to) continue;
    const last = list.at(-1), same = Math.floor(p.t / step) === bucket && known(p.used) && known(last?.used);
    const held = new Map();
    for (const [key, process] of p.processes ?? []) if (process.used_bytes) held.set(key, process.used_bytes);
    const point = { t: p.t, used: p.used, free: p.free, min: p.used, max: p.used, held, outstanding: p.outstanding };
    if (same) {
      Object.assign(point, { min: Math.min(last.min, p.used), max: Math.max(last.max, p.used) });
      list[list.length - 1] = point;
    } else list.push(point);
    bucket = Math.floor(p.t / step);
  }
  return list;
}

/** Which processes have a band of their own: the largest of the time. */
function choose(list, names) {
  const most = new Map();
  for (const p of list) for (const [key, bytes] of p.held) if (bytes > (most.get(key) ?? 0)) most.set(key, bytes);
  return [...most].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, BANDS).map(([key]) => names.get(key))
    .filter(Boolean).sort((a, b) => a.pid - b.pid);
}

/** All columns of a chart. */
export function columns(one, base, leases, from, to) {
  const list = points(base, one.live, from, to), { gpu } = one, names = new Map();
  for (const p of base?.processes ?? []) names.set(p.key, p);
  for (const p of one.live) for (const [key, process] of p.processes ?? []) names.set(key, { key, pid: process.pid, name: process.name });
  const bands = choose(list, names), n = list.length;
  const data = { bands, t: new Array(n), held: bands.map(() => new Array(n)), other: new Array(n), rest: new Array(n), used: new Array(n),
    free: new Array(n), min: new Array(n), max: new Array(n), leased: new Array(n), room: new Array(n), step: base?.step ?? 1 };
  const margin = one.margin ?? 0, anyLease = leases.some((l) => l.gpus.includes(gpu.uuid));
  list.forEach((p, i) => {
    const gap = !known(p.used);
    let sum = 0, told = 0;
    for (const bytes of p.held.values()) sum += bytes;
    bands.forEach((band, j) => { const bytes = p.held.get(band.key) ?? 0; data.held[j][i] = gap ? null : bytes; told += bytes; });
    data.t[i] = p.t;
    data.other[i] = gap ? null : sum - told;
    data.rest[i] = gap ? null : Math.max(0, p.used - sum);
    data.used[i] = gap ? null : p.used;
    data.free[i] = gap ? null : p.free;
    data.min[i] = gap ? null : p.min;
    data.max[i] = gap ? null : p.max;
    data.leased[i] = anyLease && !gap ? promisedAt(leases, gpu.uuid, p.t) : null;
    data.room[i] = known(p.outstanding) && known(gpu.total_bytes) && !gap
      ? gpu.total_bytes - (gpu.driver_reserved_bytes ?? 0) - p.outstanding - margin : null;
  });
  return data;
}

/** The sums that are drawn one on another. */
function stack(data) {
  const layers = [...data.held, data.other, data.rest], sums = [];
  for (const layer of layers) {
    const below = sums.at(-1);
    sums.push(below ? layer.map((v, i) => (v === null ? null : v + below[i])) : layer.slice());
  }
  return sums;
}

// ---- Drawing ------------------------------------------------------------------------------------

let hatch = null;
function hatched(ctx) {
  const color = css("--quiet");
  if (hatch?.color === color) return hatch.pattern;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = color;
  pen.globalAlpha = 0.75;
  pen.lineWidth = 1.5;
  for (const at of [-8, 0, 8]) { pen.moveTo(at, 8); pen.lineTo(at + 8, 0); }
  pen.stroke();
  hatch = { color, pattern: ctx.createPattern(tile, "repeat") };
  return hatch.pattern;
}

const INCREMENTS = [0.25, 0.5, 1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 64, 80, 128].map((n) => n * GIB);

/** The time at a tick; the day where it is another than at the tick before. */
function tick(t, before, length) {
  const text = clock(t, true), day = text.slice(5, 10);
  if (length > 43200 && (before === undefined || clock(before, true).slice(5, 10) !== day)) return day;
  return text.slice(11, length > 600 ? 16 : 19);
}

export class Chart {
  constructor(uuid, all) {
    Object.assign(this, { uuid, all, plot: null, shape: "", data: null, tabular: false });
    this.box = el("article", "chart");
    this.title = el("h2");
    this.note = el("span", "quiet note");
    this.button = el("button", "", "show as table");
    this.button.type = "button";
    this.button.setAttribute("aria-pressed", "false");
    this.button.addEventListener("click", () => this.toggle());
    const head = el("header");
    head.append(this.title, this.note, this.button);
    this.area = el("div", "area");
    this.legend = el("ul", "legend values");
    this.area.addEventListener("click", (event) => this.pin(event));
    this.area.addEventListener("dblclick", () => this.all.back());
    this.box.append(head, this.area, this.legend);
  }

  toggle() {
    this.tabular = !this.tabular;
    this.button.setAttribute("aria-pressed", String(this.tabular));
    setText(this.button, this.tabular ? "show as chart" : "show as table");
    this.forget();
    this.draw();
  }

  forget() {
    this.plot?.destroy();
    this.plot = null;
    this.shape = "";
    this.area.replaceChildren();
  }

  update(one, base, leases, from, to) {
    this.one = one;
    this.from = from;
    this.to = to;
    this.data = columns(one, base, leases, from, to);
    this.limit = one.gpu.total_bytes ?? Math.max(GIB, ...this.data.max.filter(known));
    setText(this.title, gpuName(one.gpu));
    this.draw();
  }

  draw() {
    const { data } = this;
    if (!data) return;
    const empty = !data.used.some(known);
    setText(this.note, empty ? (this.one.gpu.state === "ok" ? "nothing is known of this time" : `this GPU is ${this.one.gpu.state}`) : this.all.note);
    if (this.tabular || !globalThis.uPlot) this.drawTable();
    else this.drawPlot();
    this.drawLegend(this.all.pinned ? this.nearest(this.all.pinned) : this.hovered ?? data.t.length - 1);
    const last = data.used.filter(known), most = Math.max(0, ...data.max.filter(known));
    this.area.setAttribute("aria-label", `${gpuName(this.one.gpu)}: ${gib(last.at(-1))} used of ${gib(this.limit)}, at most ${gib(most)} in this time`);
  }

  nearest(t) {
    const times = this.data.t;
    let best = times.length - 1;
    for (let i = 0; i < times.length; i++) if (Math.abs(times[i] - t) < Math.abs(times[best] - t)) best = i;
    return best;
  }

  // ---- uPlot ----

  drawPlot() {
    const { data } = this, zoomedOut = data.step >= 10;
    const shape = JSON.stringify([data.bands.map((b) => b.key), zoomedOut, this.limit, document.documentElement.dataset.theme]);
    const columnsOfAll = [data.t, ...stack(data), data.used, data.min, data.max, data.leased, data.room];
    if (this.plot && shape === this.shape) {
      this.plot.setData(columnsOfAll, false);
      this.plot.setScale("x", { min: this.from, max: this.to });
      return;
    }
    this.forget();
    this.shape = shape;
    this.area.setAttribute("role", "img");
    this.plot = new globalThis.uPlot(this.options(zoomedOut), columnsOfAll, this.area);
  }

  options(zoomedOut) {
    const { bands } = this.data, count = bands.length, axis = { stroke: css("--quiet"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const colors = [...bands.map(processColor), css("--other")];
    const solid = (color) => `${color}c0`;
    const series = [{}, ...colors.map((color, i) => ({ stroke: color, width: 1, fill: i === 0 ? solid(color) : undefined })),
      { stroke: css("--quiet"), width: 1, fill: undefined },
      { stroke: css("--ink"), width: 1.5 },
      { stroke: "transparent", width: 0 }, { stroke: zoomedOut ? css("--ink") : "transparent", width: zoomedOut ? 0.5 : 0, dash: [2, 2] },
      { stroke: css("--leased"), width: 2, dash: [6, 3], paths: globalThis.uPlot.paths.stepped({ align: 1 }) },
      { stroke: css("--good"), width: 1.5, dash: [2, 3], paths: globalThis.uPlot.paths.stepped({ align: 1 }) }];
    for (const one of series.slice(1)) Object.assign(one, { points: { show: false }, spanGaps: false });
    const filled = colors.slice(1).map((color, i) => ({ series: [i + 2, i + 1], fill: solid(color) }));
    filled.push({ series: [count + 2, count + 1], fill: (u) => hatched(u.ctx) });
    if (zoomedOut) filled.push({ series: [count + 5, count + 4], fill: css("--band") });
    return {
      width: this.width(), height: HEIGHT, series, bands: filled, legend: { show: false },
      scales: { x: { time: true, range: () => [this.from, this.to] }, y: { range: () => [0, this.limit] } },
      axes: [{ ...axis, size: 24, space: 72, values: (_, times) => times.map((t, i) => tick(t, times[i - 1], this.to - this.from)) }, { ...axis, size: 44, incrs: INCREMENTS, values: (_, values) => values.map((v) => `${v / GIB}`) }],
      cursor: { y: false, sync: { key: "vram", setSeries: false, filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => null } },
      hooks: { draw: [(u) => this.drawMarks(u)], setCursor: [(u) => this.hover(u)], setSelect: [(u) => this.select(u)] },
    };
  }

  width() {
    return Math.max(240, Math.floor(this.area.clientWidth));
  }

  resize() {
    if (this.plot && this.plot.width !== this.width()) this.plot.setSize({ width: this.width(), height: HEIGHT });
  }

  drawMarks(u) {
    const { ctx, bbox } = u, scale = devicePixelRatio;
    ctx.save();
    ctx.font = `${10 * scale}px system-ui, sans-serif`;
    for (const line of this.thresholds()) {
      const y = Math.round(u.valToPos(line.at, "y", true));
      ctx.strokeStyle = ctx.fillStyle = css(line.color);
      ctx.setLineDash([1, 3 * scale]);
      ctx.lineWidth = scale;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.textAlign = line.side;
      ctx.fillText(line.text, line.side === "left" ? bbox.left + 4 * scale : bbox.left + bbox.width - 4 * scale, y - 3 * scale);
    }
    ctx.setLineDash([]);
    ctx.textAlign = "center";
    let free = -Infinity;
    for (const event of this.all.marks(this.uuid)) {
      const mark = EVENT_MARKS[event.kind], x = Math.round(u.valToPos(event.t, "x", true));
      if (!mark || x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = css(mark[1]);
      ctx.fillRect(x, bbox.top + bbox.height - 5 * scale, scale, 5 * scale);
      const width = ctx.measureText(mark[0]).width;
      if (x - width / 2 < free) continue; // one on another nobody could read
      free = x + width / 2 + 2 * scale;
      ctx.fillText(mark[0], x, bbox.top + bbox.height - 7 * scale);
    }
    if (this.all.pinned) {
      const x = Math.round(u.valToPos(this.all.pinned, "x", true));
      ctx.fillStyle = css("--accent");
      if (x >= bbox.left && x <= bbox.left + bbox.width) ctx.fillRect(x, bbox.top, 2 * scale, bbox.height);
    }
    ctx.restore();
  }

  thresholds() {
    const { gpu } = this.one;
    if (!known(gpu.total_bytes)) return [];
    const critical = gpu.total_bytes - (gpu.driver_reserved_bytes ?? 0) - (this.one.margin ?? 0);
    return [{ at: critical, text: "critical: margin", color: "--bad", side: "right" },
      { at: critical - gpu.total_bytes * 0.05, text: "warning: 5 % headroom", color: "--warn", side: "left" }];
  }

  select(u) {
    this.dragged = u.select.width > 8;
    if (this.dragged) {
      const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
      if (to - from >= 10) this.all.zoom(from, to);
    }
    if (u.select.width) u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }

  pin(event) {
    if (!this.plot || this.plot.cursor.left < 0) return;
    if (this.dragged) {
      this.dragged = false;
      return;
    }
    this.all.pin(this.all.pinned ? null : this.plot.posToVal(this.plot.cursor.left, "x"), this, event);
  }

  hover(u) {
    const i = u.cursor.idx;
    this.hovered = known(i) && u.cursor.left >= 0 ? i : null;
    if (this.all.pinned) return;
    this.drawLegend(this.hovered ?? this.data.t.length - 1);
    if (u.cursor.event && this.area.matches(":hover")) this.all.tip(this.hovered === null ? null : this, this.hovered, u.cursor.event);
    else if (this.hovered === null && this.all.tipped === this) this.all.tip(null);
  }

  // ---- Values ----

  /** What is told of a moment: not the sums that are drawn, but each by itself. */
  values(i) {
    const { data } = this, rows = [];
    if (!(i >= 0)) return rows;
    data.bands.forEach((band, j) => { if (data.held[j][i]) rows.push([`${name(band.name, 28)} (${band.pid})`, data.held[j][i], processColor(band), "process"]); });
    if (data.other[i] >= MIB) rows.push(["other", data.other[i], css("--other"), "process"]);
    if (data.rest[i] >= MIB) rows.push(["unattributed", data.rest[i], "", "hatched"]);
    rows.push(["used", data.used[i], "", "line"]);
    if (data.step >= 10 && known(data.max[i]) && data.max[i] !== data.used[i]) rows.push(["most", data.max[i], "", "line"]);
    rows.push(["free", data.free[i], "", "free"]);
    if (data.leased[i]) rows.push(["leased", data.leased[i], "", "leased"]);
    return rows;
  }

  drawLegend(i) {
    const rows = this.values(i);
    while (this.legend.children.length > rows.length) this.legend.lastChild.remove();
    rows.forEach(([label, bytes, color, kind], j) => {
      let row = this.legend.children[j];
      if (!row) {
        row = el("li");
        row.append(el("i"), el("span"), el("b"));
        this.legend.append(row);
      }
      row.children[0].className = kind;
      row.children[0].style.backgroundColor = color;
      setText(row.children[1], label);
      setText(row.children[2], gib(bytes));
    });
  }

  drawTable() {
    const { data } = this, count = data.t.length, every = Math.max(1, Math.floor(count / 40));
    const heads = ["time", "used", "free", ...data.bands.map((band) => `${name(band.name, 20)} (${band.pid})`), "other", "unattributed"];
    const key = `${count}:${data.t[count - 1]}`;
    if (this.plot) this.forget();
    if (this.shape === key) return;
    this.shape = key;
    const table = el("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const text of heads) head.append(Object.assign(el("th", "", text), { scope: "col" }));
    for (let i = count - 1; i >= 0; i -= every) {
      const row = body.insertRow();
      const cells = [clock(data.t[i], data.step >= 60), gib(data.used[i]), gib(data.free[i]), ...data.held.map((held) => gib(held[i])), gib(data.other[i]), gib(data.rest[i])];
      for (const text of cells) setText(row.insertCell(), text);
    }
    const scroll = el("div", "scroll");
    scroll.tabIndex = 0;
    scroll.append(table);
    this.area.removeAttribute("role");
    this.area.replaceChildren(scroll);
  }
}

export function processOfHistory(p) {
  const steps = (p.steps ?? []).map(([ms, bytes]) => [ms / 1000, bytes ?? 0]).reverse();
  return { key: processKey(p), pid: p.pid, name: p.name, began: Date.parse(p.began) / 1000, ended: p.ended ? Date.parse(p.ended) / 1000 : null, steps, first: p.first_bytes };
}
