// Start: the header, the chip first, then the rest piece by piece, so that a large chip is seen at once.

function header() {
  document.getElementById("title").textContent = data.title;
  const { chip } = data;
  const parts = [
    `chip ${chip.name}, ${chip.grid[0]} × ${chip.grid[1]} cores${chip.hypothetical ? " (hypothetical)" : ""}`, data.exactness,
    data.run ? `${said(data.run.images)} images${ofDataset()}` : "no run given",
    data.conditions, // noise and faults: such a run must not look like one of a healthy chip
  ];
  document.getElementById("subtitle").textContent = parts.filter(Boolean).join(" · ");
  document.getElementById("made").textContent = data.made ?? "";
  document.getElementById("footer").textContent = `${data.map_sha256 ? `Mapping ${data.map_sha256}. ` : ""}Model ${data.model_sha256}; mapping by ${data.generator}. Charts: Apache ECharts ${echarts.version}, Apache License 2.0.`;
}

/** Name of the data set, where the run says so. */
function ofDataset() {
  const name = data.run.provenance?.dataset?.name;
  return name ? ` of ${name}` : "";
}

function tiles() {
  const { run, totals, chip } = data, found = [];
  const add = (name, value, note = "") => found.push(make("div", {}, make("dt", {}, name), make("dd", {}, value, make("small", {}, note))));
  if (run && run.accuracy !== null) add("Accuracy", percent(run.accuracy), `${said(run.images)} images`);
  add("Cores", `${said(totals.cores)}`, `of ${said(chip.cores)}; lower bound ${said(totals.cores_bound)}`);
  add("Neurons", said(totals.neurons), plural(totals.synapses, "synapse"));
  add("Exactness", data.exactness, data.exactness === "certified" ? "bit-exact for every input" : "checked on data");
  if (run) {
    add("Spikes per image", said(run.spikes_per_image), `and ${said(run.encoder_spikes_per_image)} from the encoder`);
    add("SOPs per image", short(run.sops_per_image), "synaptic operations");
  }
  if (run?.timing) add("Latency", `${said(run.timing.latency_ms)} ms`, `${said(run.timing.cycles_per_image.mean)} cycles at ${said(run.timing.clock_mhz)} MHz`);
  if (run?.energy) add("Energy per image", `${said(run.energy.pj_per_image / 1e6)} µJ`, `${said(run.energy.pj_per_sop)} pJ per SOP`);
  document.getElementById("tiles").append(...found);
}

function coreTable() {
  const { cores, counts, energy, packets } = state;
  const rows = Array.from({ length: state.count }, (_, core) => core);
  const of = (name, values) => ({ name, number: true, value: (core) => values[core] });
  const fixed = Object.keys(cores).filter((name) => !["x", "y", "layer", "crossbar"].includes(name) && !name.endsWith("_limit"));
  return table("Cores", [
    { name: "core", number: true, value: (core) => core }, of("x", cores.x), of("y", cores.y), { name: "layer", value: (core) => layerOf(core).name },
    ...fixed.map((name) => of(name.replaceAll("_", " "), cores[name])),
    ...(counts ? [of("spikes", counts.spikes), of("sops", counts.sops), of("axon events", counts.axon_events)] : []),
    ...(packets ? [of("packets sent per image", packets)] : []), ...(energy ? [of("pJ per image", energy)] : []),
  ], rows, (core) => {
    select({ core, population: cores.layer[core] + 1, element: null });
    document.getElementById("chip-section").scrollIntoView();
    state.picture.show(core);
  });
}

/** Every number of the JSON that is a plain value, as a table. */
function resultTable(title, value) {
  const rows = [];
  const walk = (path, at) => {
    if (at === null || typeof at !== "object") rows.push({ path, value: at });
    else if (!Array.isArray(at) && at.base64 === undefined) for (const [name, inner] of Object.entries(at)) walk(path ? `${path}.${name}` : name, inner);
  };
  walk("", value);
  return table(title, [{ name: "key", value: (row) => row.path }, { name: "value", number: true, value: (row) => (typeof row.value === "boolean" ? String(row.value) : row.value) }], rows);
}

function startTheme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const prefers = window.matchMedia("(prefers-color-scheme: dark)");
  const set = (theme) => {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    for (const entry of charts) entry.draw();
    if (state.picture) redraw();
  };
  button.addEventListener("click", () => set(dark() ? "light" : "dark"));
  prefers.addEventListener("change", () => set(prefers.matches ? "dark" : "light"));
  set(prefers.matches ? "dark" : "light");
  let before = null;
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    set("light");
    state.picture?.draw(); // now: no frame is drawn before the paper is
    for (const entry of charts) entry.toPaper();
    for (const closed of document.querySelectorAll("details:not([open])")) { closed.open = true; closed.dataset.print = ""; }
  });
  window.addEventListener("afterprint", () => {
    for (const entry of charts) entry.fromPaper();
    for (const opened of document.querySelectorAll("details[data-print]")) { opened.open = false; delete opened.dataset.print; }
    set(before);
  });
}

function redraw() {
  state.picture.recolour();
  for (const entry of coreCharts) entry.draw();
  linkLegend();
  if (state.population !== null) showLayer();
}

/** Let the browser draw between two pieces of work. */
const breathe = () => new Promise((done) => { setTimeout(done, 0); });

async function fill() {
  document.getElementById("tables").append(coreTable());
  if (data.run) document.getElementById("tables").append(resultTable("Run", data.run));
  if (data.compile) document.getElementById("tables").append(resultTable("Compilation", data.compile));
  for (const step of [startNetwork, ...startFigures()]) {
    await breathe();
    await step();
  }
}

async function start() {
  try {
    startTheme();
    header();
    tiles();
    Object.assign(state, await loadFirst());
    state.picture = startChip();
    state.picture.fit();
    state.picture.draw();
    document.documentElement.dataset.chipDrawn = String(Math.round(performance.now()));
    startInspector();
    startSearch();
    await fill();
    document.documentElement.dataset.ready = "";
  } catch (error) {
    const box = document.getElementById("failure");
    box.hidden = false;
    box.textContent = `The page could not be drawn: ${error.message}. It needs a browser with DecompressionStream: Chrome or Edge 80, Firefox 113, Safari 16.4 or newer.`;
    throw error;
  }
}
