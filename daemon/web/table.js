// SPDX-License-Identifier: MIT
// The processes: sorted, filtered, grouped; in a steady order while somebody reads.
import { el, gib, known, name, percent, setText, span } from "./format.js";
import { processColor, processKey } from "./color.js";
import { gpuName } from "./state.js";

const IDLE_S = 600;
const now = () => Date.now() / 1000;
const where = (p) => p.unit ?? p.container ?? null;

// Heading, how it is sorted, how it is written, and whether larger comes first.
const COLUMNS = [
  ["GPU", (r) => r.gpu.index, (r) => gpuName(r.gpu)],
  ["pid", (r) => r.p.pid, (r) => String(r.p.pid)],
  ["name", (r) => r.p.name ?? "", (r) => name(r.p.name)],
  ["user", (r) => r.p.user ?? "", (r) => name(r.p.user, 24)],
  ["unit, container", (r) => where(r.p) ?? "", (r) => name(where(r.p), 36)],
  ["now", (r) => r.p.used_bytes ?? -1, (r) => (known(r.p.used_bytes) ? gib(r.p.used_bytes) : "not visible"), true],
  ["peak", (r) => r.peak ?? -1, (r) => gib(r.peak), true],
  ["share", (r) => (r.p.used_bytes ?? -1) / (r.gpu.total_bytes ?? Infinity), (r) => percent(r.p.used_bytes, r.gpu.total_bytes), true],
  ["per hour", (r) => r.growth ?? -Infinity, (r) => (known(r.growth) ? `${r.growth > 0 ? "+" : ""}${gib(r.growth)}` : "–"), true],
  ["age", (r) => r.age ?? -1, (r) => (known(r.age) ? span(r.age) : "–"), true],
  ["lease", (r) => r.p.lease ?? "", (r) => (r.p.lease ? name(r.lease, 24) : "–")],
  ["idle", (r) => r.idle ?? -1, (r) => (r.idle ? span(r.idle) : ""), true],
];

export class Table {
  constructor(state, changed) {
    Object.assign(this, { state, changed, sort: 5, down: true, filter: "", group: "", order: [], selected: null, history: new Map() });
    this.table = document.getElementById("table");
    this.shown = document.getElementById("shown");
    const head = this.table.tHead.insertRow();
    COLUMNS.forEach(([title], i) => {
      const th = el("th"), button = el("button", "", title);
      th.scope = "col";
      button.type = "button";
      button.addEventListener("click", () => this.sortBy(i));
      th.append(button);
      head.append(th);
    });
    this.table.tBodies[0].addEventListener("click", (event) => this.select(event.target.closest("tr")?.dataset.key));
  }

  sortBy(i) {
    this.down = this.sort === i ? !this.down : Boolean(COLUMNS[i][3]);
    this.sort = i;
    this.order = [];
    this.changed();
  }

  /** Peaks and begins that history knows. */
  learn(processes) {
    for (const p of processes) if (!p.ended) this.history.set(`${p.gpu} ${processKey(p)}`, p);
  }

  rows() {
    const list = [], text = this.filter.toLowerCase(), t = now();
    const labels = new Map(this.state.leases.map((l) => [l.id, l.label ?? l.id.slice(0, 8)]));
    for (const { key: gpuKey, gpu, processes } of this.state.gpuList()) {
      if (this.onlyGpu && gpuKey !== this.onlyGpu) continue;
      for (const p of processes ?? []) {
        const words = [p.name, p.user, where(p), p.pid, p.lease, gpuName(gpu)].join(" ").toLowerCase();
        if (text && !text.split(/\s+/).every((word) => words.includes(word))) continue;
        const key = `${gpuKey} ${processKey(p)}`, seen = this.state.seen.get(key), past = this.history.get(key);
        const began = past ? Date.parse(past.began) / 1000 : seen?.first, still = seen ? t - seen.changedAt : 0;
        list.push({ key, gpu, p, peak: Math.max(seen?.peak ?? -1, past?.peak_bytes ?? -1, p.used_bytes ?? -1) < 0 ? null : Math.max(seen?.peak ?? -1, past?.peak_bytes ?? -1),
          growth: seen ? this.state.growthPerHour(seen) : null, age: known(began) ? t - began : null, atLeast: past ? past.was_running : seen?.early,
          idle: gpu.utilization_percent === 0 && still > IDLE_S ? still : null, lease: labels.get(p.lease) ?? p.lease });
      }
    }
    return this.ordered(list);
  }

  /** While it is read, who is there keeps his place and who is new comes last. */
  ordered(list) {
    const value = COLUMNS[this.sort][1], sign = this.down ? -1 : 1;
    const reading = this.order.length && this.table.tBodies[0].matches(":hover, :focus-within");
    const place = new Map(this.order.map((key, i) => [key, i]));
    const compare = (a, b) => (value(a) < value(b) ? -sign : value(a) > value(b) ? sign : a.key < b.key ? -1 : 1);
    list.sort(reading ? (a, b) => (place.get(a.key) ?? Infinity) - (place.get(b.key) ?? Infinity) || compare(a, b) : compare);
    this.order = list.map((row) => row.key);
    return list;
  }

  draw(onlyGpu) {
    this.onlyGpu = onlyGpu;
    const rows = this.rows(), body = this.table.tBodies[0], wanted = [];
    [...this.table.tHead.rows[0].cells].forEach((cell, i) => {
      cell.setAttribute("aria-sort", i !== this.sort ? "none" : this.down ? "descending" : "ascending");
    });
    if (this.group) this.grouped(rows, wanted);
    else wanted.push(...rows);
    const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
    wanted.forEach((row, i) => {
      const tr = old.get(row.key) ?? this.makeRow(row);
      old.delete(row.key);
      if (row.p) this.fill(tr, row);
      else setText(tr.cells[0], row.title);
      if (body.rows[i] !== tr) body.insertBefore(tr, body.rows[i] ?? null);
    });
    for (const tr of old.values()) tr.remove();
    const all = this.state.gpuList(), hidden = all.filter(({ processes }) => !processes).length;
    setText(this.shown, `${rows.length} shown${hidden ? `, not visible on ${hidden} GPU${hidden > 1 ? "s" : ""}` : ""}`);
  }

  grouped(rows, wanted) {
    const groups = new Map();
    for (const row of rows) {
      const title = name(this.group === "user" ? row.p.user : where(row.p));
      groups.set(title, [...(groups.get(title) ?? []), row]);
    }
    const sum = (list) => list.reduce((total, row) => total + (row.p.used_bytes ?? 0), 0);
    for (const [title, list] of [...groups].sort((a, b) => sum(b[1]) - sum(a[1]))) {
      const unknown = list.some((row) => !known(row.p.used_bytes));
      wanted.push({ key: `group ${title}`, title: `${title}: ${gib(sum(list))}${unknown ? " and more that is not visible" : ""} in ${list.length}` }, ...list);
    }
  }

  makeRow(row) {
    const tr = el("tr", row.p ? "" : "group");
    tr.dataset.key = row.key;
    if (!row.p) {
      tr.append(Object.assign(el("th"), { colSpan: COLUMNS.length, scope: "rowgroup" }));
      return tr;
    }
    tr.tabIndex = -1;
    for (const column of COLUMNS) {
      const cell = el("td", column[3] ? "number" : "");
      if (column[0] === "name") cell.append(el("i", "process"), el("span"));
      tr.append(cell);
    }
    return tr;
  }

  fill(tr, row) {
    COLUMNS.forEach(([title, , write], i) => {
      const cell = tr.cells[i], text = write(row);
      if (title === "name") {
        cell.children[0].style.backgroundColor = processColor(row.p);
        setText(cell.children[1], text);
        if (cell.title !== text) cell.title = text;
      } else setText(cell, title === "age" && row.atLeast && known(row.age) ? `> ${text}` : text);
    });
    tr.setAttribute("aria-selected", String(row.key === this.selected));
  }

  select(key) {
    this.selected = key ?? null;
    for (const tr of this.table.tBodies[0].rows) if (tr.tabIndex === -1) tr.setAttribute("aria-selected", String(tr.dataset.key === key));
  }

  move(by) {
    const rows = [...this.table.tBodies[0].querySelectorAll("tr[tabindex]")];
    if (!rows.length) return;
    const at = rows.findIndex((tr) => tr.dataset.key === this.selected);
    const to = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
    this.select(to.dataset.key);
    to.focus({ preventScroll: true });
    to.scrollIntoView({ block: "nearest" });
  }

  /** What is shown, for a spreadsheet: a text that could be taken for a formula is none. */
  csv() {
    const quote = (text) => `"${String(text ?? "").replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
    const heads = ["gpu", "gpu_uuid", "pid", "name", "user", "unit", "container", "used_bytes", "peak_bytes", "age_s", "lease"];
    const lines = this.rows().map(({ gpu, p, peak, age }) => [gpu.index, quote(gpu.uuid), p.pid, quote(p.name), quote(p.user), quote(p.unit),
      quote(p.container), p.used_bytes ?? "", peak ?? "", known(age) ? Math.round(age) : "", quote(p.lease)].join(","));
    return `${heads.join(",")}\n${lines.join("\n")}\n`;
  }
}
