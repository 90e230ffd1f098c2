// The figures of a run: charts by Apache ECharts, each with its numbers as a table under it.

const charts = new Set();

const WIDEST = 16000; // of a picture for paper, pixels: browsers draw no canvas above 32,767

/** Draw a chart and keep it in step with the theme and the width of the page; `option` is asked again each time. */
function chart(box, option) {
  const drawn = echarts.init(box);
  box.classList.add("drawn");
  const resized = new ResizeObserver(() => drawn.resize());
  const entry = {
    draw() { drawn.setOption({ ...look(), ...option() }, true); },
    resize() { drawn.resize(); },
    on(event, listener) { drawn.on(event, listener); },
    /** Put one picture in place of the layers of canvas that a chart may have: paper scales it as a whole. */
    toPaper() {
      const picture = drawn.renderToCanvas({ pixelRatio: Math.min(2, WIDEST / Math.max(1, box.clientWidth)) });
      picture.className = "paper";
      picture.removeAttribute("style"); // the library's, for a layer of a chart
      box.append(picture);
    },
    fromPaper() { for (const picture of box.querySelectorAll(".paper")) picture.remove(); },
    close() { resized.disconnect(); charts.delete(entry); drawn.dispose(); },
  };
  entry.draw();
  resized.observe(box);
  charts.add(entry);
  return entry;
}

function look() {
  return {
    animation: false, backgroundColor: "transparent", color: LAYER_COLOURS, aria: { enabled: true },
    textStyle: { color: css("--text"), fontFamily: "system-ui, sans-serif" },
    tooltip: { confine: true }, legend: { textStyle: { color: css("--text") } },
  };
}

function axis(name, gap = 26) {
  return {
    name, nameLocation: "middle", nameGap: gap, nameTextStyle: { color: css("--soft") }, axisLabel: { color: css("--soft"), hideOverlap: true },
    axisLine: { lineStyle: { color: css("--line") } }, splitLine: { lineStyle: { color: css("--line"), opacity: 0.6 } },
  };
}

/** A figure with a title, its unit, a chart and the table of the same numbers. */
function figure(title, subtitle, option, numbers, high = 320) {
  const box = make("div", { class: "chart", style: { height: `${high}px` } });
  const found = make("figure", { "data-figure": title }, make("figcaption", {}, title, make("small", {}, subtitle)), box,
    make("details", {}, make("summary", {}, "Table"), numbers));
  document.getElementById("figures").append(found);
  return chart(box, option);
}

/** Horizontal bars, one a row, perhaps stacked: series is [{name, values}]. */
function bars(names, series, unit) {
  const long = Math.max(...names.map((name) => name.length));
  return {
    grid: { left: 8, right: 72, top: series.length > 1 ? 54 : 8, bottom: 28, containLabel: true },
    legend: { show: series.length > 1, top: 0, left: 0, textStyle: { color: css("--text") } },
    xAxis: { ...axis(unit), type: "value", axisLabel: { color: css("--soft"), formatter: short, hideOverlap: true } },
    yAxis: { type: "category", inverse: true, data: names.map((name) => cut(plain(name), 26)), axisLabel: { color: css("--text"), interval: long && names.length > 40 ? "auto" : 0 }, axisTick: { show: false }, axisLine: { lineStyle: { color: css("--line") } } },
    tooltip: { trigger: "axis", axisPointer: { type: "shadow" }, confine: true, formatter: (points) => lines(names[points[0].dataIndex], ...series.map(({ name, values }) => `${series.length > 1 ? `${name}: ` : ""}${said(values[points[0].dataIndex])} ${unit}`)) },
    aria: { enabled: true, decal: { show: series.length > 1 } },
    series: series.map(({ name, values }, number) => ({
      name: plain(name), type: "bar", stack: "all", data: values, barMaxWidth: 26, itemStyle: series.length > 1 ? {} : { color: css("--accent") },
      label: number === series.length - 1 ? { show: true, position: "right", color: css("--text"), formatter: ({ dataIndex }) => short(series.reduce((sum, each) => sum + each.values[dataIndex], 0)) } : { show: false },
    })),
  };
}

/** 1,234,567 as 1.23 M, for axes and labels. */
function short(value) {
  for (const [limit, sign] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) if (Math.abs(value) >= limit) return `${digits.format(value / (limit === 1e4 ? 1e3 : limit))} ${sign}`;
  return said(value);
}

const barHeight = (rows) => Math.max(150, 70 + 34 * rows);

function startFigures() {
  if (!data.run) {
    document.getElementById("figures").append(make("p", { class: "hint" }, "No run was given: chipsim run FILE.map --dataset ... --json run.json, then --run run.json, adds spikes, operations, cycles and energy."));
    coresFigure();
    return [];
  }
  const steps = [accuracyFigure, confusionFigure, worstFigure, spikesFigure, sopsFigure, cyclesFigure, energyFigure, energyLayers, coresFigure];
  return steps;
}

const named = (name, value) => ({ name, value });
const counted = (name, value) => ({ name, number: true, value });

function spikesFigure() {
  const { layers, images, encoder_spikes_per_image: encoder } = data.run;
  const rows = [{ name: data.populations[0].name, spikes: encoder * images, neurons: features(data.populations[0]) * data.populations[0].per_feature }, ...layers];
  figure("Spikes by layer", `spikes per image, mean of ${said(images)} images; the encoder's are sent by the host`,
    () => bars(rows.map((row) => row.name), [{ name: "spikes", values: rows.map((row) => row.spikes / images) }], "spikes per image"),
    table("Spikes by layer", [named("layer", (row) => row.name), counted("neurons", (row) => row.neurons), counted("spikes in the run", (row) => row.spikes),
      counted("spikes per image", (row) => row.spikes / images)], rows), barHeight(rows.length));
}

function sopsFigure() {
  const { layers, images } = data.run;
  figure("Synaptic operations by layer", `SOPs per image, mean of ${said(images)} images`,
    () => bars(layers.map((row) => row.name), [{ name: "SOPs", values: layers.map((row) => row.sops / images) }], "SOPs per image"),
    table("Synaptic operations by layer", [named("layer", (row) => row.name), counted("cores", (row) => row.cores), counted("SOPs in the run", (row) => row.sops),
      counted("SOPs per image", (row) => row.sops / images)], layers), barHeight(layers.length));
}

const INCREMENTS = ["rows", "sweep", "injection", "flight", "contention", "sync"];

function cyclesFigure() {
  const { timing } = data.run;
  if (!timing) return;
  const rest = timing.ticks.slice(1), largest = rest.reduce((most, tick) => Math.max(most, tick.cycles), 0);
  const dwarfed = rest.length > 0 && timing.ticks[0].cycles > 3 * largest;
  const shown = dwarfed ? rest : timing.ticks;
  const note = dwarfed ? `; the ingress, ${said(timing.ticks[0].cycles)} cycles, stands in the table only` : "";
  const columns = [counted("tick", (row) => row.tick), named("layers", (row) => row.layer), counted("cycles", (row) => row.cycles),
    ...INCREMENTS.map((name) => counted(name, (row) => row[name])), named("bound by", (row) => row.bound), counted("packets", (row) => row.packets), counted("hops", (row) => row.hops), named("advice", (row) => row.advice)];
  figure("Cycles by tick and increment", `cycles per image, a frame alone on the chip, timing ${timing.mode}, mean of ${said(timing.images)} images${note}`,
    () => bars(shown.map((tick) => `${tick.tick} ${tick.layer}`), INCREMENTS.map((name) => ({ name, values: shown.map((tick) => tick[name]) })), "cycles per image"),
    table("Cycles by tick", columns, timing.ticks), barHeight(shown.length) + 40);
}

function energyFigure() {
  const { energy } = data.run;
  if (!energy) return;
  const parts = Object.entries(energy.parts).map(([name, value]) => ({ name, value }));
  const constants = (energy.constants ?? []).map((each) => ({ ...each }));
  const numbers = make("div", {}, table("Energy by part", [named("part", (row) => row.name), counted("pJ per image", (row) => row.value)], parts),
    table("Energy constants", [named("constant", (row) => row.name), counted("value", (row) => row.value), named("origin", (row) => row.origin), named("source", (row) => row.note)], constants));
  figure("Energy by part", `pJ per image, ${said(energy.pj_per_image)} in all; most constants are assumed or derived: see the table`,
    () => bars(parts.map((row) => row.name), [{ name: "energy", values: parts.map((row) => row.value) }], "pJ per image"), numbers, barHeight(parts.length));
}

function energyLayers() {
  const { energy } = data.run;
  if (!energy) return;
  const parts = Object.keys(energy.parts).filter((part) => energy.layers.some((layer) => layer.parts[part]));
  figure("Energy by layer and part", "pJ per image; static energy belongs to no layer",
    () => bars(energy.layers.map((row) => row.name), parts.map((part) => ({ name: part, values: energy.layers.map((row) => row.parts[part]) })), "pJ per image"),
    table("Energy by layer", [named("layer", (row) => row.name), counted("pJ per image", (row) => row.pj_per_image), ...Object.keys(energy.parts).map((part) => counted(part, (row) => row.parts[part]))], energy.layers),
    barHeight(energy.layers.length) + 40);
}

/** Images of each label, and those recognised. */
function accuracyFigure() {
  const { confusion } = data.run;
  if (!confusion) return;
  const rows = [...new Set(confusion.map(([label]) => label))].sort((a, b) => a - b).map((label) => {
    const mine = confusion.filter((entry) => entry[0] === label);
    const images = mine.reduce((sum, entry) => sum + entry[2], 0), right = mine.find((entry) => entry[1] === label)?.[2] ?? 0;
    return { label, images, right, share: (100 * right) / images };
  });
  const low = Math.min(...rows.map((row) => row.share));
  figure("Accuracy by class", `% of the images of each label, ${percent(data.run.accuracy)} over all ${said(data.run.images)}; the axis begins at ${said(Math.max(0, Math.floor(low / 5) * 5 - 5))} %`,
    () => {
      const option = bars(rows.map((row) => `label ${row.label}`), [{ name: "accuracy", values: rows.map((row) => row.share) }], "% of the label's images");
      option.xAxis = { ...option.xAxis, min: Math.max(0, Math.floor(low / 5) * 5 - 5), max: 100 };
      return option;
    },
    table("Accuracy by class", [counted("label", (row) => row.label), counted("images", (row) => row.images), counted("correct", (row) => row.right), counted("accuracy %", (row) => row.share)], rows), barHeight(rows.length));
}

const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(2)} %`);

function confusionFigure() {
  const { confusion } = data.run;
  if (!confusion) return;
  const classes = [...new Set(confusion.flatMap(([label, prediction]) => [label, prediction]))].sort((a, b) => a - b);
  const at = new Map(classes.map((each, number) => [each, number]));
  const wrong = Math.max(1, ...confusion.filter(([label, prediction]) => label !== prediction).map((entry) => entry[2]));
  const cells = () => confusion.map(([label, prediction, images]) => ({
    value: [at.get(prediction), at.get(label), images],
    itemStyle: { color: label === prediction ? css("--unused") : mix(dark() ? "#3a2a1c" : "#fbe3cf", "#c04a00", images / wrong) },
    label: { color: label === prediction || images / wrong < 0.55 ? css("--text") : "#ffffff" },
  }));
  figure("Confusion matrix", "images by label and prediction; correct ones in grey, mistakes in orange, the stronger the more",
    () => ({
      grid: { left: 30, right: 12, top: 8, bottom: 34, containLabel: true },
      xAxis: { ...axis("prediction"), type: "category", data: classes.map(String), splitArea: { show: false } },
      yAxis: { ...axis("label", 30), type: "category", inverse: true, data: classes.map(String) },
      tooltip: { trigger: "item", formatter: ({ value }) => lines(`label ${classes[value[1]]}, prediction ${classes[value[0]]}`, plural(value[2], "image")) },
      series: [{ type: "heatmap", data: cells(), label: { show: classes.length <= 24, formatter: ({ value }) => said(value[2]) } }],
    }),
    table("Confusion matrix", [counted("label", (row) => row[0]), counted("prediction", (row) => row[1]), counted("images", (row) => row[2])], confusion), 400);
}

async function worstFigure() {
  const { worst_images: worst } = data.run;
  if (!worst || !worst.length) return;
  const strip = make("div", { class: "worst" });
  const found = make("figure", { "data-figure": "Worst images" }, make("figcaption", {}, "The ten worst images",
    make("small", {}, "smallest margin: the score of the label minus the largest other score; below 0 the network is wrong")), strip,
  make("details", {}, make("summary", {}, "Table"), table("Worst images", [counted("image", (row) => row.image), counted("label", (row) => row.label), counted("prediction", (row) => row.prediction), counted("margin", (row) => row.margin)], worst)));
  document.getElementById("figures").append(found);
  if (!data.pictures) strip.append(make("p", { class: "hint" }, "Give --dataset for pictures of them."));
  for (const [number, entry] of worst.entries()) {
    const item = make("div", {}, `image ${entry.image}`, make("br"), `label ${entry.label}, taken for ${entry.prediction}`, make("br"), `margin ${said(entry.margin)}`);
    if (data.pictures) item.prepend(await pictureOfImage(data.pictures[number]));
    strip.append(item);
  }
}

async function pictureOfImage({ image, shape, pixels }) {
  const [rows, columns, colours] = shape, values = await unpack(pixels);
  const canvas = make("canvas", { width: columns, height: rows, role: "img", "aria-label": `image ${image}` });
  const found = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    for (let c = 0; c < 3; c++) found.data[4 * i + c] = colours ? values[3 * i + c] : values[i];
    found.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(found, 0, 0);
  return canvas;
}

function coresFigure() {
  const layers = data.populations.slice(1);
  figure("Cores by layer", "cores, beside the proved lower bound",
    () => {
      const option = bars(layers.map((row) => row.name), [{ name: "cores", values: layers.map((row) => row.cores) }], "cores");
      option.series.push({ name: "lower bound", type: "scatter", symbol: "rect", symbolSize: [3, 22], itemStyle: { color: css("--text") }, data: layers.map((row) => row.bound), z: 5 });
      option.legend.show = true;
      option.grid.top = 34;
      return option;
    },
    table("Cores by layer", [named("layer", (row) => row.name), counted("cores", (row) => row.cores), counted("lower bound", (row) => row.bound), named("limited by", (row) => row.limiting)], layers), barHeight(layers.length) + 20);
}
