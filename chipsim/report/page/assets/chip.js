// The picture of the chip: a canvas of our own, as a chart library takes over 100 ms to draw 10,000 cores anew at each step of a zoom.

const MARGIN = 26; // around the grid, pixels; the ports' triangles stand there
const LARGEST = 150; // of a core, pixels

/** What cores can be coloured by: `values` is one number a core, `most` the end of the scale. */
function metrics() {
  const { cores, counts, packets, energy } = state;
  const images = data.run ? data.run.images : 1;
  const found = [{ key: "layer", label: "layer" }];
  const add = (key, label, unit, values, most) => found.push({ key, label, unit, values, most: most ?? Math.max(0, ...chunkMost(values)) });
  if (counts) {
    add("sops", "SOPs (synaptic operations)", "SOPs per image", counts.sops.map((v) => v / images));
    add("spikes", "spikes sent", "spikes per image", counts.spikes.map((v) => v / images));
    add("axon_events", "axon events (packets received)", "axon events per image", counts.axon_events.map((v) => v / images));
  }
  if (packets) add("packets", "packets sent", "packets per image", packets);
  if (energy) add("energy", "energy", "pJ per image", energy);
  for (const use of data.uses) {
    const limit = cores[use.limit];
    add(use.key, `${use.label} used`, `% of the core's ${use.label}`, Float64Array.from(cores[use.key], (v, i) => (100 * v) / limit[i]), 100);
  }
  add("neurons", "neurons", "neurons", cores.neurons);
  if (cores.synapses) add("synapses", "synapses", "synapses", cores.synapses);
  return found;
}

/** The largest values of parts of an array: spreading a long array into arguments fails. */
function chunkMost(values) {
  const found = [0];
  for (let i = 0; i < values.length; i++) if (values[i] > found[0]) found[0] = values[i];
  return found;
}

class ChipPicture {
  constructor(canvas, tip, spoken) {
    Object.assign(this, { canvas, tip, spoken, scale: 1, left: 0, top: 0, waiting: false, drawn: 0 });
    [this.columns, this.rows] = data.chip.grid;
    this.at = new Int32Array(this.columns * this.rows).fill(-1);
    const { x, y } = state.cores;
    for (let core = 0; core < x.length; core++) this.at[y[core] * this.columns + x[core]] = core;
    this.dead = new Set(data.chip.dead_cores.map(([dx, dy]) => dy * this.columns + dx));
    this.activeTicks();
    this.listen();
    new ResizeObserver(() => this.fit()).observe(canvas);
    this.recolour();
  }

  /** Which layers are at work in which tick of a timed run. */
  activeTicks() {
    const number = new Map(data.populations.map((entry, i) => [entry.name, i - 1]));
    this.active = state.timing ? state.timing.ticks.map((tick) => new Set(tick.layers.map((name) => number.get(name)))) : [];
  }

  recolour() {
    const { layer } = state.cores;
    const metric = metrics().find((entry) => entry.key === state.metric) ?? { key: "layer" };
    this.metric = metric;
    this.colours = Array.from(layer, (of, core) => (
      metric.key === "layer" ? layerColour(of) : rampColour(metric.most ? metric.values[core] / metric.most : 0)
    ));
    this.request();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.scale = Math.min((width - 2 * MARGIN) / this.columns, (height - 2 * MARGIN) / this.rows, LARGEST);
    this.smallest = this.scale;
    this.left = (width - this.scale * this.columns) / 2;
    this.top = (height - this.scale * this.rows) / 2;
    this.request();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.max(this.smallest, Math.min(LARGEST, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    if (scale === this.smallest) this.fit();
    this.request();
  }

  request() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  /** Bring a core into view. */
  show(core) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [x, y] = this.middle(state.cores.x[core], state.cores.y[core]);
    if (x < MARGIN || x > width - MARGIN) this.left += width / 2 - x;
    if (y < MARGIN || y > height - MARGIN) this.top += height / 2 - y;
    this.request();
  }

  middle(x, y) { return [this.left + (x + 0.5) * this.scale, this.top + (y + 0.5) * this.scale]; }

  coreAt(px, py) {
    const x = Math.floor((px - this.left) / this.scale), y = Math.floor((py - this.top) / this.scale);
    const inside = x >= 0 && y >= 0 && x < this.columns && y < this.rows;
    return { x, y, inside, core: inside ? this.at[y * this.columns + x] : -1 };
  }

  draw() {
    const { canvas } = this, ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = this.pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.drawGrid(pen);
    this.drawCores(pen, width, height);
    this.drawDead(pen);
    this.drawPorts(pen);
    Object.assign(canvas.dataset, { drawn: this.drawn, left: this.left, top: this.top, scale: this.scale }); // for tests
    if (state.links && state.linkLoads) this.drawLinks(pen);
    if (state.core !== null) this.drawSelected(pen);
  }

  drawGrid(pen) {
    pen.fillStyle = css("--unused");
    pen.fillRect(this.left, this.top, this.scale * this.columns, this.scale * this.rows);
    if (this.scale < 5) return;
    pen.strokeStyle = css("--cell-line");
    pen.lineWidth = 1;
    pen.beginPath();
    for (let x = 0; x <= this.columns; x++) {
      pen.moveTo(this.left + x * this.scale, this.top);
      pen.lineTo(this.left + x * this.scale, this.top + this.rows * this.scale);
    }
    for (let y = 0; y <= this.rows; y++) {
      pen.moveTo(this.left, this.top + y * this.scale);
      pen.lineTo(this.left + this.columns * this.scale, this.top + y * this.scale);
    }
    pen.stroke();
  }

  drawCores(pen, width, height) {
    const { x, y, layer } = state.cores, { scale } = this;
    const gap = scale > 8 ? 1 : scale > 4 ? 0.5 : 0;
    const at = state.tick >= 0 ? this.active[state.tick] : null;
    const chosen = state.population === null ? null : state.population - 1;
    this.drawn = 0;
    for (let core = 0; core < x.length; core++) {
      const px = this.left + x[core] * scale, py = this.top + y[core] * scale;
      if (px > width || py > height || px + scale < 0 || py + scale < 0) continue;
      const quiet = (at && !at.has(layer[core])) || (!at && chosen !== null && chosen >= 0 && layer[core] !== chosen);
      pen.globalAlpha = quiet ? 0.22 : 1;
      pen.fillStyle = this.colours[core];
      pen.fillRect(px + gap, py + gap, scale - 2 * gap, scale - 2 * gap);
      this.drawn += 1;
      if (scale >= 30) this.label(pen, core, px, py);
    }
    pen.globalAlpha = 1;
  }

  label(pen, core, px, py) {
    const tall = Math.min(13, this.scale / 2.6);
    pen.font = `${tall}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 3;
    const lines = [String(core)];
    if (this.scale >= 64 && this.metric.values) lines.push(said(this.metric.values[core]));
    lines.forEach((line, row) => {
      const y = py + this.scale / 2 + (row - (lines.length - 1) / 2) * (tall + 3);
      pen.strokeStyle = "rgba(0,0,0,0.65)";
      pen.strokeText(line, px + this.scale / 2, y);
      pen.fillStyle = "#ffffff";
      pen.fillText(line, px + this.scale / 2, y);
    });
  }

  drawDead(pen) {
    pen.strokeStyle = css("--dead");
    pen.lineWidth = Math.max(1, this.scale / 9);
    pen.beginPath();
    for (const [x, y] of data.chip.dead_cores) {
      const [mx, my] = this.middle(x, y), half = 0.3 * this.scale;
      pen.moveTo(mx - half, my - half); pen.lineTo(mx + half, my + half);
      pen.moveTo(mx + half, my - half); pen.lineTo(mx - half, my + half);
    }
    for (const [[ax, ay], [bx, by]] of data.chip.dead_links) {
      const [mx, my] = this.middle((ax + bx) / 2, (ay + by) / 2), half = 0.18 * this.scale;
      pen.moveTo(mx - half, my - half); pen.lineTo(mx + half, my + half);
      pen.moveTo(mx + half, my - half); pen.lineTo(mx - half, my + half);
    }
    pen.stroke();
  }

  drawPorts(pen) {
    pen.fillStyle = css("--text");
    for (const port of data.chip.ports) {
      const [x, y] = this.portAt(port), half = Math.max(5, Math.min(9, this.scale / 2));
      pen.beginPath();
      pen.moveTo(x - half, y - half); pen.lineTo(x + half, y); pen.lineTo(x - half, y + half);
      pen.fill();
    }
  }

  portAt([x, y]) { const [mx, my] = this.middle(x, y); return [mx - this.scale / 2 - 11, my]; }

  /** Each direction of a link has a line of its own, to the right of where its flits go; one path for links of about one load. */
  drawLinks(pen) {
    const { x, y, side, loads, most, order } = state.linkLoads, { clientWidth: width, clientHeight: height } = this.canvas;
    const [pale, strong] = dark() ? ["#5a4a3a", "#ffb347"] : ["#f3d9c4", "#a63603"];
    const shift = 0.13 * this.scale;
    let drawn = 0; // the step of the path that is begun
    for (const i of order) {
      const step = Math.ceil((LINK_STEPS * loads[i]) / most), [mx, my] = this.middle(x[i], y[i]);
      if (mx < -this.scale || my < -this.scale || mx > width + this.scale || my > height + this.scale) continue;
      if (step !== drawn) {
        if (drawn) pen.stroke();
        drawn = step;
        pen.strokeStyle = mix(pale, strong, Math.sqrt(step / LINK_STEPS));
        pen.lineWidth = Math.max(0.6, this.scale * (0.03 + (0.17 * step) / LINK_STEPS));
        pen.beginPath();
      }
      const [, dx, dy] = data.run.timing.sides[side[i]];
      pen.moveTo(mx - dy * shift, my + dx * shift);
      pen.lineTo(mx - dy * shift + dx * this.scale, my + dx * shift + dy * this.scale);
    }
    if (drawn) pen.stroke();
  }

  drawSelected(pen) {
    const { core, cores, traffic } = state;
    if (traffic && traffic.core === core) {
      for (const entry of traffic.targets.slice(0, TRAFFIC)) this.arrow(pen, core, entry, false, traffic);
      for (const entry of traffic.sources.slice(0, TRAFFIC)) this.arrow(pen, core, entry, true, traffic);
    }
    pen.strokeStyle = css("--panel");
    pen.lineWidth = 5;
    const box = [this.left + cores.x[core] * this.scale, this.top + cores.y[core] * this.scale, this.scale, this.scale];
    pen.strokeRect(...box);
    pen.strokeStyle = css("--selected");
    pen.lineWidth = 2.5;
    pen.strokeRect(...box);
  }

  /** Sources are solid lines, targets are dashed, so that they differ without colour. */
  arrow(pen, core, entry, inward, traffic) {
    const { cores } = state;
    const here = this.middle(cores.x[core], cores.y[core]);
    const there = entry.core < 0 ? this.portAt(data.chip.ports[0]) : this.middle(cores.x[entry.core], cores.y[entry.core]);
    const [[ax, ay], [bx, by]] = inward ? [there, here] : [here, there];
    const share = Math.sqrt(entry.weight / (inward ? traffic.mostSource : traffic.mostTarget) || 0);
    const far = Math.hypot(bx - ax, by - ay) || 1, [ux, uy] = [(bx - ax) / far, (by - ay) / far];
    const [cx, cy] = [(ax + bx) / 2 - uy * far * 0.12, (ay + by) / 2 + ux * far * 0.12];
    pen.strokeStyle = pen.fillStyle = css(inward ? "--source" : "--target");
    pen.lineWidth = 1 + 2.5 * share;
    pen.setLineDash(inward ? [] : [6, 4]);
    pen.beginPath();
    pen.moveTo(ax, ay);
    pen.quadraticCurveTo(cx, cy, bx, by);
    pen.stroke();
    pen.setLineDash([]);
    const turn = Math.atan2(by - cy, bx - cx), size = 6 + 3 * share;
    pen.beginPath();
    pen.moveTo(bx, by);
    pen.lineTo(bx - size * Math.cos(turn - 0.4), by - size * Math.sin(turn - 0.4));
    pen.lineTo(bx - size * Math.cos(turn + 0.4), by - size * Math.sin(turn + 0.4));
    pen.fill();
  }

  listen() {
    const { canvas } = this;
    let last = null, moved = false;
    const place = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { last = place(event); moved = false; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      const now = place(event);
      if (last && (moved || Math.hypot(now[0] - last[0], now[1] - last[1]) > 3)) {
        moved = true;
        this.left += now[0] - last[0];
        this.top += now[1] - last[1];
        last = now;
        this.request();
      }
      this.hover(...now);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!moved) this.click(...place(event));
      last = null;
    });
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  click(px, py) {
    const { core } = this.coreAt(px, py);
    if (core < 0) select({ core: null, population: null, element: null });
    else select({ core, population: state.cores.layer[core] + 1, element: null });
  }

  hover(px, py) {
    const { x, y, inside, core } = this.coreAt(px, py);
    this.tip.hidden = !inside;
    if (!inside) return;
    this.tip.textContent = this.describe(x, y, core);
    this.tip.style.left = `${Math.min(px + 14, this.canvas.clientWidth - 240)}px`;
    this.tip.style.top = `${py + 14}px`;
  }

  describe(x, y, core) {
    if (core < 0) return `(${x}, ${y}): ${this.dead.has(y * this.columns + x) ? "dead core" : "not used"}`;
    const lines = [`${coreSaid(core)}: ${layerOf(core).name}`];
    if (this.metric.values) lines.push(`${said(this.metric.values[core])} ${this.metric.unit}`);
    return lines.join("\n");
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in steps) this.step(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.4);
    else if (event.key === "-") this.zoom(1 / 1.4);
    else if (event.key === "0") this.fit();
    else if (event.key === "Escape") select({ core: null, population: null, element: null });
    else return;
    event.preventDefault();
  }

  /** Select the next core in a direction, over what is not used. */
  step(dx, dy) {
    if (!state.count) return;
    let core = state.core;
    if (core === null) {
      core = 0;
    } else {
      let [x, y] = [state.cores.x[core] + dx, state.cores.y[core] + dy];
      while (x >= 0 && y >= 0 && x < this.columns && y < this.rows && this.at[y * this.columns + x] < 0) { x += dx; y += dy; }
      if (x < 0 || y < 0 || x >= this.columns || y >= this.rows) return;
      core = this.at[y * this.columns + x];
    }
    select({ core, population: state.cores.layer[core] + 1, element: null });
    this.show(core);
  }
}
const TRAFFIC = 10; // sources and targets that are drawn
const LINK_STEPS = 32; // widths and colours of links

/** Flits per image on each link in a tick, or in all; null without timing. */
function linkLoads(tick) {
  if (!state.linkColumns) return null;
  const { x, y, side, after, ingress, ticks } = state.linkColumns;
  if (tick >= 0 && !ticks.length) return null;
  const loads = tick < 0 ? after.map((value, i) => value + ingress[i]) : ticks[tick];
  const order = [...loads.keys()].filter((i) => loads[i] > 0).sort((a, b) => loads[a] - loads[b]);
  return { x, y, side, loads, order, most: chunkMost(loads)[0] };
}

/** The controls beside the chip: colours, links, ticks, and what the signs mean. */
function startChip() {
  const canvas = document.getElementById("chip");
  const picture = new ChipPicture(canvas, document.getElementById("chip-tip"), document.getElementById("chip-said"));
  const chooser = document.getElementById("metric");
  chooser.append(...metrics().map((metric) => make("option", { value: metric.key }, metric.label)));
  chooser.addEventListener("change", () => select({ metric: chooser.value }));
  startLinks();
  const marks = [["▶", "port of the host"]];
  if (data.chip.dead_cores.length) marks.push(["✕", `${plural(data.chip.dead_cores.length, "dead core")}`]);
  if (data.chip.dead_links.length) marks.push(["✕", `${plural(data.chip.dead_links.length, "dead link")}, between two cores`]);
  marks.push(["—", "from a source of the selected core"], ["- -", "to a target of the selected core"]);
  document.getElementById("marks").append(...marks.map(([sign, text]) => make("li", { "data-sign": sign }, text)));
  onChange((changes) => {
    if ("metric" in changes) { picture.recolour(); legend(picture); }
    if ("links" in changes || "tick" in changes) { state.linkLoads = linkLoads(state.tick); linkLegend(); }
    if ("population" in changes || "metric" in changes) pressed();
    if ("core" in changes && state.core !== null) picture.spoken.textContent = picture.describe(0, 0, state.core).replace("\n", ", ");
    picture.request();
  });
  legend(picture);
  state.linkLoads = linkLoads(-1);
  return picture;
}

function startLinks() {
  const box = document.getElementById("links"), slider = document.getElementById("tick"), saidAt = document.getElementById("tick-said");
  document.getElementById("links-option").hidden = !state.timing;
  document.getElementById("links-option").style.display = state.timing ? "" : "none";
  document.getElementById("tick-option").hidden = !state.timing;
  if (!state.timing) return;
  slider.max = state.timing.ticks.length - 1;
  const tell = () => { saidAt.textContent = tickSaid(state.tick); };
  box.addEventListener("change", () => select({ links: box.checked }));
  slider.addEventListener("input", () => { select({ tick: Number(slider.value) }); tell(); });
  tell();
}

function tickSaid(tick) {
  const { ticks } = state.timing;
  if (tick < 0) return `all ${plural(ticks.length, "tick")} of a frame: ${said(state.timing.cycles_per_image.mean)} cycles`;
  const at = ticks[tick];
  return `tick ${at.tick}, ${at.layer}: ${said(at.cycles)} cycles, bound by ${at.bound}; ${said(at.packets)} packets, ${plural(at.cores, "core")} at work`;
}

function legend(picture) {
  const box = document.getElementById("legend"), { metric } = picture;
  if (metric.key !== "layer") {
    box.replaceChildren(
      make("div", { class: "ramp", style: { background: `linear-gradient(to right, ${RAMP.join(",")})` } }),
      make("div", { class: "ends" }, make("span", {}, "0"), make("span", {}, metric.unit), make("span", {}, said(metric.most))),
    );
    return;
  }
  const list = make("ul", { class: "layers" });
  data.populations.forEach((entry, number) => {
    const colour = number ? layerColour(number - 1) : "transparent";
    list.append(make("li", {}, make("button", {
      type: "button", "data-population": number, "aria-pressed": "false", title: entry.name,
      onclick: () => select({ population: state.population === number ? null : number, core: null, element: null, channel: 0 }),
    },
    make("span", { class: "swatch", style: { background: colour, border: number ? "" : "1px dashed currentColor" } }),
    make("span", { class: "name" }, entry.name),
    make("span", { class: "count" }, number ? plural(entry.cores, "core") : "host"))));
  });
  box.replaceChildren(list);
  pressed();
}

function pressed() {
  for (const button of document.querySelectorAll("[data-population]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.population) === state.population));
  }
}

function linkLegend() {
  const box = document.getElementById("link-legend"), loads = state.linkLoads;
  if (!state.links || !loads) { box.replaceChildren(); return; }
  const [pale, strong] = dark() ? ["#5a4a3a", "#ffb347"] : ["#f3d9c4", "#a63603"];
  const ends = make("div", { class: "ends" }, make("span", {}, "0"), make("span", {}, "flits per image and link"), make("span", {}, said(loads.most)));
  box.replaceChildren(make("div", { class: "ramp", style: { background: `linear-gradient(to right, ${pale}, ${strong})` } }), ends);
}
