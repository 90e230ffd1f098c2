// Words and numbers: names are only ever put into the page as text.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const digits = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });

/** A number as people read it: whole from 1,000 on one decimal, below that four digits. */
function said(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return whole.format(value);
  return Math.abs(value) >= 1000 ? tenths.format(value) : digits.format(value);
}

const plural = (count, noun) => `${said(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Make an element; children are elements or text. */
function make(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(found.style, value);
    else found.setAttribute(name, value === true ? "" : value);
  }
  found.append(...children.filter((child) => child !== null && child !== undefined));
  return found;
}

/** Take a name out of the syntax of ECharts' labels, which knows braces. */
const plain = (name) => String(name).replaceAll("{", "❴").replaceAll("}", "❵");

const cut = (name, most) => (name.length <= most ? name : `${name.slice(0, most - 1)}…`);

/** Names of the axes of a shape: channel, row and column where there are three. */
function axisNames(shape) {
  if (shape.length === 3) return ["channel", "row", "column"];
  if (shape.length === 1) return ["feature"];
  return shape.map((_, axis) => `index ${axis}`);
}

function unravel(number, shape) {
  const found = new Array(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    found[axis] = number % shape[axis];
    number = Math.floor(number / shape[axis]);
  }
  return found;
}

const ravel = (index, shape) => index.reduce((number, at, axis) => number * shape[axis] + at, 0);

/** An element in words: channel 3, row 5, column 7, level 2. */
function elementSaid(population, element, withLevel = true) {
  const entry = data.populations[population];
  const index = unravel(Math.floor(element / entry.per_feature), entry.shape);
  const names = axisNames(entry.shape);
  const parts = index.map((at, axis) => `${names[axis]} ${at}`);
  if (withLevel && entry.per_feature > 1) parts.push(`level ${(element % entry.per_feature) + 1} of ${entry.levels}`);
  return parts.join(", ");
}

const coreSaid = (core) => `core ${core} at (${state.cores.x[core]}, ${state.cores.y[core]})`;
const layerOf = (core) => data.populations[state.cores.layer[core] + 1];

// Colours: Okabe and Ito's for layers, viridis for amounts, blue to orange for signs; all told apart by colour-blind eyes.
const LAYER_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a900", "#7f7f7f"];
const LIGHTER = [0, 0.35, -0.3];
const RAMP = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];

function channelsOf(colour) { return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)); }
function mix(from, to, share) {
  const [a, b] = [channelsOf(from), channelsOf(to)];
  return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * share)).join(",")})`;
}

/** Colour of a layer: eight hues, then the same lighter, then darker. */
function layerColour(layer) {
  const base = LAYER_COLOURS[layer % LAYER_COLOURS.length];
  const shift = LIGHTER[Math.floor(layer / LAYER_COLOURS.length) % LIGHTER.length];
  return shift < 0 ? mix(base, "#000000", -shift) : mix(base, "#ffffff", shift);
}

/** Colour of an amount between 0 and 1. */
const STEPS = Array.from({ length: 65 }, (_, step) => {
  const at = (step / 64) * (RAMP.length - 1), low = Math.min(Math.floor(at), RAMP.length - 2);
  return mix(RAMP[low], RAMP[low + 1], at - low);
});
const rampColour = (share) => STEPS[Math.round(64 * Math.max(0, Math.min(1, share || 0)))];

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = () => document.documentElement.dataset.theme === "dark";
