"""Accuracy against operations of several sparse networks, all on the validation images.

``python -m models.curve runs/sparse-*.best.pt --data-dir DIR -o models/sparse-curve.json`` prints the run with the
best accuracy among those within the limits on spikes and operations; ``--figure FILE.svg`` draws the curve.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

#: an image: spikes with the encoder's, operations, operations by the paper's count
LIMITS = {"paper_spikes": 3_500, "sops": 1.2e6, "paper_sops": 6.0e6}
RESERVE = 0.97  # the test images may fire a little more than the validation images


def penalty(run: str) -> float:
    """What a spike cost in training, from the run's command file."""
    command = Path(f"{run}.command")
    found = re.search(r"--penalty (\S+)", command.read_text()) if command.exists() else None
    return float(found[1]) if found else 0.0


def draw(points: list[dict[str, Any]], target: str) -> None:
    """Accuracy over operations, each point with its penalty and spikes; the limit on operations as a line."""
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
    axes.set_xlabel("synaptic operations an image, millions (log scale; dashed: the goal)")
    axes.set_ylabel("accuracy on 5,000 validation images, %")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None} if target.endswith("svg") else None)


def main() -> None:
    """Evaluate, write the curve, print the choice."""
    from models.evaluate import evaluate, load
    from models.export import build, load_checkpoint

    p = argparse.ArgumentParser(prog="python -m models.curve", description=__doc__)
    p.add_argument("checkpoints", nargs="+")
    p.add_argument("--data-dir")
    p.add_argument("-o", "--output", default="models/sparse-curve.json")
    p.add_argument("--figure", help="file to draw it to")
    options = p.parse_args()
    data = load("mnist", "validation", options.data_dir)
    points = []
    with tempfile.TemporaryDirectory() as directory:
        for path in options.checkpoints:
            model = load_checkpoint(path)
            run = Path(path).name.removesuffix(".best.pt")
            file = Path(directory, f"{run}.onnx")
            file.write_bytes(build(model, {}).SerializeToString(deterministic=True))
            found = evaluate(file, data)
            keys = ("split", "accuracy", "spikes_by_layer", *LIMITS)
            points.append(
                {
                    "run": run,
                    "penalty": penalty(path.removesuffix(".best.pt")),
                    "widths": list(model.widths),
                    **{key: found[key] for key in keys},
                }
            )
    points.sort(key=lambda point: point["sops"])
    Path(options.output).write_text(json.dumps(points, indent=1) + "\n")
    if options.figure:
        draw(points, options.figure)
    within = [p for p in points if all(p[key] <= RESERVE * limit for key, limit in LIMITS.items())]
    print(max(within or points[:1], key=lambda point: point["accuracy"])["run"])


if __name__ == "__main__":
    main()
