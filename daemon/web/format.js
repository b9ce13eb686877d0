// SPDX-License-Identifier: MIT
// How amounts, times and names are written. What is not known is "–", never 0.

export const GIB = 2 ** 30, MIB = 2 ** 20;
const UNITS = { "": MIB, B: 1, K: 2 ** 10, M: MIB, G: GIB, T: 2 ** 40 };

export const known = (value) => value !== null && value !== undefined;

export function gib(bytes, digits = 1) {
  if (!known(bytes)) return "–";
  if (Math.abs(bytes) < GIB / 10 && bytes !== 0) return `${Math.round(bytes / MIB)} MiB`;
  return `${(bytes / GIB).toFixed(digits)} GiB`;
}

export const percent = (part, whole) => (known(part) && whole ? `${Math.round((part / whole) * 100)} %` : "–");

/** A size as the command reads it, or a sum of them; NaN: it is none. */
export function parseSize(text) {
  let sum = 0;
  for (const part of text.split("+")) {
    const found = /^\s*(\d+(?:\.\d+)?)\s*([KMGTB]?)(?:i?B)?\s*$/i.exec(part);
    if (!found) return NaN;
    sum += Math.ceil(Number(found[1]) * UNITS[found[2].toUpperCase()]);
  }
  return sum > 0 ? sum : NaN;
}

export function span(seconds) {
  if (!known(seconds) || !Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const two = (n) => String(n).padStart(2, "0");

export function clock(seconds, withDay = false) {
  const d = new Date(seconds * 1000);
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return withDay ? `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${time}` : time;
}

/** A name that somebody else chose: on one line, without what steers or turns it, and not endless. */
export function name(text, longest = 80) {
  if (!known(text)) return "–";
  const clean = String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "·");
  return clean.length > longest ? `${clean.slice(0, longest - 1)}…` : clean;
}

/** An element with a class and a text: the only way in which text comes onto the page. */
export function el(tag, className = "", text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
