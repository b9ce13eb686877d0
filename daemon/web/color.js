// SPDX-License-Identifier: MIT
// The same colour for the same process everywhere: Okabe and Ito's, told apart by nearly everybody, each in two tones. What is
// too pale on white is darker there.

const DARK = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#4c9fe0"];
const LIGHT = ["#2a86bf", "#a87200", "#009e73", "#c0659a", "#857c00", "#d55e00", "#0072b2"];

export const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

export const processKey = (process) => `${process.pid}:${process.start_time ?? ""}`;

export function processColor(process) {
  let hash = 2166136261;
  for (const c of `${process.name}\0${process.pid}`) hash = Math.imul(hash ^ c.codePointAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 16), 2246822507);
  hash ^= hash >>> 13;
  const dark = isDark(), colors = dark ? DARK : LIGHT, color = colors[(hash >>> 0) % colors.length];
  return hash & 0x10000 ? mix(color, ...(dark ? [255, 0.35] : [0, 0.2])) : color;
}

/** A part of the way to white or black. */
function mix(color, to, share) {
  const part = (at) => Math.round(parseInt(color.slice(at, at + 2), 16) * (1 - share) + to * share).toString(16).padStart(2, "0");
  return `#${part(1)}${part(3)}${part(5)}`;
}

export const css = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
