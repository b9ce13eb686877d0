// SPDX-License-Identifier: MIT
// Leases, who waits, and both over time; what ceilings keep. They are made and ended by the command: over the page there is only reading.
import { clock, el, gib, known, name, setText, span } from "./format.js";
import { get } from "./api.js";
import { gpuName } from "./state.js";

const LEASE_STATES = { ok: "", filled: "filled", inherited: "inherited", over: "over its size", squeezed: "squeezed by others" };

function fill(table, heads, rows, none) {
  if (!table.tHead.rows.length) {
    const row = table.tHead.insertRow();
    for (const head of heads) row.append(Object.assign(el("th", "", head), { scope: "col" }));
  }
  const body = table.tBodies[0];
  const wanted = rows.length ? rows : [[none]];
  while (body.rows.length > wanted.length) body.deleteRow(-1);
  wanted.forEach((cells, i) => {
    const row = body.rows[i] ?? body.insertRow();
    while (row.cells.length > cells.length) row.deleteCell(-1);
    cells.forEach((cell, j) => {
      const to = row.cells[j] ?? row.insertCell();
      to.colSpan = rows.length ? 1 : heads.length;
      setText(to, cell);
    });
  });
}

const since = (text, now) => span(now - Date.parse(text) / 1000);

export class Leases {
  constructor(state) {
    this.state = state;
    this.past = [];
    this.readAt = 0;
  }

  where(uuids) {
    return uuids.map((uuid) => { const one = this.state.gpus.get(uuid); return one ? gpuName(one.gpu) : uuid.slice(0, 12); }).join(", ");
  }

  draw(from, to) {
    const { leases, waiters, ceilings } = this.state, now = Date.now() / 1000;
    const size = leases.reduce((sum, lease) => sum + lease.size_bytes * lease.gpus.length, 0);
    const unfilled = leases.reduce((sum, lease) => sum + lease.outstanding_bytes, 0);
    setText(document.getElementById("lease-sum"), leases.length
      ? `${leases.length} · ${gib(size)} promised, ${gib(unfilled)} of it not filled` : "");
    fill(document.getElementById("lease-table"), ["lease", "user", "on", "size", "held", "unfilled", "since", "ends"],
      leases.map((l) => [name(l.label ?? l.id.slice(0, 8), 30) + (LEASE_STATES[l.state] ? ` – ${LEASE_STATES[l.state]}` : "") +
        (l.outstanding_bytes === l.size_bytes * l.gpus.length ? " – unused" : ""), name(l.user, 20), this.where(l.gpus), gib(l.size_bytes),
      gib(l.held_bytes), gib(l.outstanding_bytes), since(l.since, now), l.until ? `in ${span(Date.parse(l.until) / 1000 - now)}` : "with its holder"]),
      "Nothing is leased. vram run 14G -- CMD keeps memory for a program.");
    fill(document.getElementById("queue-table"), ["#", "who", "user", "size", "waits", "for"],
      waiters.map((w) => [String(w.position), name(w.label ?? `pid ${w.pid}`, 30), name(w.user, 20),
        gib(w.size_bytes) + (w.gpu_count > 1 ? ` on ${w.gpu_count}` : ""), since(w.since, now), name(w.waits_for, 160)]), "Nobody waits.");
    document.getElementById("ceilings").hidden = !ceilings.length;
    fill(document.getElementById("ceiling-table"), ["ceiling", "for", "on", "size", "held", "unfilled"],
      ceilings.map((c) => [name(c.name, 30), name(c.match, 40), this.where([c.gpu]), gib(c.size_bytes), gib(c.held_bytes), gib(c.outstanding_bytes)]), "");
    if (performance.now() - this.readAt > 15000) this.read(from, to);
    this.timeline(from, to);
  }

  async read(from, to) {
    this.readAt = performance.now();
    try {
      this.past = (await get(`v1/history/leases?from=${from}&to=${to + 1}`)).leases;
    } catch {
      this.past = [];
    }
  }

  /** All that stood or waited in the time: what history has, and what is newer. */
  all() {
    const ids = new Map(this.past.map((l) => [l.id, l]));
    for (const l of this.state.leases) {
      ids.set(l.id, { id: l.id, label: l.label, gpus: l.gpus, size_bytes: l.size_bytes, asked: ids.get(l.id)?.asked ?? l.since, granted: l.since, ended: null });
    }
    return [...ids.values()];
  }

  timeline(from, to) {
    const box = document.getElementById("timeline"), at = (text) => Date.parse(text) / 1000, rows = new Map();
    const place = (t) => `${((Math.min(Math.max(t, from), to) - from) / (to - from)) * 100}%`;
    const standing = new Set(this.state.leases.map((l) => l.id));
    for (const lease of this.all()) {
      const begin = at(lease.asked), end = lease.ended ? at(lease.ended) : standing.has(lease.id) || !lease.granted ? to : begin;
      if (end < from || begin > to) continue;
      for (const uuid of lease.gpus.length ? lease.gpus : [""]) {
        const row = rows.get(uuid) ?? el("div", "lane");
        if (!rows.has(uuid)) row.append(el("span", "quiet", uuid ? this.where([uuid]) : "queue"));
        rows.set(uuid, row);
        const track = el("span", lease.granted ? "lease" : "waiting", name(lease.label ?? lease.id.slice(0, 8), 24));
        const shown = lease.granted ? at(lease.granted) : begin;
        track.style.left = `calc(5rem + (100% - 5rem) * ${parseFloat(place(shown)) / 100})`;
        track.style.width = `max(3px, calc((100% - 5rem) * ${(parseFloat(place(end)) - parseFloat(place(shown))) / 100}))`;
        track.title = `${name(lease.label ?? lease.id)}: ${gib(lease.size_bytes)}, ${clock(shown)} – ${lease.ended ? clock(end) : "now"}`;
        row.append(track);
      }
    }
    const lanes = [...rows.keys()].sort().map((key) => rows.get(key));
    box.hidden = !lanes.length;
    box.replaceChildren(...lanes);
  }
}

/** Σ sizes of leases on a GPU at a time. */
export function promisedAt(leases, uuid, t) {
  let sum = 0;
  for (const lease of leases) {
    if (known(lease.granted) && lease.gpus.includes(uuid) && Date.parse(lease.granted) / 1000 <= t &&
      (!lease.ended || Date.parse(lease.ended) / 1000 > t)) sum += lease.size_bytes;
  }
  return sum;
}
