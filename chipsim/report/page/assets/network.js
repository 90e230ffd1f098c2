// The network: layers as a graph from left to right by tick, and the same as a table.

const CARD = {
  wide: 158, high: 86, across: 206, down: 112,
  outline: "path://M6,0H152A6,6,0,0,1,158,6V80A6,6,0,0,1,152,86H6A6,6,0,0,1,0,80V6A6,6,0,0,1,6,0Z", // a rectangle with round corners
};

function startNetwork() {
  const box = document.getElementById("network"), places = placeLayers();
  const columns = Math.max(...places.map(([x]) => x)) + 1, rows = Math.max(...places.map(([, y]) => y)) + 1;
  box.style.height = `${rows * CARD.down + 24}px`;
  box.style.minWidth = `${columns * CARD.across + 24}px`;
  const drawn = chart(box, () => graphOption(places, box));
  drawn.on("click", (event) => { if (event.dataType === "node") chooseLayer(event.dataIndex); });
  document.getElementById("network-table").append(layerTable());
}

function chooseLayer(number) {
  select({ population: number, core: null, element: null, channel: 0 });
  document.getElementById("chip-section").scrollIntoView();
}

/** Column and row of each population: its tick, and its place among those of the tick. */
function placeLayers() {
  const ticks = [...new Set(data.populations.map((entry) => entry.tick))].sort((a, b) => a - b), taken = new Map();
  return data.populations.map((entry) => {
    const column = ticks.indexOf(entry.tick), row = taken.get(column) ?? 0;
    taken.set(column, row + 1);
    return [column, row];
  });
}

function graphOption(places, box) {
  const columns = Math.max(...places.map(([x]) => x)) + 1, rows = Math.max(...places.map(([, y]) => y)) + 1;
  const across = (box.clientWidth - 24) / columns, down = (box.clientHeight - 24) / rows;
  const perColumn = places.map(([x]) => places.filter(([other]) => other === x).length);
  const most = Math.max(1, ...data.edges.map((edge) => edge[2]));
  return {
    tooltip: { trigger: "item", confine: true, formatter: (event) => (event.dataType === "edge" ? edgeTip(event.dataIndex) : layerTip(event.dataIndex)) },
    series: [{
      // 11, not 12: one row alone would leave a view without height
      type: "graph", layout: "none", left: across / 2 + 11, right: across / 2 + 11, top: down / 2 + 11, bottom: down / 2 + 11,
      roam: false, edgeSymbol: ["none", "arrow"], edgeSymbolSize: 8, cursor: "pointer", emphasis: { focus: "adjacency", scale: false },
      data: data.populations.map((entry, number) => ({
        id: String(number), name: plain(entry.name), x: places[number][0] * across, y: (places[number][1] + (rows - perColumn[number]) / 2) * down,
        symbol: CARD.outline, symbolSize: [Math.min(CARD.wide, across - 30), CARD.high],
        itemStyle: { color: css("--panel"), borderColor: number ? layerColour(number - 1) : css("--soft"), borderWidth: 2.5, borderType: number ? "solid" : "dashed" },
        label: { show: true, formatter: () => cardText(entry, number), color: css("--text"), fontSize: 11.5, lineHeight: 16, width: Math.min(CARD.wide, across - 30) - 12, overflow: "truncate" },
      })),
      links: data.edges.map(([from, to, axonCount], number) => ({
        source: String(from), target: String(to), id: `edge ${number}`,
        lineStyle: { width: 1.2 + 3 * Math.sqrt(axonCount / most), color: css("--soft"), opacity: 0.75, curveness: places[to][0] - places[from][0] > 1 ? 0.25 : 0 },
      })),
    }],
  };
}

function cardText(entry, number) {
  const bits = number ? `, ${entry.weight_bits}-bit weights` : "";
  return [
    cut(entry.name, 24), entry.shape.join(" × "), `${entry.levels ? plural(entry.levels, "level") : "readout"}${bits}`,
    number ? `${plural(entry.cores, "core")} (bound ${said(entry.bound)})` : "on the host",
    number ? `limited by ${entry.limiting}` : "",
  ].filter(Boolean).join("\n");
}

function layerTip(number) {
  const entry = data.populations[number];
  if (!number) return lines(entry.name, "encoder, on the host", `shape ${entry.shape.join(" × ")}, ${plural(entry.levels, "level")}`);
  return lines(entry.name, `${entry.kind}, shape ${entry.shape.join(" × ")}`, `${plural(entry.neurons, "neuron")}, ${said(entry.removed)} removed; ${plural(entry.synapses, "synapse")}`,
    `${plural(entry.cores, "core")}, lower bound ${said(entry.bound)}, limited by ${entry.limiting}`, exactness(number));
}

function edgeTip(number) {
  const [from, to, count] = data.edges[number];
  return lines(`${data.populations[from].name} → ${data.populations[to].name}`, `${plural(count, "axon")}`);
}

function layerTable() {
  const rows = data.populations.map((entry, number) => ({ entry, number })).slice(1);
  const of = (key) => ({ name: key.replaceAll("_", " "), number: true, value: ({ entry }) => entry[key] });
  return table("Layers", [
    { name: "layer", value: ({ entry }) => entry.name }, { name: "kind", value: ({ entry }) => entry.kind },
    { name: "shape", value: ({ entry }) => entry.shape.join(" × ") }, of("levels"), of("weight_bits"), of("fan_in"),
    ...(data.kind === "crossbar" ? [of("fold")] : []), of("neurons"), of("removed"), of("synapses"), of("cores"), of("bound"),
    { name: "limited by", value: ({ entry }) => entry.limiting }, { name: "exactness", value: ({ number }) => exactness(number) },
    { name: "ONNX tensor", value: ({ entry }) => entry.tensor },
  ], rows, ({ number }) => chooseLayer(number));
}
