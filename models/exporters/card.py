"""The card of an exported network: what its exporter's file scores on the digits, and what the chip scores.

``python -m models.exporters.card models/exporters/torch_fakequant.onnx`` compiles the file, runs the test half and writes
the card beside it. Needs none of the exporters; their versions are named where they are installed.
"""

from __future__ import annotations

import argparse
import hashlib
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import chipsim
from chipsim.datasets import Dataset, load_dataset
from chipsim.mapping.pixels import prepare
from chipsim.qonnx_ops import rewrite
from models.split import validation_part
from qsnnc import compile_model
from qsnnc.frontend.model.reference import session

#: what each training needs beside torch
TOOLS = {
    "brevitas_qcdq": ("torch", "brevitas"),
    "brevitas_qonnx": ("torch", "brevitas", "qonnx"),
    "ort_static": ("torch", "onnxruntime", "onnxscript"),
    "torch_fakequant": ("torch",),
}
#: as the scripts have them
SEEDS = {"brevitas_qcdq": 1, "torch_fakequant": 2, "ort_static": 3, "brevitas_qonnx": 4}
#: networks that met the test half before
NOTES = {
    "brevitas_qonnx": "a first network with 2 bits in the last matrix met the test half once: 94.10 % by onnxruntime, "
    "93.99 % on the chip; two classes of one image had the same sum, and float rounding chose between them",
}


def scores(path: Path, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What the file says of images: onnxruntime, optimisation off, QONNX's operators spelled in standard ones."""
    run = session(rewrite(onnx.load(str(path))))
    return np.asarray(run.run(None, {run.get_inputs()[0].name: images})[0])


def accuracy(path: Path, data: Dataset, rule: chipsim.InputSpec) -> float:
    """Share of images that the file itself names rightly."""
    return float((scores(path, prepare(data.images, rule, data.name)).argmax(axis=1) == data.labels).mean())


def card(path: Path, minutes: str) -> str:
    """Measure a file and write its card, as Markdown."""
    done = compile_model(path)
    mapping, test = done.mapping, load_dataset("digits", "test")
    result = chipsim.run(mapping, test)
    found = chipsim.compare(mapping, path, test)
    name = path.stem
    tools = ", ".join(f"{tool} {metadata.version(tool)}" for tool in TOOLS[name] if util.find_spec(tool))
    rows = {
        "SHA-256": f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`",
        "Written by": f"`python -m models.exporters.{name} models/exporters/{name}.onnx`, {minutes} on one core",
        "Seed": SEEDS[name],
        "Tools": tools,
        "Data": "800 images of the digits' training half, augmented; 98 more were only looked at",
        "Held out": f"{100 * accuracy(path, validation_part('digits'), mapping.input):.2f} % of the 98",
        "The file by onnxruntime": f"{100 * accuracy(path, test, mapping.input):.2f} % of the digits' test half",
        "On the chip": f"{100 * float(result.accuracy or 0):.2f} % of the same {result.images}",
        "Levels and scores compared": f"{found.values:,}, {'all equal' if found.equal else found.difference}",
        "Exactness": mapping.exactness,
        "Cores": f"{mapping.cores:,} of `{mapping.chip.name}`; at least {done.cores_bound:,}",
        "An image": f"{result.spikes / result.images:,.0f} spikes, {result.sops / result.images:,.0f} SOPs",
    }
    if name in NOTES:
        rows["Before it"] = NOTES[name]
    return f"# {name}\n\n| | |\n| --- | --- |\n" + "".join(f"| {key} | {value} |\n" for key, value in rows.items())


def main() -> None:
    """Write a card beside each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--took", default="about a minute", help="how long the training took")
    options = parser.parse_args()
    for path in options.files:
        path.with_suffix(".md").write_text(card(path, options.took))


if __name__ == "__main__":
    main()
