// The panel beside the chip: a layer with its feature map, an element's core, a core with what it holds.

const panel = (name) => document.getElementById(`${name}-panel`);
let layerShown = null, coreToken = 0, coreCharts = [];

function startInspector() {
  onChange(async (changes) => {
    if ("population" in changes || "channel" in changes || "element" in changes) await showLayer();
    if ("core" in changes) await showCore();
  });
  hint();
}

function hint() {
  panel("layer").replaceChildren(make("p", { class: "hint" },
    "Click a core, or a layer on the left. A layer shows which core computes which of its features; a core shows its weights, thresholds, and who it hears from and sends to."));
  panel("core").replaceChildren();
}

/** How the features of a shape lie in a picture: `channels` pictures of rows x columns; one axis alone is wrapped. */
function pictureOf(shape) {
  if (shape.length >= 2) {
    const [rows, columns] = shape.slice(-2);
    return { channels: shape.slice(0, -2).reduce((a, b) => a * b, 1), rows, columns, count: rows * columns };
  }
  const count = shape[0] ?? 1, columns = Math.min(count, 32);
  return { channels: 1, rows: Math.ceil(count / columns), columns, count };
}

async function showLayer() {
  const number = state.population;
  if (number === null) { layerShown = null; hint(); return; }
  const entry = data.populations[number], picture = pictureOf(entry.shape);
  if (state.element !== null) state.channel = Math.floor(Math.floor(state.element / entry.per_feature) / picture.count);
  state.channel = Math.min(state.channel, picture.channels - 1);
  const map = await featureMap(number, picture);
  if (state.population !== number) return;
  const answer = state.element === null ? null : make("p", { class: "answer", id: "answer" }, await answerOf(number, state.element));
  const scrolled = layerShown === number ? document.querySelector(".channels")?.scrollTop ?? 0 : 0;
  layerShown = number;
  panel("layer").replaceChildren(
    make("h3", {}, entry.name), answer ?? make("p", { class: "hint" }, "Click a position to see the core that computes it."),
    channelChooser(picture), map, positionFields(number, entry), make("h4", {}, "Layer"), layerFacts(number));
  const strip = document.querySelector(".channels");
  if (strip) strip.scrollTop = scrolled;
}

function channelChooser(picture) {
  if (picture.channels < 2) return null;
  if (picture.channels > 512) return null; // the fields below choose one
  const strip = make("div", { class: "channels", role: "group", "aria-label": "Channel" });
  for (let channel = 0; channel < picture.channels; channel++) {
    strip.append(make("button", { type: "button", "data-channel": channel, "aria-pressed": String(channel === state.channel),
      onclick: () => select({ channel, element: null }) }, String(channel)));
  }
  return make("div", {}, make("h4", {}, "Channel"), strip);
}

/** Number fields for each axis, for keyboards and for channels beyond what buttons can show. */
function positionFields(number, entry) {
  const index = state.element === null ? null : unravel(Math.floor(state.element / entry.per_feature), entry.shape);
  const names = axisNames(entry.shape);
  const fields = entry.shape.map((side, axis) => make("input", { type: "number", min: 0, max: side - 1, "aria-label": names[axis],
    value: index ? index[axis] : entry.shape.length === 3 && axis === 0 ? state.channel : 0 }));
  return make("form", { class: "table-tools", onsubmit: (event) => {
    event.preventDefault();
    const at = fields.map((field, axis) => Math.max(0, Math.min(entry.shape[axis] - 1, Number(field.value) || 0)));
    chooseFeature(number, ravel(at, entry.shape));
  } }, ...fields.flatMap((field, axis) => [make("label", {}, names[axis]), field]), make("button", { type: "submit" }, "Show"));
}

async function featureMap(number, picture) {
  const entry = data.populations[number];
  const owner = await ownerOfFeatures(number);
  const size = Math.max(1, Math.min(18, Math.floor(408 / picture.columns)));
  const canvas = make("canvas", { class: "picker", id: "feature-map", tabindex: 0, role: "application", width: picture.columns * size, height: picture.rows * size,
    "aria-label": `Positions of channel ${state.channel} of ${entry.name}; arrow keys move, Enter shows the core` });
  const pen = canvas.getContext("2d"), first = state.channel * picture.count;
  for (let at = 0; at < Math.min(picture.count, features(entry) - first); at++) {
    const core = owner[first + at];
    pen.fillStyle = core === HOST ? css("--bar") : core < 0 ? css("--unused") : rampColour(0.12 + 0.82 * ((core * 0.61803) % 1));
    pen.fillRect((at % picture.columns) * size, Math.floor(at / picture.columns) * size, size - (size > 4), size - (size > 4));
  }
  if (state.element !== null) {
    const at = Math.floor(state.element / entry.per_feature) - first;
    for (const [colour, width] of [[css("--panel"), 4], [css("--selected"), 2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.strokeRect((at % picture.columns) * size, Math.floor(at / picture.columns) * size, size - 1, size - 1);
    }
  }
  const readout = make("p", { class: "readout" }, mapCaption(picture, entry));
  const under = (event) => {
    const bounds = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - bounds.left) / bounds.width) * picture.columns);
    const y = Math.floor(((event.clientY - bounds.top) / bounds.height) * picture.rows);
    const at = y * picture.columns + x;
    return x >= 0 && y >= 0 && x < picture.columns && at < picture.count ? first + at : null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const feature = under(event);
    if (feature !== null) readout.textContent = `${elementSaid(number, feature * entry.per_feature, false)}\n${ownerSaid(owner[feature])}`;
  });
  canvas.addEventListener("click", (event) => { const feature = under(event); if (feature !== null) chooseFeature(number, feature); });
  canvas.addEventListener("keydown", (event) => moveFeature(event, number, picture));
  return make("div", {}, make("h4", {}, `Which core computes which position`), canvas, readout);
}

function mapCaption(picture, entry) {
  const size = `${picture.rows} rows, ${picture.columns} columns`;
  return entry.shape.length >= 2 ? `${size}; each colour is a core` : `${plural(picture.count, "feature")}, ${picture.columns} a line; each colour is a core`;
}

function moveFeature(event, number, picture) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -picture.columns, ArrowDown: picture.columns };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const entry = data.populations[number], first = state.channel * picture.count;
  const now = state.element === null ? first : Math.floor(state.element / entry.per_feature) + steps[event.key];
  if (now < first || now >= first + picture.count || now >= features(entry)) return;
  chooseFeature(number, now).then(() => document.getElementById("feature-map").focus());
}

const HOST = -2;

/** Core of each feature of a population: -1 where all its neurons were removed, `HOST` for the encoder. */
async function ownerOfFeatures(number) {
  const entry = data.populations[number], count = features(entry);
  if (number === 0) return new Int32Array(count).fill(HOST);
  const neuron = await neuronOfElement(number), { offset } = await neurons();
  const found = new Int32Array(count).fill(-1);
  for (let element = 0; element < neuron.length; element++) {
    if (neuron[element] >= 0) found[Math.floor(element / entry.per_feature)] = lastNotAbove(offset, neuron[element]);
  }
  return found;
}

function ownerSaid(core) {
  if (core === HOST) return "computed by the host";
  return core < 0 ? "on no core: it never changes, or nothing reads it" : coreSaid(core);
}

async function chooseFeature(number, feature, level = null) {
  const entry = data.populations[number];
  const element = feature * entry.per_feature + (level ?? 0);
  const owner = (await ownerOfFeatures(number))[feature];
  select({ population: number, element, core: owner >= 0 ? owner : null });
  if (owner >= 0) state.picture.show(owner);
}

/** Which core computes an element, in one sentence. */
async function answerOf(number, element) {
  const entry = data.populations[number], where = elementSaid(number, element, false);
  const start = `${where} of ${entry.name}`;
  if (number === 0) return `${start}: computed by the host's encoder`;
  const neuron = await neuronOfElement(number), { offset } = await neurons();
  const first = Math.floor(element / entry.per_feature) * entry.per_feature;
  const held = new Map();
  for (let level = 0; level < entry.per_feature; level++) {
    if (neuron[first + level] < 0) continue;
    const core = lastNotAbove(offset, neuron[first + level]);
    held.set(core, [...(held.get(core) ?? []), neuron[first + level] - offset[core]]);
  }
  if (!held.size) return `${start}: ${ownerSaid(-1)}`;
  return `${start}: ${[...held].map(([core, own]) => `${coreSaid(core)}, neuron${own.length > 1 ? "s" : ""} ${runs(own)}`).join("; ")}`;
}

/** 4, 5, 6, 9 as 4–6, 9. */
function runs(numbers) {
  const parts = [];
  for (const number of numbers) {
    const last = parts.at(-1);
    if (last && last[1] === number - 1) last[1] = number; else parts.push([number, number]);
  }
  return parts.map(([from, to]) => (from === to ? from : `${from}–${to}`)).join(", ");
}

const facts = (pairs) => make("dl", { class: "facts" }, ...pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
  .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, said(value))]));

function layerFacts(number) {
  const entry = data.populations[number], exact = exactness(number);
  const nodes = (data.nodes ?? []).filter((node) => node.population === number);
  return facts([
    ["kind", number ? entry.kind : "encoder, on the host"], ["shape", entry.shape.join(" × ")],
    ["levels", entry.levels || "readout"], ["weight bits", entry.weight_bits], ["fan-in", entry.fan_in],
    ["neurons", entry.neurons], ["removed", removedSaid(number)], ["synapses", entry.synapses],
    ["cores", number ? `${said(entry.cores)} (lower bound ${said(entry.bound)}), limited by ${entry.limiting}` : null],
    ["exactness", exact], ["tick", entry.tick], ["scale", entry.scale], ["zero point", entry.zero_point], ["ONNX tensor", entry.tensor],
    ["ONNX nodes", nodes.map((node) => `${node.name || node.outputs[0]} (${node.op})`).join(", ")],
  ]);
}

const compiledLayer = (number) => data.compile?.layers.find((layer) => layer.name === data.populations[number].name);

/** Certified, or tested with the thresholds that float rounding can move. */
function exactness(number) {
  if (data.exactness === "certified") return "certified";
  const layer = compiledLayer(number);
  if (number === 0) return null;
  if (!layer || !layer.exactness) return "tested or certified: give the JSON of qsnnc compile (--compile) to tell the layers apart";
  if (layer.exactness === "certified") return "certified";
  const spans = layer.uncertain_thresholds ?? [];
  const { thresholds: count, spans: listed } = layer.uncertain_total ?? { thresholds: spans.reduce((sum, span) => sum + span.count, 0), spans: spans.length };
  const shown = spans.slice(0, 12).map((span) => `channel ${span.channel} level ${span.level + 1}${span.count > 1 ? `–${span.level + span.count}` : ""}`);
  return count ? `tested; ${plural(count, "uncertain threshold")}: ${shown.join(", ")}${listed > shown.length ? ` and ${listed - shown.length} more` : ""}` : "tested";
}

function removedSaid(number) {
  const { removed } = data.populations[number], why = compiledLayer(number)?.removed_as;
  if (!removed || !why) return removed;
  const reasons = [[why.dead, "never fire"], [why.constant, "always fire"], [why.unread, "are read by nothing"]];
  return `${said(removed)}: ${reasons.filter(([count]) => count).map(([count, reason]) => `${said(count)} ${reason}`).join(", ")}`;
}

async function showCore() {
  const { core } = state, token = ++coreToken;
  coreCharts.forEach((entry) => entry.close());
  coreCharts = [];
  state.traffic = null;
  if (core === null) { panel("core").replaceChildren(); return; }
  const [traffic, weights] = [await trafficOf(core), await weightsOf(core)];
  if (token !== coreToken) return;
  state.traffic = traffic;
  const box = make("div", { class: "chart", style: { height: "190px" } });
  const picture = weights && weights.rows && weights.columns ? weightsPicture(core, weights) : null;
  panel("core").replaceChildren(
    make("h3", {}, `Core ${core} at (${state.cores.x[core]}, ${state.cores.y[core]})`),
    make("p", { class: "hint" }, `${layerOf(core).name}, ${layerOf(core).kind}`),
    ...data.uses.map((use) => useBar(use, core)), coreFacts(core),
    make("h4", {}, "Weights"), picture ? picture.element : make("p", { class: "hint" }, "The weights are too large for a page: qsnnc inspect --core shows them."),
    make("h4", {}, "Thresholds"), box, neuronsOfCore(core),
    make("h4", {}, `Busiest sources, by ${traffic.unit}`), trafficTable("Sources", traffic.sources, traffic.unit),
    make("h4", {}, `Busiest targets, by ${traffic.unit}`), trafficTable("Targets", traffic.targets, traffic.unit));
  coreCharts.push(await thresholdsChart(core, box));
  if (picture) coreCharts.push({ draw: picture.draw, close() {} });
  state.picture.request();
}

function useBar(use, core) {
  const used = state.cores[use.key][core], limit = state.cores[use.limit][core];
  const bar = make("div", { class: "bar" }, make("i", { style: { width: `${(100 * used) / limit}%` } }));
  return make("div", { class: "use", "data-use": use.key, "data-used": used }, make("span", {}, use.label), bar, make("span", {}, `${said(used)} of ${said(limit)}`));
}

function coreFacts(core) {
  const { cores, counts, energy, packets } = state, images = data.run?.images;
  const rows = ["records", "parameters", "potentials", "weights"].filter((name) => cores[`${name}_rows`]);
  return facts([
    ["neurons", cores.neurons[core]], ["synapses", cores.synapses?.[core]], ["fold", cores.fold?.[core]], ["weight bits", cores.weight_bits[core]],
    ["rows", rows.map((name) => `${name} ${said(cores[`${name}_rows`][core])}`).join(", ")],
    ["SOPs per image", counts && counts.sops[core] / images], ["spikes per image", counts && counts.spikes[core] / images],
    ["axon events per image", counts && counts.axon_events[core] / images], ["packets sent per image", packets?.[core]], ["energy per image", energy && `${said(energy[core])} pJ`],
  ]);
}

/** Neurons of a core as a table, made when it is opened: from a neuron back to its ONNX element. */
function neuronsOfCore(core) {
  const box = make("div"), found = make("details", {}, make("summary", {}, `Neurons of core ${core}: elements and thresholds`), box);
  found.addEventListener("toggle", async () => {
    if (!found.open || box.childElementCount) return;
    const { offset, element, threshold } = await neurons(), population = state.cores.layer[core] + 1;
    const entry = data.populations[population], names = axisNames(entry.shape);
    const rows = Array.from({ length: offset[core + 1] - offset[core] }, (_, number) => {
      const own = offset[core] + number, feature = Math.floor(element[own] / entry.per_feature);
      return { number, feature, index: unravel(feature, entry.shape), level: (element[own] % entry.per_feature) + 1, threshold: threshold[own] };
    });
    const columns = [{ name: "neuron", number: true, value: (row) => row.number },
      ...names.map((name, axis) => ({ name, number: true, value: (row) => row.index[axis] })),
      ...(entry.per_feature > 1 ? [{ name: "level", number: true, value: (row) => row.level }] : []),
      { name: "threshold", number: true, value: (row) => row.threshold }];
    box.append(table(`Neurons of core ${core}`, columns, rows, (row) => chooseFeature(population, row.feature)));
  });
  return found;
}

function trafficTable(title, entries, unit) {
  if (!entries.length) return make("p", { class: "hint" }, "none");
  return table(title, [
    { name: "core", number: true, value: (row) => (row.core < 0 ? "host" : row.core) },
    { name: "layer", value: (row) => (row.core < 0 ? data.populations[0].name : layerOf(row.core).name) },
    { name: "axons", number: true, value: (row) => row.axons },
    ...(unit === "axons" ? [] : [{ name: "spikes per image", number: true, title: "axons times the mean rate of the sender's neurons", value: (row) => row.weight }]),
  ], entries, (row) => {
    if (row.core < 0) select({ population: 0, core: null, element: null });
    else { select({ core: row.core, population: state.cores.layer[row.core] + 1, element: null }); state.picture.show(row.core); }
  });
}

/** Sources and targets of a core; with a run weighted by the mean rate of the sender's neurons, else by axons. */
async function trafficOf(core) {
  const { from, to, axons: count } = await coreEdges();
  const rate = (sender) => {
    if (!state.counts) return 1;
    if (sender < 0) return data.run.encoder_spikes_per_image / (features(data.populations[0]) * data.populations[0].per_feature);
    return state.counts.spikes[sender] / data.run.images / state.cores.neurons[sender];
  };
  const sources = [], targets = [];
  for (let i = 0; i < from.length; i++) {
    if (to[i] === core) sources.push({ core: from[i], axons: count[i], weight: count[i] * rate(from[i]) });
    if (from[i] === core) targets.push({ core: to[i], axons: count[i], weight: count[i] * rate(core) });
  }
  for (const list of [sources, targets]) list.sort((a, b) => b.weight - a.weight || b.axons - a.axons);
  return { core, sources, targets, mostSource: sources[0]?.weight, mostTarget: targets[0]?.weight,
    unit: state.counts ? "spikes per image (axons times the sender's mean rate)" : "axons" };
}
