"""Write the card of a spiking network: the framework's spike counts against the chip's, image by image, and figures over T.

    python -m models.spiking.card models/spiking/digits.nir --dataset digits

reads the framework's counts of the test images from the npz beside the file (`models.spiking.train --outputs`), compiles the
file for several numbers of steps, runs the test images on each and writes the card beside it. The one-step LeNet of
models/lenet.onnx stands in the last row. torch is not needed.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

import chipsim
from chipsim.datasets import Dataset, load_dataset
from chipsim.files import write_atomically
from models.command import run
from qsnnc import Compilation, compile_model
from qsnnc.nir.options import NirOptions

STEPS = (1, 2, 4, 6, 8, 12, 16)


def compiled(path: Path, steps: int) -> Compilation:
    """Compile a file that snntorch wrote, for images by regular rate coding."""
    return compile_model(path, nir=NirOptions(semantics="snntorch", steps=steps, input="rate", rate="regular"))


def row(name: str, done: Compilation, data: Dataset) -> str:
    """Run the test images; return a row of the table."""
    found = chipsim.run(done.mapping, data)
    per_image = (found.encoder_spikes + found.spikes) / found.images, found.sops / found.images
    accuracy = 100 * float(found.accuracy or 0)
    return f"| {name} | {accuracy:.2f} % | {per_image[0]:,.0f} | {per_image[1]:,.0f} | {done.cores} |\n"


def card(path: Path, trained_for: int, name: str, data_dir: str | None, made_by: str) -> str:
    """Measure a file and write its card, as Markdown."""
    data = load_dataset(name, "test", data_dir)
    done = compiled(path, trained_for)
    with np.load(path.with_suffix(".npz")) as file:
        counts, labels = file["counts"], file["labels"]
    found = chipsim.run(done.mapping, data)
    same = int((found.potentials == counts).all(axis=1).sum())
    framework = 100 * float((counts.argmax(axis=1) == labels).mean())
    rows = {
        "SHA-256": f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`",
        "Made by": made_by,
        "Tools": "torch 2.13.0, snntorch 1.0.0, nirtorch 2.6, nir 1.0.8",
        "Network": "1x28x28 - 8C5/2 - 16C5/2 - 10, weights of 4 bits, leak 1/2, threshold 1, reset by subtraction",
        "Input": "regular rate coding",
        f"Accuracy, snntorch, T = {trained_for}": f"{framework:.2f} % of the {len(data):,} test images of {name}",
        f"Accuracy, chip, T = {trained_for}": f"{100 * float(found.accuracy or 0):.2f} % of the same",
        "Equal spike counts": f"{same:,} of {len(data):,} images, all ten outputs",
        "Exactness": done.mapping.exactness,
    }
    text = f"# {path.stem}\n\n| | |\n| --- | --- |\n" + "".join(f"| {key} | {value} |\n" for key, value in rows.items())
    text += "\nThe same file, run for T steps:\n\n| T | accuracy | spikes an image | SOPs an image | cores |\n"
    text += "| --- | --- | --- | --- | --- |\n" + "".join(row(str(steps), compiled(path, steps), data) for steps in STEPS)
    return text + row("[lenet](../lenet.md), one step", compile_model(Path("models/lenet.onnx")), data)


def main(arguments: list[str] | None = None) -> None:
    """Write the card beside the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE.nir")
    parser.add_argument("--dataset", choices=("digits", "mnist"), required=True)
    parser.add_argument("--steps", type=int, default=8, help="steps that it was trained for [default: 8]")
    parser.add_argument("--data-dir")
    parser.add_argument(
        "--made-by", default="`python -m models.spiking.train digits --epochs 40`, seed 1, about 3 minutes on one core"
    )
    options = parser.parse_args(arguments)
    text = card(options.file, options.steps, options.dataset, options.data_dir, options.made_by)
    write_atomically(options.file.with_suffix(".md"), text.encode())


if __name__ == "__main__":
    run("spiking.card", main)
