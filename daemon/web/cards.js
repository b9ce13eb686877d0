// SPDX-License-Identifier: MIT
// A card for each GPU, and one for all of them: how much, of whom.
import { MIB, el, gib, known, name, percent, setText } from "./format.js";
import { processColor, processKey } from "./color.js";
import { gpuName, unattributed } from "./state.js";

const STATES = { ok: "active", asleep: "asleep", lost: "lost", denied: "denied", hung: "hung" };

/** What is promised: to leases, and by ceilings to programs that never ask. */
function pushPromised(list, promised, ceilings) {
  const kept = Math.min(ceilings, promised);
  if (promised > kept) list.push({ key: "leased", label: "leased, not filled yet", bytes: promised - kept, className: "leased" });
  if (kept) list.push({ key: "kept", label: "kept by ceilings", bytes: kept, className: "leased" });
}

/** The pieces of a bar: {key, label, bytes, className, color}. */
function pieces(one) {
  const { gpu, processes } = one, list = [];
  const largest = [...(processes ?? [])].filter((p) => p.used_bytes > 0).sort((a, b) => b.used_bytes - a.used_bytes);
  for (const p of largest) {
    list.push({ key: processKey(p), label: `${name(p.name, 40)} (${p.pid})`, bytes: p.used_bytes, color: processColor(p) });
  }
  const rest = unattributed(gpu, processes);
  if (rest >= MIB) list.push({ key: "unattributed", label: "unattributed", bytes: rest, className: "hatched" });
  if (!known(rest) && known(gpu.used_bytes)) {
    const told = largest.reduce((sum, p) => sum + p.used_bytes, 0);
    if (gpu.used_bytes > told) list.push({ key: "unknown", label: "of nobody that is known", bytes: gpu.used_bytes - told, className: "hatched" });
  }
  if (gpu.driver_reserved_bytes) list.push({ key: "driver", label: "driver", bytes: gpu.driver_reserved_bytes, className: "driver" });
  const promised = Math.min(gpu.outstanding_bytes ?? 0, gpu.free_bytes ?? 0);
  pushPromised(list, promised, gpu.ceiling_bytes ?? 0);
  if (gpu.free_bytes > promised) list.push({ key: "free", label: "free", bytes: gpu.free_bytes - promised, className: "free" });
  return list;
}

function drawBar(bar, list, total) {
  const old = new Map([...bar.children].map((child) => [child.dataset.key, child]));
  list.forEach((piece, i) => {
    const part = old.get(piece.key) ?? el("span");
    old.delete(piece.key);
    part.dataset.key = piece.key;
    part.className = piece.className ?? "process";
    part.style.flexGrow = String(piece.bytes / total);
    part.style.backgroundColor = piece.color ?? "";
    part.title = `${piece.label}: ${gib(piece.bytes)}`;
    if (bar.children[i] !== part) bar.insertBefore(part, bar.children[i] ?? null);
  });
  for (const part of old.values()) part.remove();
  bar.setAttribute("aria-label", list.map((piece) => `${piece.label} ${gib(piece.bytes)}`).join(", "));
}

function drawLegend(legend, list) {
  const shown = list.filter((piece) => piece.key !== "free").slice(0, 5);
  while (legend.children.length > shown.length) legend.lastChild.remove();
  shown.forEach((piece, i) => {
    let row = legend.children[i];
    if (!row) {
      row = el("li");
      row.append(el("i"), el("span"), el("b"));
      legend.append(row);
    }
    row.children[0].className = piece.className ?? "process";
    row.children[0].style.backgroundColor = piece.color ?? "";
    setText(row.children[1], piece.label);
    setText(row.children[2], gib(piece.bytes));
  });
}

function makeCard() {
  const card = el("article", "card");
  const parts = { head: el("header"), title: el("h2"), model: el("span", "quiet model"), state: el("span", "state"), figure: el("p", "figure"),
    bar: el("div", "bar"), legend: el("ul", "legend"), facts: el("p", "facts") };
  parts.bar.setAttribute("role", "img");
  parts.head.append(parts.title, parts.model, parts.state);
  card.append(parts.head, parts.figure, parts.bar, parts.legend, parts.facts);
  for (const tag of ["big", "quiet"]) parts.figure.append(el("span", tag));
  return Object.assign(card, { parts });
}

function drawFigure(parts, used, total, left) {
  setText(parts.figure.children[0], known(used) ? gib(used).replace(" GiB", "") : "–");
  setText(parts.figure.children[1], ` / ${gib(total)} · ${percent(used, total)}${left}`);
}

function drawCard(card, one) {
  const { gpu } = one, { parts } = card, list = pieces(one);
  setText(parts.title, gpuName(gpu));
  setText(parts.model, name(gpu.name, 40));
  parts.model.title = `${name(gpu.name)} · ${gpu.uuid} · ${gpu.pci ?? ""}`;
  setText(parts.state, STATES[gpu.state] ?? gpu.state);
  parts.state.className = `state ${gpu.state}`;
  drawFigure(parts, gpu.used_bytes, gpu.total_bytes, known(gpu.used_bytes) ? "" : " · not known");
  drawBar(parts.bar, list, gpu.total_bytes ?? list.reduce((sum, piece) => sum + piece.bytes, 0));
  drawLegend(parts.legend, list);
  const facts = [`${gib(gpu.free_bytes)} free`, `${gib(gpu.headroom_bytes)} headroom`];
  if (known(gpu.temperature_c)) facts.push(`${gpu.temperature_c} °C`);
  if (known(gpu.utilization_percent)) facts.push(`${gpu.utilization_percent} % busy`);
  if (gpu.drained) facts.push("drained: no new lease");
  if (!one.processes) facts.push("processes not visible");
  if (gpu.age_ms > 2500) facts.push(`figures ${Math.round(gpu.age_ms / 1000)} s old`);
  setText(parts.facts, facts.join(" · "));
}

function drawSum(card, state) {
  const { parts } = card, used = state.sum("used_bytes"), total = state.sum("total_bytes"), free = state.sum("free_bytes");
  setText(parts.title, "All GPUs");
  setText(parts.model, `${state.gpus.size} together`);
  const left = used.unknown ? ` · ${used.unknown} not known, not in it` : "";
  drawFigure(parts, used.bytes, total.bytes, left);
  const list = [{ key: "used", label: "used", bytes: used.bytes, className: "sum" }];
  const reserved = state.sum("driver_reserved_bytes").bytes, promised = Math.min(state.sum("outstanding_bytes").bytes, free.bytes);
  if (reserved) list.push({ key: "driver", label: "driver", bytes: reserved, className: "driver" });
  pushPromised(list, promised, state.sum("ceiling_bytes").bytes);
  list.push({ key: "free", label: "free", bytes: free.bytes - promised, className: "free" });
  drawBar(parts.bar, list, total.bytes || 1);
  drawLegend(parts.legend, list);
  const largest = Math.max(...state.gpuList().map(({ gpu }) => gpu.headroom_bytes ?? -Infinity));
  setText(parts.facts, `${gib(free.bytes)} free · largest headroom on one ${Number.isFinite(largest) ? gib(largest) : "–"}`);
}

export function drawCards(section, state, onlyGpu) {
  const wanted = state.gpus.size > 1 ? [["sum", null]] : [];
  for (const [uuid, one] of state.gpus) if (!onlyGpu || onlyGpu === uuid) wanted.push([uuid, one]);
  const old = new Map([...section.children].map((card) => [card.dataset.key, card]));
  wanted.forEach(([key, one], i) => {
    const card = old.get(key) ?? makeCard();
    old.delete(key);
    card.dataset.key = key;
    if (one) drawCard(card, one);
    else drawSum(card, state);
    if (section.children[i] !== card) section.insertBefore(card, section.children[i] ?? null);
  });
  for (const card of old.values()) card.remove();
}
