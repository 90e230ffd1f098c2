"""Accuracy against operations of several sparse networks, all on the validation images.

``python -m models.curve runs/sparse-*.best.pt --data-dir DIR -o models/sparse-curve.json``; prints the run
with the best accuracy among those within the limits on spikes and operations.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

#: an image: spikes with the encoder's, operations, operations by the paper's count
LIMITS = {"paper_spikes": 3_500, "sops": 1.2e6, "paper_sops": 6.0e6}
RESERVE = 0.97  # the test images may fire a little more than the validation images


def main() -> None:
    """Evaluate, write the curve, print the choice."""
    from models.evaluate import evaluate, load
    from models.export import build, load_checkpoint

    p = argparse.ArgumentParser(prog="python -m models.curve", description=__doc__)
    p.add_argument("checkpoints", nargs="+")
    p.add_argument("--data-dir")
    p.add_argument("-o", "--output", default="models/sparse-curve.json")
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
            points.append({"run": run, "widths": list(model.widths), **{key: found[key] for key in keys}})
    points.sort(key=lambda point: point["sops"])
    Path(options.output).write_text(json.dumps(points, indent=1) + "\n")
    within = [p for p in points if all(p[key] <= RESERVE * limit for key, limit in LIMITS.items())]
    print(max(within or points[:1], key=lambda point: point["accuracy"])["run"])


if __name__ == "__main__":
    main()
