"""Write the card of an exported network: its accuracy on the digits in onnxruntime and on the chip.

  python -m models.exporters.card models/exporters/torch_fakequant.onnx

compiles the file, runs the test half and writes the card beside it. None of the exporters is needed; the versions
of those that are installed are named.
"""

from __future__ import annotations

import hashlib
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import chipsim
from chipsim.datasets import Dataset, load_dataset
from chipsim.errors import InputError
from chipsim.files import write_atomically
from chipsim.mapping.pixels import prepare
from chipsim.paths import check_output
from chipsim.qonnx_ops import rewrite
from models.command import Parser, run
from models.split import validation_part
from qsnnc import compile_model
from qsnnc.frontend.model.reference import session

#: the packages that each training needs
TOOLS = {
    "brevitas_qcdq": ("torch", "brevitas"),
    "brevitas_qonnx": ("torch", "brevitas", "qonnx"),
    "ort_static": ("torch", "onnxruntime", "onnxscript"),
    "torch_fakequant": ("torch",),
}
#: the seeds of the scripts
SEEDS = {"brevitas_qcdq": 1, "torch_fakequant": 2, "ort_static": 3, "brevitas_qonnx": 4}
#: earlier networks that met the test half
NOTES = {
    "brevitas_qonnx": "2 bits in the last matrix: 94.10 % in onnxruntime, 93.99 % on the chip. Two classes of one image had "
    "the same sum, and float rounding chose between them",
}


def scores(path: Path, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the file's scores of images: onnxruntime, optimisation off, QONNX's operators replaced by standard ones."""
    run = session(rewrite(onnx.load(str(path))))
    return np.asarray(run.run(None, {run.get_inputs()[0].name: images})[0])


def accuracy(path: Path, data: Dataset, rule: chipsim.InputSpec) -> float:
    """Return the accuracy of the file itself."""
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
        "Made by": f"`python -m models.exporters.{name} OUT.onnx`, {minutes} on one core",
        "Seed": SEEDS[name],
        "Tools": tools,
        "Data": "800 images of the digits' training half, augmented; 98 more were held out",
        "Accuracy, held out": f"{100 * accuracy(path, validation_part('digits'), mapping.input):.2f} % of the 98",
        "Accuracy, onnxruntime": f"{100 * accuracy(path, test, mapping.input):.2f} % of the digits' test half",
        "Accuracy, chip": f"{100 * float(result.accuracy or 0):.2f} % of the same {result.images}",
        "Compared values": f"{found.values:,} levels and scores, {'all equal' if found.equal else found.difference}",
        "Exactness": mapping.exactness,
        "Cores": f"{mapping.cores:,} of `{mapping.chip.name}`; lower bound {done.cores_bound:,}",
        "Per image": f"{result.spikes / result.images:,.0f} spikes, {result.sops / result.images:,.0f} SOPs",
    }
    if name in NOTES:
        rows["Earlier network"] = NOTES[name]
    return f"# {name}\n\n| | |\n| --- | --- |\n" + "".join(f"| {key} | {value} |\n" for key, value in rows.items())


def main(arguments: list[str] | None = None) -> None:
    """Write a card beside each file."""
    p = Parser("exporters.card", __doc__)
    p.add_argument("files", nargs="+", type=Path, metavar="FILE.onnx", help="files that the scripts of this folder made")
    p.add_argument("--took", default="about a minute", help="how long the training took [default: about a minute]")
    options = p.parse_args(arguments)
    for path in options.files:
        if path.stem not in TOOLS:
            raise InputError(str(path), f"is made by no script here; allowed: {', '.join(TOOLS)}", code="exporter-unknown")
        check_output(path.with_suffix(".md"))
    for path in options.files:
        write_atomically(path.with_suffix(".md"), card(path, options.took).encode())


if __name__ == "__main__":
    run("exporters.card", main)
