"""The published table, made again: accuracy, noise, spikes, SOPs and cores of every quantized model of this folder.

``python -m models.results --data-dir DIR -o results`` compiles each, runs it on MNIST's test set with onnxruntime and with
chipsim, and writes results.md, results.csv and results.json with the authors' figures beside ours.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import chipsim
from chipsim.datasets import Dataset, load_dataset
from chipsim.files import write_atomically
from chipsim.report.plots import Network, published
from qsnnc import DoesNotFit, compile_model

HERE = Path(__file__).parent
CHIPS = ("xbar1152", str(HERE / "xbar1152-40x40.yaml"))  # the second where the first is too small
SHARES = (0.1, 0.2)  # of the encoder's spikes that are lost
SEEDS = range(5)
NONE = "\N{EN DASH}"

Row = dict[str, Any]


def quantized_models(directory: Path = HERE) -> list[Path]:
    """The folder's LeNets with levels, the plain ones by k and B, then the sparse ones."""
    found = []
    for path in sorted(directory.glob("lenet*.onnx")):
        facts = metadata(path)
        if "k" in facts:
            found.append(("sparse" in path.stem, int(facts["k"]), int(facts["B"]), path))
    return [path for *_, path in sorted(found)]


def metadata(path: Path) -> dict[str, str]:
    """What the exporter wrote into an ONNX file."""
    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


def compiled(path: Path) -> tuple[Any, str | None]:
    """The model on the first chip that holds it, and why the chip before did not."""
    refused = None
    for chip in CHIPS:
        try:
            return compile_model(path, chip), refused
        except DoesNotFit as error:
            refused = str(error)
    raise SystemExit(f"{path.name}: {refused}")


def row(path: Path, data: Dataset, threads: int | None) -> Row:
    """Everything that the table says of one model."""
    from models.evaluate import scores

    done, refused = compiled(path)
    mapping = done.mapping
    assert data.labels is not None
    expected = scores(path, data.images)
    result = chipsim.run(mapping, data, threads=threads)
    noise = {}
    for share in SHARES:
        runs = [chipsim.run(mapping, data, threads=threads, noise=share, seed=seed).accuracy for seed in SEEDS]
        noise[str(share)] = {
            "mean": float(np.mean(runs)),
            "deviation": float(np.std(runs, ddof=1)),
            "lowest": min(runs),
            "highest": max(runs),
            "seeds": list(SEEDS),
        }
    images = result.images
    encoder = mapping.encoder
    rates = {encoder.name: result.encoder_spikes / images / mapping.encoder_neurons}
    rates |= {
        e.name: e.spikes / images / e.neurons
        for e, layer in zip(result.layers, mapping.layers, strict=True)
        if layer.levels and e.neurons
    }
    facts = metadata(path)
    j = result.to_json()
    return {
        "model": path.stem,
        "sha256": mapping.model_sha256,
        "k": int(facts["k"]),
        "B": int(facts["B"]),
        "exactness": mapping.exactness,
        "ann_accuracy": float((expected.argmax(axis=1) == data.labels).mean()),
        "snn_accuracy": result.accuracy,
        "images_that_differ": int((result.scores != expected).any(axis=1).sum()),
        "noise": noise,
        "neurons": mapping.encoder_neurons + sum(layer.neurons for layer in mapping.layers if layer.levels),
        "removed": sum(layer.removed for layer in mapping.layers),
        "encoder_spikes": j["encoder_spikes_per_image"],
        "spikes": j["spikes_per_image"],
        "paper_spikes": j["paper_spikes_per_image"],
        "sops": j["sops_per_image"],
        "paper_sops": j["paper_sops_per_image"],
        "chip": mapping.chip.name,
        "cores": mapping.cores,
        "cores_bound": done.cores_bound,
        "refused": refused,
        "firing_rates": rates,
    }


def full_precision(data: Dataset, directory: Path = HERE) -> Row | None:
    """Accuracy of the full-precision model, where there is one."""
    from models.evaluate import evaluate

    path = directory / "lenet-fp32.onnx"
    return {"model": path.stem, "ann_accuracy": evaluate(path, data)["accuracy"]} if path.exists() else None


def percent(value: float | None) -> str:
    """Two digits after the point."""
    return NONE if value is None else f"{100 * value:.2f}"


def noisy(found: Row) -> str:
    """Mean and standard deviation of the seeds."""
    return f"{percent(found['mean'])} ± {percent(found['deviation'])}"


def markdown(table: Row) -> str:
    """Ours and theirs, line under line; then the firing rates, and what was refused."""
    given = published()
    theirs = given.networks
    shares = [str(share) for share in SHARES]
    columns = "network|ANN|SNN|10 % lost|20 % lost|neurons|paper spikes|SOPs|paper SOPs|cores (bound)|chip".split("|")
    lines = [
        f"# Results on {table['dataset']} ({table['split']}), {table['images']:,} images",
        "",
        "Accuracies in %, counts are means an image; in *italics* the published figures:",
        f"{given.source}.",
        "ANN is onnxruntime, SNN chipsim on the compiled mapping. 10 and 20 % of the encoder's spikes lost: mean and",
        "standard deviation of five seeds. Neurons and paper spikes include the encoder's.",
        "",
        f"| {' | '.join(columns)} |",
        "| --- |" + " --- |" * (len(columns) - 1),
    ]
    if table["full_precision"]:
        full = table["full_precision"]
        lines.append(f"| full precision ({full['model']}) | {percent(full['ann_accuracy'])} |" + " |" * 9)
        lines.append(f"| *published* | *{percent(given.full_precision)}* |" + " |" * 9)
    shown = set()
    for r in table["networks"]:
        cells = [f"k={r['k']}, B={r['B']} ({r['model']})", percent(r["ann_accuracy"]), percent(r["snn_accuracy"])]
        cells += [noisy(r["noise"][share]) for share in shares]
        cells += [f"{r[key]:,.0f}" for key in ("neurons", "paper_spikes", "sops", "paper_sops")]
        cells += [f"{r['cores']:,} ({r['cores_bound']:,})", r["chip"]]
        lines.append(f"| {' | '.join(cells)} |")
        other = theirs.get((r["k"], r["B"]))
        if other and (r["k"], r["B"]) not in shown:
            lines.append(_published_line(other))
        shown.add((r["k"], r["B"]))
    lines += ["", "## Firing rates", "", "Spikes a neuron and image, in %.", ""]
    layers = list(table["networks"][0]["firing_rates"])
    lines += [f"| network | {' | '.join(layers)} |", "| --- |" + " --- |" * len(layers)]
    for r in table["networks"]:
        cells = [f"{100 * r['firing_rates'][name]:.1f}" if name in r["firing_rates"] else NONE for name in layers]
        lines.append(f"| {r['model']} | {' | '.join(cells)} |")
    wrong = [r["model"] for r in table["networks"] if r["images_that_differ"]]
    lines += ["", f"Images whose SNN scores differ from the ANN's: {', '.join(wrong) or 'none, in every network'}."]
    certified = [r["model"] for r in table["networks"] if r["exactness"] == "certified"]
    lines += [f"Certified equal on every input: {', '.join(certified)}."]
    lines += [f"\n{r['model']} needs a larger grid: {r['refused']}" for r in table["networks"] if r["refused"]]
    return "\n".join(lines) + "\n"


def _published_line(other: Network) -> str:
    counts = (other.neurons, other.paper_spikes, None, other.paper_sops)
    cells = ["published", percent(other.ann_accuracy), percent(other.accuracy)]
    cells += [percent(other.noise.get(share)) for share in SHARES]
    cells += [NONE if count is None else f"{count:,.0f}" for count in counts] + [NONE, NONE]
    return "| " + " | ".join(f"*{cell}*" if cell != NONE else "" for cell in cells) + " |"


def csv_text(table: Row) -> str:
    """One line a network, the published ones below."""
    theirs = published().networks
    names = [
        "model", "k", "B", "ann_accuracy", "snn_accuracy",
        *(f"noise_{share}_{part}" for share in SHARES for part in ("mean", "deviation")),
        "neurons", "removed", "encoder_spikes", "spikes", "paper_spikes", "sops", "paper_sops", "chip", "cores",
        "cores_bound", "exactness", "images_that_differ", "sha256",
    ]  # fmt: skip
    rates = [f"rate_{layer}" for layer in table["networks"][0]["firing_rates"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*names, *rates], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for r in table["networks"]:
        flat = {f"noise_{share}_{part}": r["noise"][str(share)][part] for share in SHARES for part in ("mean", "deviation")}
        writer.writerow(r | flat | {f"rate_{layer}": rate for layer, rate in r["firing_rates"].items()})
    if table["full_precision"]:
        writer.writerow(table["full_precision"])
    for (k, b), other in theirs.items():
        noise = {f"noise_{share}_mean": accuracy for share, accuracy in other.noise.items()}
        counts = {key: getattr(other, key) for key in ("neurons", "paper_spikes", "paper_sops")}
        writer.writerow({"model": "published", "k": k, "B": b, "snn_accuracy": other.accuracy, **counts, **noise})
    return text.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Make the table."""
    p = argparse.ArgumentParser(prog="python -m models.results", description=__doc__)
    p.add_argument("models", nargs="*", type=Path, help="ONNX files; all quantized LeNets of this folder without any")
    p.add_argument("--dataset", default="mnist", help="mnist, digits or an npz file")
    p.add_argument("--data-dir", help="directory of the four MNIST files")
    p.add_argument("--limit", type=int, help="only the first N images")
    p.add_argument("--threads", type=int)
    p.add_argument("-o", "--output", type=Path, default=Path("results"), help="folder for the three files")
    options = p.parse_args(arguments)
    data = load_dataset(options.dataset, data_dir=options.data_dir).head(options.limit)
    table: Row = {
        "schema": "qsnnc-results/1",
        "dataset": data.name,
        "split": data.split,
        "images": len(data),
        "published": published().source,
        "full_precision": full_precision(data),
        "networks": [],
    }
    for path in options.models or quantized_models():
        table["networks"].append(row(path, data, options.threads))
        last = table["networks"][-1]
        print(f"{path.stem}: {percent(last['snn_accuracy'])} %, {last['cores']} cores", file=sys.stderr, flush=True)
    options.output.mkdir(exist_ok=True)
    for name, text in (
        ("results.json", json.dumps(table, indent=1) + "\n"),
        ("results.md", markdown(table)),
        ("results.csv", csv_text(table)),
    ):
        write_atomically(options.output / name, text.encode())


if __name__ == "__main__":
    main()
