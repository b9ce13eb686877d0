// SPDX-License-Identifier: MIT
// What is known: the last figures of each GPU, what was seen live, leases, events. No element of the page is in here.
import { known } from "./format.js";
import { processKey } from "./color.js";

const KEEP_S = 3700;
const GAP_S = 5; // without figures for so long: a gap

export class State {
  constructor() {
    this.snapshot = null;
    this.gpus = new Map(); // by UUID: {key, gpu, processes: null or a list, live: points}
    this.leases = [];
    this.waiters = [];
    this.ceilings = [];
    this.events = [];
    this.daemon = null;
    this.trouble = null; // {code, message, hint}
    this.receivedAt = 0; // ms of this browser's clock
    this.seen = new Map(); // by key: {first, peak, changedAt, value, early: it was there first}
    this.lag = 0;
  }

  /** Figures with lists, or without: then the lists are the last ones. */
  figures(snapshot, listed) {
    const t = Date.parse(snapshot.taken_at) / 1000;
    const gone = new Set(this.gpus.keys());
    for (const gpu of snapshot.gpus) {
      const key = gpu.uuid ?? `index ${gpu.index}`; // who is denied does not tell its UUID
      gone.delete(key);
      const one = this.gpus.get(key) ?? { key, live: [], processes: null };
      this.gpus.set(key, one);
      if (listed || gpu.processes) one.processes = gpu.processes;
      one.gpu = gpu;
      one.margin = known(gpu.headroom_bytes) && known(gpu.free_bytes) ? gpu.free_bytes - (gpu.outstanding_bytes ?? 0) - gpu.headroom_bytes : 0;
      this.see(one, t);
      if (gpu.state === "ok" && gpu.age_ms < 5000) this.point(one, t);
    }
    for (const uuid of gone) this.gpus.delete(uuid);
    this.snapshot = snapshot;
    this.daemon = snapshot.daemon;
    this.receivedAt = Date.now();
    this.trouble = null;
  }

  see(one, t) {
    for (const process of one.processes ?? []) {
      const key = `${one.key} ${processKey(process)}`, value = process.used_bytes;
      const seen = this.seen.get(key) ?? { first: t, peak: value, value, changedAt: t, early: !this.snapshot, trail: [] };
      if (known(value)) {
        if (!known(seen.peak) || value > seen.peak) seen.peak = value;
        if (Math.abs(value - (seen.value ?? 0)) >= 2 ** 24) Object.assign(seen, { value, changedAt: t });
        seen.trail.push([t, value]);
        while (seen.trail[0][0] < t - 600) seen.trail.shift();
      }
      seen.at = t;
      this.seen.set(key, seen);
    }
    for (const [key, seen] of this.seen) if (seen.at < t - 3600) this.seen.delete(key);
  }

  point(one, t) {
    const live = one.live, last = live.at(-1);
    if (last && t <= last.t) return;
    if (last && t - last.t > GAP_S) live.push({ t: last.t + 1, used: null });
    live.push({ t, used: one.gpu.used_bytes, free: one.gpu.free_bytes, outstanding: one.gpu.outstanding_bytes,
      processes: new Map((one.processes ?? []).map((p) => [processKey(p), p])) });
    while (live[0].t < t - KEEP_S) live.shift();
  }

  /** What is added up of GPUs that tell: {bytes, unknown: how many do not}. */
  sum(field) {
    const sum = { bytes: 0, unknown: 0 };
    for (const { gpu } of this.gpus.values()) {
      if (known(gpu[field])) sum.bytes += gpu[field];
      else sum.unknown++;
    }
    return sum;
  }

  happened(event) {
    this.events.unshift(event);
    this.events.length = Math.min(this.events.length, 300);
  }

  growthPerHour(seen) {
    const [first, last] = [seen.trail[0], seen.trail.at(-1)];
    return first && last[0] - first[0] >= 20 ? ((last[1] - first[1]) / (last[0] - first[0])) * 3600 : null;
  }

  gpuList() {
    return [...this.gpus.values()];
  }
}

/** used − Σ of what is known, where both are: of figures that came without lists. */
export function unattributed(gpu, processes) {
  if (known(gpu.unattributed_bytes)) return gpu.unattributed_bytes;
  if (!known(gpu.used_bytes) || !processes) return null;
  if (processes.some((p) => !known(p.used_bytes))) return null;
  const reserved = gpu.used_includes_reserved ? (gpu.driver_reserved_bytes ?? 0) : 0;
  return Math.max(0, gpu.used_bytes - reserved - processes.reduce((sum, p) => sum + p.used_bytes, 0));
}

export const gpuName = (gpu) => (known(gpu.mig_index) ? `GPU ${gpu.index}:${gpu.mig_index}` : `GPU ${gpu.index}`);
