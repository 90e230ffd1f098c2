"""Reproduce the published table: accuracy, noise, spikes, SOPs and cores of every quantized network of this folder.

  python -m models.results --data-dir DIR -o results

compiles each network, runs MNIST's test set with onnxruntime and with chipsim, and writes results.md,
results.csv and results.json with the published figures beside.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

import chipsim
from chipsim.datasets import Dataset, load_dataset
from chipsim.errors import InputError, UsageError
from chipsim.files import write_atomically
from chipsim.paths import check_output
from chipsim.report.plots import Network, published
from models.cards import WIDTH
from models.command import Parser, run, whole
from qsnnc import DoesNotFit, compile_model

HERE = Path(__file__).parent
CHIPS = ("xbar1152", str(HERE / "xbar1152-40x40.yaml"))  # the second if the first is too small
SHARES = (0.1, 0.2)  # shares of the encoder's spikes that are lost
SEEDS = range(5)
NONE = "\N{EN DASH}"

Row = dict[str, Any]


def quantized_models(directory: Path = HERE) -> list[Path]:
    """Return the quantized LeNets of a folder, by k and B, the sparse ones last."""
    found = []
    for path in sorted(directory.glob("lenet*.onnx")):
        facts = metadata(path)
        if "k" in facts:
            found.append(("sparse" in path.stem, int(facts["k"]), int(facts["B"]), path))
    return [path for *_, path in sorted(found)]


def metadata(path: Path) -> dict[str, str]:
    """Return what the exporter wrote into an ONNX file: k, B, seed and so on."""
    from models.evaluate import metadata as entries
    from models.evaluate import read_network

    return entries(read_network(path))


def compiled(path: Path) -> tuple[Any, str | None]:
    """Compile for the first of the chips that is large enough; say too why the one before was not."""
    refused = None
    for chip in CHIPS:
        try:
            return compile_model(path, chip), refused
        except DoesNotFit as error:
            refused = str(error)
    raise InputError(path.name, f"fits none of the chips of this table: {refused}", code="does-not-fit")


def row(path: Path, data: Dataset, threads: int | None) -> Row:
    """Measure one network: everything that the table says about it."""
    from models.evaluate import scores

    facts = metadata(path)
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
    """Return the accuracy of the full-precision network, if the folder has one."""
    from models.evaluate import evaluate

    path = directory / "lenet-fp32.onnx"
    return {"model": path.stem, "ann_accuracy": evaluate(path, data)["accuracy"]} if path.exists() else None


def percent(value: float | None) -> str:
    """Return a share in percent, with two decimals."""
    return NONE if value is None else f"{100 * value:.2f}"


def noisy(found: Row) -> str:
    """Return the mean and standard deviation over the seeds."""
    return f"{percent(found['mean'])} ± {percent(found['deviation'])}"


def markdown(table: Row) -> str:
    """Return the table with the published figures below each network, the firing rates, and what did not fit."""
    given = published()
    theirs = given.networks
    shares = [str(share) for share in SHARES]
    columns = "network|ANN|SNN|10 % lost|20 % lost|neurons|paper spikes|SOPs|paper SOPs|cores (bound)|chip".split("|")
    lines = [
        f"# Results on {table['dataset']} ({table['split']}), {table['images']:,} images",
        "",
        textwrap.fill(
            f"Accuracies are in %, counts are means per image; *italics*: published figures, {given.source}. ANN: the ONNX "
            "file in onnxruntime. SNN: the compiled mapping in chipsim. 10 % and 20 % lost: accuracy with that share of the "
            "encoder's spikes dropped at random, mean and standard deviation of five seeds. Neurons and paper spikes "
            "include the encoder's.",
            WIDTH,
            break_on_hyphens=False,
        ),
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
    lines += ["", "## Firing rates", "", "Share of neurons that fire, in %: mean over the images.", ""]
    layers = list(table["networks"][0]["firing_rates"])
    lines += [f"| network | {' | '.join(layers)} |", "| --- |" + " --- |" * len(layers)]
    for r in table["networks"]:
        cells = [f"{100 * r['firing_rates'][name]:.1f}" if name in r["firing_rates"] else NONE for name in layers]
        lines.append(f"| {r['model']} | {' | '.join(cells)} |")
    wrong = [r["model"] for r in table["networks"] if r["images_that_differ"]]
    certified = [r["model"] for r in table["networks"] if r["exactness"] == "certified"]
    remarks = [
        f"Networks with an image whose SNN scores differ from the ANN's: {', '.join(wrong) or 'none'}.",
        f"Proved to be bit-exact on every input (certified): {', '.join(certified) or 'none'}.",
        *(
            f"{r['model']} does not fit {CHIPS[0]} and was compiled for a larger grid: {r['refused']}"
            for r in table["networks"]
            if r["refused"]
        ),
    ]
    lines += [line for text in remarks for line in ("", textwrap.fill(text, WIDTH, break_on_hyphens=False))]
    return "\n".join(lines) + "\n"


def _published_line(other: Network) -> str:
    counts = (other.neurons, other.paper_spikes, None, other.paper_sops)
    cells = ["published", percent(other.ann_accuracy), percent(other.accuracy)]
    cells += [percent(other.noise.get(share)) for share in SHARES]
    cells += [NONE if count is None else f"{count:,.0f}" for count in counts] + [NONE, NONE]
    return "| " + " | ".join(f"*{cell}*" if cell != NONE else "" for cell in cells) + " |"


def csv_text(table: Row) -> str:
    """Return the table as CSV: one line per network, the published ones last."""
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
    """Measure the networks and write the three files."""
    p = Parser("results", __doc__)
    p.add_argument(
        "models", nargs="*", type=Path, metavar="FILE.onnx", help="[default: every quantized LeNet of this folder]"
    )
    p.add_argument("--dataset", default="mnist", help="mnist, digits or an npz file with labels [default: mnist]")
    p.add_argument("--data-dir", metavar="DIR", help="directory of the four MNIST files; without it they are downloaded")
    p.add_argument("--limit", type=whole(1), metavar="N", help="use the first N images only")
    p.add_argument("--threads", type=whole(1), metavar="N", help="threads of the simulator [default: all cores]")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the three files")
    options = p.parse_args(arguments)
    paths = options.models or quantized_models()
    _check_inputs(paths, options.output)
    data = load_dataset(options.dataset, data_dir=options.data_dir, limit=options.limit)
    if data.labels is None:
        raise InputError(
            options.dataset, "has no labels, and accuracy needs them; add an array 'labels'", code="data-labels"
        )
    table: Row = {
        "schema": "qsnnc-results/1",
        "dataset": data.name,
        "split": data.split,
        "images": len(data),
        "published": published().source,
        "full_precision": full_precision(data),
        "networks": [],
    }
    for path in paths:
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


def _check_inputs(paths: list[Path], output: Path) -> None:
    """Refuse files that are not this folder's kind of network, and a folder that cannot be written, before the work."""
    for path in paths:
        if "k" not in metadata(path):
            raise UsageError(str(path), "is a network of full precision; the table is of quantized ones", code="model-full")
    check_output(output / "results.json" if output.is_dir() else output)
    if output.exists() and not output.is_dir():
        raise InputError(str(output), "is not a directory; name one for the three files", code="output-unwritable")


if __name__ == "__main__":
    run("results", main)
