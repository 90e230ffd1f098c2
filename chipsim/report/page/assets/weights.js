// The weights and thresholds of a core as pictures.

const POSITIVE = [213, 94, 0], NEGATIVE = [0, 114, 178];

/** Mean weight of each picture cell: `wide` x `high` cells over the matrix (axons down, neurons across). */
function shrink({ rows, columns, values }, wide, high) {
  const means = new Float32Array(wide * high);
  for (let y = 0; y < high; y++) {
    const top = Math.floor((y * rows) / high), bottom = Math.max(top + 1, Math.floor(((y + 1) * rows) / high));
    for (let x = 0; x < wide; x++) {
      const left = Math.floor((x * columns) / wide), right = Math.max(left + 1, Math.floor(((x + 1) * columns) / wide));
      let sum = 0;
      for (let row = top; row < bottom; row++) for (let column = left; column < right; column++) sum += values[row * columns + column];
      means[y * wide + x] = sum / ((bottom - top) * (right - left));
    }
  }
  return means;
}

function paint(canvas, weights, wide, high) {
  canvas.width = wide;
  canvas.height = high;
  const means = shrink(weights, wide, high);
  let most = 1e-9;
  for (const value of means) most = Math.max(most, Math.abs(value));
  const zero = channelsOf(css("--panel")), image = new ImageData(wide, high);
  for (let i = 0; i < means.length; i++) {
    const share = Math.abs(means[i]) / most, end = means[i] < 0 ? NEGATIVE : POSITIVE;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = zero[c] + (end[c] - zero[c]) * share;
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A picture of the weights of a core; hovering names axon, neuron and weight. */
function weightsPicture(core, weights) {
  const canvas = make("canvas", { class: "weights", "aria-label": `Weights of core ${core}: ${weights.rows} axons by ${weights.columns} neurons`, role: "img" });
  const readout = make("p", { class: "readout" }), box = make("div", { class: "weights-box" }, canvas);
  const caption = make("p", { class: "hint" });
  const ofProgram = data.kind === "paicore";
  const across = ofProgram ? "weight vectors" : "neurons", down = ofProgram ? "inputs" : "axons";
  let whole = false;
  const button = make("button", { type: "button", onclick: () => { whole = !whole; draw(); } });
  function draw() {
    const width = 410, ratio = window.devicePixelRatio || 1;
    const size = Math.max(1, Math.floor(width / weights.columns));
    if (whole) {
      paint(canvas, weights, weights.columns, weights.rows);
      Object.assign(canvas.style, { width: `${weights.columns * size}px`, height: `${weights.rows * size}px` });
    } else {
      paint(canvas, weights, Math.min(weights.columns, Math.round(width * ratio)), Math.min(weights.rows, Math.round(230 * ratio)));
      Object.assign(canvas.style, { width: "", height: "" });
    }
    button.textContent = whole ? "Fit" : "Every weight";
    const most = weights.values.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    caption.textContent = `${said(weights.columns)} ${across} across, ${said(weights.rows)} ${down} down; blue negative, orange positive, largest |weight| ${most}`
      + (canvas.height < weights.rows || canvas.width < weights.columns ? "; a point shows the mean of several weights" : "");
  }
  canvas.addEventListener("pointermove", async (event) => {
    const bounds = canvas.getBoundingClientRect();
    const column = Math.min(weights.columns - 1, Math.floor(((event.clientX - bounds.left) / bounds.width) * weights.columns));
    const row = Math.min(weights.rows - 1, Math.floor(((event.clientY - bounds.top) / bounds.height) * weights.rows));
    readout.textContent = await synapseSaid(core, row, column, weights.values[row * weights.columns + column]);
  });
  draw();
  return { element: make("div", {}, box, readout, caption, button), draw };
}

async function synapseSaid(core, axon, neuron, weight) {
  if (data.kind === "paicore") return `input ${axon} of weight vector ${neuron}: weight ${weight}`;
  const { offset, element, threshold } = await neurons();
  const own = offset[core] + neuron, population = state.cores.layer[core] + 1;
  const to = `neuron ${neuron}: ${elementSaid(population, element[own])}; threshold ${said(threshold[own])}`;
  const wires = await axons();
  if (!wires) return `weight ${weight}\naxon ${axon}\n${to}`;
  const source = await elementOfSource(wires.source[wires.offset[core] + axon]);
  const name = data.populations[source.population].name;
  return `weight ${weight}\naxon ${axon}: ${name}, ${elementSaid(source.population, source.element)}\n${to}`;
}

/** A chart of the thresholds of a core's neurons. */
async function thresholdsChart(core, box) {
  const { offset, element, threshold } = await neurons();
  const first = offset[core], population = state.cores.layer[core] + 1;
  const points = Array.from(threshold.subarray(first, offset[core + 1]), (value, number) => [number, value]);
  return chart(box, () => ({
    grid: { left: 26, right: 12, top: 12, bottom: 28, containLabel: true },
    xAxis: { ...axis("neuron of the core"), type: "value", min: 0, max: Math.max(1, points.length - 1), minInterval: 1 },
    yAxis: { ...axis("threshold", 40), type: "value", scale: true, minInterval: 1 },
    tooltip: { trigger: "item", formatter: ({ value }) => lines(`neuron ${value[0]}`, elementSaid(population, element[first + value[0]]), `threshold ${said(value[1])}`) },
    series: [{ type: "scatter", symbolSize: 5, data: points, itemStyle: { color: css("--accent") }, large: points.length > 2000 }],
  }));
}

/** A tooltip's content: text only. */
function lines(...texts) {
  const found = make("div");
  texts.forEach((text, number) => found.append(...(number ? [document.createElement("br")] : []), text));
  return found;
}
