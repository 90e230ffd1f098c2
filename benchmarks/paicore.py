"""A .paicore in chipsim, on one thread, and in paisim, the chip team's own simulator: images a second, in one run.

    qsnnc compile models/lenet.onnx --chip paicore25 -o lenet.paicore
    python benchmarks/paicore.py lenet.paicore --dataset mnist

paisim runs in an environment of its own (--python names its interpreter; without it one is made in the user's cache). Its
time is that of INIT, the frames of an image and SYNC, without loading and without what is read out afterwards. Potentials
that are read out must be equal.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from chipsim.crosscheck.environment import interpreter, run
from chipsim.crosscheck.paisim import PACKAGE, given_to_paisim, one_by_one
from chipsim.datasets import load_dataset
from chipsim.engine.paicore.cores import load_cores
from chipsim.engine.paicore.crossbars import outputs_of
from chipsim.engine.paicore.host import load_host
from chipsim.engine.paicore.run import run_program
from chipsim.mapping.pixels import prepare
from chipsim.paicore import read_program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE.paicore")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--images", type=int, default=10, help="images in paisim and in the reference engine")
    parser.add_argument("--python", help="interpreter that has paisim")
    options = parser.parse_args()
    python = interpreter(PACKAGE, options.python, lambda text: print(text, file=sys.stderr))
    program = read_program(options.file)
    data = load_dataset(options.dataset, "test", options.data_dir)
    found = {name: run_program(program, data.head(n), threads=1, engine=name) for name, n in
             (("fast", None), ("reference", options.images))}  # fmt: skip
    cores = load_cores(program.words)
    host = load_host(program, cores)
    values = host.values(prepare(data.images[: options.images], program.input, data.name))
    theirs = run(python, "run_paisim.py", given_to_paisim(one_by_one(program, cores, host, values), cores))
    rates = {f"chipsim, engine {name}": result.images_per_second for name, result in found.items()}
    rates[f"paisim {theirs['version']}"] = options.images / float(theirs["seconds"].sum())
    slowest = rates[f"paisim {theirs['version']}"]
    for name, rate in rates.items():
        print(f"{name:<28}{rate:>12,.1f} images a second{rate / slowest:>10,.0f} x")
    start = np.concatenate([[0], np.cumsum([core.neurons for core in cores])])
    for number, core in enumerate(cores):
        held = theirs["potentials"][:, start[number] + core.host]
        for result in found.values():
            assert (result.potentials[: options.images, outputs_of(program, core)] == held).all(), "potentials differ"
    print(f"potentials of {options.images} images are equal in all three")


if __name__ == "__main__":
    main()
