// The search field: layers, elements by channel and position, cores, neurons, nodes and tensors of the model.

const MOST_FOUND = 30;

function startSearch() {
  const query = document.getElementById("query"), list = document.getElementById("found");
  let found = [], at = 0;
  const mark = () => [...list.children].forEach((item, number) => item.setAttribute("aria-selected", String(number === at)));
  const close = () => { list.replaceChildren(); found = []; };
  const go = (entry) => { entry.go(); close(); };
  const look = async () => {
    found = await search(query.value);
    at = 0;
    list.replaceChildren(...found.map((entry) => make("li", {}, make("button", { type: "button", onclick: () => go(entry) }, entry.text))));
    if (!found.length && query.value.trim()) list.append(make("li", {}, "nothing found"));
    mark();
  };
  query.addEventListener("input", look);
  query.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "ArrowDown") at = Math.min(found.length - 1, at + 1);
    if (event.key === "ArrowUp") at = Math.max(0, at - 1);
    mark();
  });
  document.getElementById("search").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!found.length) await look();
    if (found[at]) go(found[at]);
  });
  document.addEventListener("pointerdown", (event) => { if (!event.target.closest("#search")) close(); });
}

/** Split a query into a name and the whole numbers behind it. */
function parsed(text) {
  const words = text.trim().split(/[\s,;()[\]]+/).filter(Boolean);
  let first = words.length;
  while (first > 0 && /^\d+$/.test(words[first - 1])) first -= 1;
  return { name: words.slice(0, first).join(" ").toLowerCase(), numbers: words.slice(first).map(Number) };
}

async function search(text) {
  const { name, numbers } = parsed(text);
  if (!name && !numbers.length) return [];
  const found = [...searchCores(name, numbers), ...await searchNeuron(name, numbers)];
  if (!name) return found;
  data.populations.forEach((entry, number) => {
    if (!entry.name.toLowerCase().includes(name) && !entry.tensor.toLowerCase().includes(name)) return;
    found.push(...elementResults(number, numbers, entry.name));
  });
  for (const node of data.nodes ?? []) {
    const names = [node.name, node.op, ...node.outputs];
    if (node.population === null || !names.some((each) => each.toLowerCase().includes(name))) continue;
    found.push(...elementResults(node.population, numbers, `${node.op} ${node.name || node.outputs[0]} in ${data.populations[node.population].name}`));
  }
  const exact = (entry) => (entry.name === name ? 0 : 1);
  return found.sort((a, b) => exact(a) - exact(b)).slice(0, MOST_FOUND);
}

function searchCores(name, numbers) {
  if (name && name !== "core") return [];
  const [x, y] = numbers;
  if (numbers.length === 2) {
    const core = state.cores.x.findIndex((at, i) => at === x && state.cores.y[i] === y);
    return core < 0 ? [] : [coreResult(core)];
  }
  return numbers.length === 1 && x < state.count ? [coreResult(x)] : [];
}

function coreResult(core) {
  return { text: `${coreSaid(core)}: ${layerOf(core).name}`, go() {
    select({ core, population: state.cores.layer[core] + 1, element: null });
    state.picture.show(core);
  } };
}

async function searchNeuron(name, numbers) {
  if (name !== "neuron" || numbers.length !== 1) return [];
  const { offset, element } = await neurons(), [number] = numbers;
  if (number >= offset[offset.length - 1]) return [];
  const core = lastNotAbove(offset, number), population = state.cores.layer[core] + 1, entry = data.populations[population];
  return [{ text: `neuron ${number}: ${coreSaid(core)}, ${entry.name} ${elementSaid(population, element[number])}`,
    go: () => chooseFeature(population, Math.floor(element[number] / entry.per_feature)) }];
}

/** A layer, one of its channels, an element, or one of its levels (counted from 1): as many numbers as there are. */
function elementResults(population, numbers, text) {
  const entry = data.populations[population], { shape } = entry, name = entry.name.toLowerCase();
  const inside = numbers.slice(0, shape.length).every((at, axis) => at < shape[axis]);
  if (!inside || numbers.length > shape.length + 1) return [];
  if (numbers.length < shape.length) {
    const channel = shape.length === 3 && numbers.length ? numbers[0] : 0;
    const where = numbers.length && shape.length === 3 ? `, channel ${channel}` : "";
    return [{ name, text: text + where, go: () => select({ population, channel, element: null, core: null }) }];
  }
  const level = numbers[shape.length] ?? null;
  if (level !== null && (level < 1 || level > entry.per_feature)) return [];
  const feature = ravel(numbers.slice(0, shape.length), shape);
  const where = elementSaid(population, feature * entry.per_feature + (level ?? 1) - 1, level !== null);
  return [{ name, text: `${text}, ${where}`, go: () => chooseFeature(population, feature, level === null ? null : level - 1) }];
}
