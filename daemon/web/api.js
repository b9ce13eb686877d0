// SPDX-License-Identifier: MIT
// The daemon: questions, and the stream, which comes back by itself. The token, where one is needed, comes in the
// address behind the #, which no server is told, and stays in this tab.

const KEY = "vram-token";
const SILENT_MS = 40000; // two heartbeats and some

export function takeToken() {
  const found = /[#&]t=([^&]+)/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEY, decodeURIComponent(found[1]));
    history.replaceState(null, "", location.pathname + location.search);
  }
}

export const setToken = (token) => sessionStorage.setItem(KEY, token);

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The object that a path answers. Throws an Error with `status`, and `code` and `hint` where it has one. */
export async function get(path) {
  const response = await fetch(path, { headers: headers() });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw failure(response.status, body);
  return body;
}

function failure(status, body) {
  const error = new Error(body.error?.message ?? `status ${status}`);
  return Object.assign(error, { status, code: body.error?.code, hint: body.error?.hint });
}

/** Hands on each event of server-sent text as (kind, object). */
async function read(body, each, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const kind = /^event: (.*)$/m.exec(block), data = /^data: (.*)$/m.exec(block);
      if (kind && data) each(kind[1], JSON.parse(data[1]));
    }
  }
}

/**
 * Reads the stream for ever. `each` is called for every event, `state` with "live", or "down" and the error, and when it
 * is tried again. Nothing is read while the page is hidden for long.
 */
export class Stream {
  constructor(each, state) {
    Object.assign(this, { each, state, wait: 500, abort: null, timer: 0, hidden: false });
    document.addEventListener("visibilitychange", () => this.look());
    addEventListener("pagehide", () => this.leave()); // it may be kept, and come back
    addEventListener("pageshow", (event) => event.persisted && this.look());
  }

  look() {
    clearTimeout(this.hideTimer);
    if (document.hidden) {
      this.hideTimer = setTimeout(() => this.leave(), 30000);
    } else if (this.hidden) {
      this.hidden = false;
      this.open();
    }
  }

  leave() {
    this.hidden = true;
    clearTimeout(this.timer);
    this.abort?.abort();
  }

  alive(abort) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => abort.abort(), SILENT_MS);
  }

  async open() {
    clearTimeout(this.timer);
    const abort = this.abort = new AbortController();
    let error = null;
    try {
      this.alive(abort);
      const response = await fetch("v1/stream", { headers: headers(), signal: abort.signal });
      if (!response.ok) throw failure(response.status, await response.json().catch(() => ({})));
      this.wait = 500;
      this.state("live");
      await read(response.body, this.each, () => this.alive(abort));
    } catch (caught) {
      error = caught;
    }
    clearTimeout(this.silence);
    if (this.hidden) return;
    const wait = this.wait * (0.75 + Math.random() / 2);
    this.wait = Math.min(this.wait * 2, 15000);
    this.state("down", error, Date.now() + wait);
    if (error?.status !== 401) this.timer = setTimeout(() => this.open(), wait);
  }

  now() {
    this.wait = 500;
    this.open();
  }
}
