// The page's data: the JSON block, unpacking of its arrays, and what is derived from them on demand.

const data = JSON.parse(document.getElementById("data").textContent);
const TYPES = { int8: Int8Array, uint8: Uint8Array, int32: Int32Array, float64: Float64Array };

/** Unpack one array of the JSON block: base64, deflated, perhaps differences (chipsim/report/page/packing.py). */
async function unpack(packed) {
  const text = atob(packed.base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const values = new TYPES[packed.dtype](await new Response(stream).arrayBuffer());
  if (packed.delta) for (let i = 1; i < values.length; i++) values[i] += values[i - 1];
  return values;
}

/** Unpack the values of an object; what is not packed stays. */
async function unpackAll(object) {
  const found = {};
  await Promise.all(Object.entries(object).map(async ([name, value]) => {
    found[name] = value && value.base64 !== undefined ? await unpack(value) : value;
  }));
  return found;
}

/** Everything that the first picture needs; `cores` and the counts of a run are typed arrays, one value a core. */
async function loadFirst() {
  const cores = await unpackAll(data.cores);
  const run = data.run;
  const counts = run ? await unpackAll(run.cores) : null;
  const energy = run && run.energy ? await unpack(run.energy.cores) : null;
  const timing = run ? run.timing : null;
  const packets = timing && timing.core_packets ? await unpack(timing.core_packets) : null;
  const linkColumns = timing ? await unpackAll(timing.links) : null;
  if (linkColumns) linkColumns.ticks = await Promise.all(timing.link_ticks.map(unpack));
  return { count: cores.x.length, cores, counts, energy, packets, linkColumns, timing };
}

/** Unpacked on first use: neurons, edges between cores, sources of axons, weights. */
const later = {};
function once(name, load) {
  if (!(name in later)) later[name] = load();
  return later[name];
}

const neurons = () => once("neurons", () => unpackAll(data.neurons));
const axons = () => once("axons", async () => (data.axons ? unpackAll(data.axons) : null));
const crossbars = () => once("crossbars", async () => (data.crossbars ? unpackAll(data.crossbars) : null));
const coreEdges = () => once("edges", () => unpackAll(data.core_edges));

/** Neuron of each element of a layer (its number among the populations), -1 where it is on no core. */
async function neuronOfElement(population) {
  const { offset, element } = await neurons();
  return once(`elements ${population}`, () => {
    const entry = data.populations[population];
    const found = new Int32Array(features(entry) * entry.per_feature).fill(-1);
    const { layer } = state.cores;
    for (let core = 0; core < layer.length; core++) {
      if (layer[core] !== population - 1) continue;
      for (let n = offset[core]; n < offset[core + 1]; n++) found[element[n]] = n;
    }
    return found;
  });
}

/** Number of the last entry of a rising array that is not above a value. */
function lastNotAbove(offsets, value) {
  let low = 0, high = offsets.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (offsets[middle] <= value) low = middle; else high = middle;
  }
  return low;
}

/** Population and element of a source: the encoder's neurons come first, then the chip's. */
async function elementOfSource(source) {
  if (source < data.axons.first) return { population: 0, element: source };
  const { offset, element } = await neurons();
  const neuron = source - data.axons.first;
  const core = lastNotAbove(offset, neuron);
  return { population: state.cores.layer[core] + 1, element: element[neuron], core };
}

/** Weights of a core as an Int8Array (axons x neurons), row by row. */
async function weightsOf(core) {
  const bars = await crossbars();
  if (!bars) return null;
  const index = state.cores.crossbar[core];
  const [rows, columns, width] = bars.shape.subarray(3 * index, 3 * index + 3);
  const bytes = bars.bits.subarray(bars.offset[index], bars.offset[index + 1]);
  const values = new Int8Array(rows * columns);
  const mask = (1 << width) - 1, sign = width > 1 ? 1 << (width - 1) : 0;
  for (let i = 0; i < values.length; i++) {
    const bit = i * width;
    const raw = (bytes[bit >> 3] >> (bit & 7)) & mask;
    values[i] = (raw ^ sign) - sign;
  }
  return { rows, columns, values };
}

const features = (population) => population.shape.reduce((product, side) => product * side, 1);

/** What is looked at; `select` changes it and tells who draws it. */
const state = { metric: "layer", links: false, tick: -1, population: null, channel: 0, element: null, core: null, cores: null };
const listeners = [];
function onChange(listener) { listeners.push(listener); }
function select(changes) {
  Object.assign(state, changes);
  for (const listener of listeners) listener(changes);
}
