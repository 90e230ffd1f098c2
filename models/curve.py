"""Compare sparse networks: accuracy against synaptic operations, on the validation images.

  python -m models.curve runs/sparse-*.best.pt --data-dir DIR -o models/sparse-curve.json

writes a point per network and prints the run with the best accuracy among those within the limits on spikes
and operations. ``--figure FILE.svg`` draws the points.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from chipsim.errors import InputError
from chipsim.files import write_atomically
from chipsim.paths import check_output
from models.command import Parser, run

#: per image: spikes with the encoder's, operations, operations by the paper's count
LIMITS = {"paper_spikes": 3_500, "sops": 1.2e6, "paper_sops": 6.0e6}
RESERVE = 0.97  # the test images may fire a little more than the validation images


def penalty(run: str) -> float:
    """Return the penalty on a spike in a run's training, from its command file; 0 without one."""
    command = Path(f"{run}.command")
    found = re.search(r"--penalty (\S+)", command.read_text()) if command.exists() else None
    return float(found[1]) if found else 0.0


def draw(points: list[dict[str, Any]], target: str) -> None:
    """Draw accuracy over operations, each point with its penalty and spikes, and the limit on operations as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    points = sorted(points, key=lambda point: float(point["sops"]))
    sops = [point["sops"] / 1e6 for point in points]
    accuracy = [100 * point["accuracy"] for point in points]
    axes.plot(sops, accuracy, "o", color="#1f5f99")
    for number, (point, x, y) in enumerate(zip(points, sops, accuracy, strict=True)):
        words = f"penalty {point['penalty']:g}" if point["penalty"] else "no penalty"
        letter = chr(ord("a") + number)
        note = f"{letter}  {words}: {point['paper_spikes']:,.0f} spikes, {sum(point['widths']):,} channels"
        axes.annotate(letter, (x, y), (0, 5 + 9 * (number % 2)), textcoords="offset points", ha="center", fontsize=8)
        axes.plot([], [], " ", label=note)
    figure.legend(loc="outside right upper", fontsize=7, frameon=False, handlelength=0, handletextpad=0)
    axes.axvline(LIMITS["sops"] / 1e6, color="#b5541c", linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlim(min(sops) * 0.8, max(sops) * 1.3)
    axes.margins(y=0.25)
    axes.set_xlabel("synaptic operations per image, millions (log scale; dashed: the limit)")
    axes.set_ylabel("accuracy on 5,000 validation images, %")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None} if target.endswith("svg") else None)


def main(arguments: list[str] | None = None) -> None:
    """Evaluate the networks, write the curve and print the choice."""
    p = Parser("curve", __doc__)
    p.add_argument("checkpoints", nargs="+", metavar="FILE.best.pt", help="weights of quantized runs")
    p.add_argument("--data-dir", metavar="DIR", help="directory of the four MNIST files; without it they are downloaded")
    p.add_argument("-o", "--output", required=True, metavar="FILE.json", help="file for the points of the curve")
    p.add_argument("--figure", metavar="FILE.svg", help="file for a drawing of it")
    options = p.parse_args(arguments)
    for path in (options.output, options.figure):
        check_output(path)
    if options.figure:
        import matplotlib  # noqa: F401  # before the work, if it is not installed
    points = sorted(measure(options.checkpoints, options.data_dir), key=lambda point: float(point["sops"]))
    write_atomically(options.output, (json.dumps(points, indent=1) + "\n").encode())
    if options.figure:
        draw(points, options.figure)
    within = [p for p in points if all(p[key] <= RESERVE * limit for key, limit in LIMITS.items())]
    print(max(within or points[:1], key=lambda point: float(point["accuracy"]))["run"])


def measure(paths: list[str], data_dir: str | None) -> list[dict[str, Any]]:
    """Return accuracy, spikes and operations of each network on MNIST's validation images.

    Raises
    ------
    InputError
        A file is no checkpoint, or of full precision.
    """
    from models.evaluate import evaluate, load
    from models.export import export_bytes, load_checkpoint

    data = load("mnist", "validation", data_dir)
    points = []
    with tempfile.TemporaryDirectory() as directory:
        for path in paths:
            model = load_checkpoint(path)
            if model.quantization is None:
                raise InputError(path, "is a network of full precision, which has no spikes", code="checkpoint-full")
            run = Path(path).name.removesuffix(".best.pt")
            file = Path(directory, "network.onnx")
            file.write_bytes(export_bytes(model, {}))
            found = evaluate(file, data)
            keys = ("split", "accuracy", "spikes_by_layer", *LIMITS)
            price = penalty(path.removesuffix(".best.pt"))
            points.append({"run": run, "penalty": price, "widths": list(model.widths), **{key: found[key] for key in keys}})
    return points


if __name__ == "__main__":
    run("curve", main)
