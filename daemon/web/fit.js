// SPDX-License-Identifier: MIT
// "Can it fit?": the daemon's answer, and what stands against it.
import { el, gib, known, name, parseSize, span } from "./format.js";
import { get } from "./api.js";
import { gpuName } from "./state.js";

const WORDS = { fits: ["✓ fits now", "good"], not_now: ["✗ not now", "bad"], never: ["✗ never", "bad"], unknown: ["? not known", "warn"] };

/** The largest processes that would make room together. */
function whoWouldLeave(one, missing) {
  const list = [...(one.processes ?? [])].filter((p) => p.used_bytes > 0).sort((a, b) => b.used_bytes - a.used_bytes);
  const leaving = [];
  let freed = 0;
  while (freed < missing && list.length) {
    const fitting = list.filter((p) => p.used_bytes >= missing - freed).at(-1) ?? list[0];
    leaving.push(fitting);
    list.splice(list.indexOf(fitting), 1);
    freed += fitting.used_bytes;
  }
  return freed >= missing ? leaving : [];
}

function explain(state, line) {
  const one = state.gpus.get(line.uuid), item = el("li");
  const [word, kind] = WORDS[line.answer] ?? [line.answer, "warn"];
  item.append(el("b", "", one ? gpuName(one.gpu) : line.uuid), " ", el("span", kind, word));
  item.append(el("div", "quiet", `${gib(line.free_bytes, 2)} free − ${gib(line.outstanding_bytes, 2)} promised − ${gib(line.margin_bytes, 2)} margin = ` +
    `${gib(line.headroom_bytes, 2)} headroom${line.shortfall_bytes ? `, ${gib(line.shortfall_bytes, 2)} short` : ""}`));
  if (line.answer !== "not_now" || !one) return item;
  const now = Date.now() / 1000;
  for (const lease of state.leases.filter((l) => l.gpus.includes(line.uuid) && l.outstanding_bytes > 0)) {
    item.append(el("div", "quiet", `against it: lease ${name(lease.label ?? lease.id, 30)} of ${name(lease.user, 20)}, ` +
      `${gib(lease.outstanding_bytes)} not filled, for ${span(now - Date.parse(lease.since) / 1000)}`));
  }
  if (one.gpu.ceiling_bytes) item.append(el("div", "quiet", `against it: ${gib(one.gpu.ceiling_bytes)} kept by ceilings, for programs that never ask`));
  const leaving = known(line.shortfall_bytes) ? whoWouldLeave(one, line.shortfall_bytes) : [];
  if (leaving.length) {
    item.append(el("div", "quiet", `would fit without ${leaving.map((p) => `${name(p.name, 30)} (${p.pid}) ${gib(p.used_bytes)}`).join(" and ")}`));
  }
  return item;
}

export class Fit {
  constructor(state) {
    this.state = state;
    this.box = document.getElementById("fit-answer");
    this.size = document.getElementById("fit-size");
    this.gpus = document.getElementById("fit-gpus");
    this.asked = 0;
    this.shown = "";
    document.getElementById("fit-form").addEventListener("submit", (event) => { event.preventDefault(); this.ask(true); });
    this.gpus.addEventListener("change", () => this.ask(true));
    this.box.append(el("p", "quiet", "What is still to be allocated, on each GPU. Nothing is kept for you: vram run does that."));
  }

  draw() {
    const count = this.state.gpus.size;
    if (this.gpus.options.length !== count) {
      this.gpus.replaceChildren(...Array.from({ length: count }, (_, i) => new Option(i ? `each of ${i + 1} GPUs` : "one GPU", i + 1)));
    }
    if (this.size.value && performance.now() - this.asked > 2000) this.ask(false);
  }

  async ask(said) {
    const bytes = parseSize(this.size.value);
    this.asked = performance.now();
    if (Number.isNaN(bytes)) {
      if (said) this.show([el("p", "bad", "A size is such as 24G, 800M, or a sum such as 18G + 6G.")], "wrong");
      return;
    }
    try {
      const answer = (await get(`v1/fit?size=${bytes}B&gpus=${this.gpus.value || 1}`)).answers[0];
      this.show(this.parts(answer), JSON.stringify(answer.gpus.map((g) => [g.answer, g.headroom_bytes])) + answer.answer + bytes);
    } catch (error) {
      this.show([el("p", "bad", error.message)], error.message);
    }
  }

  parts(answer) {
    const [word, kind] = WORDS[answer.answer] ?? [answer.answer, "warn"];
    const head = el("p", `verdict ${kind}`, `${word}: ${gib(answer.size_bytes, 2)}${answer.gpu_count > 1 ? ` on each of ${answer.gpu_count}` : ""}`);
    const waits = answer.waiters ? [el("p", "quiet", `${answer.waiters === 1 ? "One waits" : `${answer.waiters} wait`} for room already; who asks now comes next.`)] : [];
    const list = el("ul", "answers");
    const rank = (line) => ["fits", "not_now", "unknown", "never"].indexOf(line.answer);
    list.append(...[...answer.gpus].sort((a, b) => rank(a) - rank(b)).map((line) => explain(this.state, line)));
    return [head, ...waits, list];
  }

  show(parts, key) {
    if (key !== this.shown) this.box.replaceChildren(...parts);
    this.shown = key;
  }
}
