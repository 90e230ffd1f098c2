"""Choose the annealer's tariff on training images alone: ``python benchmarks/tune_placement.py --csv FILE``.

What is dear (`qsnnc.place.loads.Tariff`) is calibrated on the first images of the train split and scored on others of it; no
test image is looked at. A case is a network, a number of host ports, and whether the rates are known; its score is the
geometric mean of its cycles after the ingress and of its interval in a stream, each divided by that of cores placed row by
row. The objective is the geometric mean over the cases.

The search starts at the tariff in use. It tries each price a step lower and a step higher (`TRIES`) with all others as they
are, and then goes to the one that gains most, if the gain, the mean over the cases of
the logarithm of the quotient, is more than two of its standard errors. So it goes on until nothing is better than the noise.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from compile_scale import network
from placement import ROOT, with_ports

from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset, load_dataset
from chipsim.mapping import Mapping
from chipsim.timing.keys import profile_json
from chipsim.timing.profile import profile
from qsnnc.ir.cores import CoreGraph, verify_cores
from qsnnc.lower.neurons import lower
from qsnnc.partition.cores import partition
from qsnnc.pipeline import encoder_of, read_layers
from qsnnc.place.assemble import assemble
from qsnnc.place.loads import TARIFF, Tariff
from qsnnc.place.positions import place
from qsnnc.place.rates import firing_rates
from qsnnc.place.traffic import F64

NETWORKS = ("lenet", "lenet-sparse", "lenet-k0b2", "chain")
PORTS = (1, 8)
#: values around those in use
TRIES = {
    "free_tick": (1.25, 1.6, 2.0),
    "free_all": (1.0, 1.3, 1.6),
    "free_core": (0.5, 0.7, 1.0),
    "price_tick": (5.0, 15.0, 45.0),
    "price_all": (100.0, 300.0, 900.0),
    "readout": (10.0, 50.0, 250.0),
}
#: standard errors that a gain must be worth
SURE = 2.0


@dataclass(frozen=True, eq=False)
class Case:
    """A network on a chip, and what it takes row by row."""

    name: str
    ports: int
    calibrated: bool
    chip: ChipSpec
    cores: CoreGraph
    rates: F64 | None
    mapping: Mapping
    by_row: F64


def cycles(mapping: Mapping, chip: ChipSpec, position: np.ndarray, images: Dataset) -> F64:
    """Cycles after the ingress, and interval of a stream; means an image."""
    moved = replace(mapping, chip=chip, arrays={**mapping.arrays, "core_position": position})
    timing = profile_json(profile(moved, images, timing_limit=len(images)))["timing"]
    return np.array([timing["chip_cycles_per_image"], timing["interval_cycles"]])


def cases(networks: list[str], calibration: Dataset, images: Dataset) -> Iterator[Case]:
    """Each network with each number of ports, with and without rates; cut into cores once."""
    chip = load_chip("xbar1152")
    for name in networks:
        with tempfile.TemporaryDirectory() as directory:
            path = ROOT / "models" / f"{name}.onnx"
            if name == "chain":  # convolutions that nobody has trained: each layer as wide as the next
                path = Path(directory) / "chain.onnx"
                path.write_bytes(network(28, 2).SerializeToString())
            graph = read_layers(path, pixels="raw")
        neurons, violations = lower(graph, chip)
        cores, _, more = partition(graph, neurons, chip)
        assert cores is not None, (violations, more)
        verify_cores(cores, chip)
        rates = firing_rates(graph, cores, encoder_of(graph), np.asarray(calibration.images), "calibration images")
        row_major = place(cores, chip, strategy="row-major")
        mapping = assemble(graph, neurons, cores, chip, row_major)
        for count in PORTS:
            here = with_ports(chip, count)
            by_row = cycles(mapping, here, row_major.position, images)
            for known in (rates, None):
                yield Case(name, count, known is not None, here, cores, known, mapping, by_row)


def score(case: Case, tariff: Tariff, images: Dataset, seed: int, effort: float) -> F64:
    """Cycles after the ingress, and interval, of those of row-major."""
    placed = place(case.cores, case.chip, rates=case.rates, effort=effort, seed=seed, tariff=tariff)
    return cycles(case.mapping, case.chip, placed.position, images) / case.by_row


class Search:
    """What has been scored, and where that is written."""

    def __init__(self, known: list[Case], images: Dataset, seeds: int, effort: float, file: Path) -> None:
        self.known, self.images, self.seeds, self.effort = known, images, seeds, effort
        self.found: dict[Tariff, F64] = {}
        self.file = file
        with file.open("w", newline="") as target:
            names = [*TRIES, "network", "ports", "calibrated", "seed", "chip_cycles", "interval"]
            csv.writer(target).writerow(names)

    def logs(self, tariff: Tariff) -> F64:
        """Of each case and seed the logarithm of its score; scored once."""
        if tariff not in self.found:
            self.found[tariff] = np.array([x for case in self.known for x in self._case(case, tariff)])
        return self.found[tariff]

    def _case(self, case: Case, tariff: Tariff) -> Iterator[float]:
        for seed in range(self.seeds):
            scores = score(case, tariff, self.images, seed, self.effort)
            with self.file.open("a", newline="") as target:
                about = (case.name, case.ports, int(case.calibrated), seed)
                csv.writer(target).writerow(
                    [*(getattr(tariff, name) for name in TRIES), *about, *(f"{x:.4f}" for x in scores)]
                )
            yield float(np.log(scores).mean())

    def gain(self, tariff: Tariff, against: Tariff) -> tuple[float, float]:
        """Share of the objective that is saved, and its standard error."""
        saved = self.logs(against) - self.logs(tariff)
        return float(saved.mean()), float(saved.std(ddof=1)) / math.sqrt(len(saved))

    def line(self, tariff: Tariff, here: Tariff, name: str) -> str:
        """A row of the table."""
        gain, error = self.gain(tariff, here)
        said = f"| {name} | {getattr(tariff, name):g} |" if name else "| in use | |"
        return f"{said} {math.exp(self.logs(tariff).mean()):.4f} | {100 * gain:+.2f} | {100 * error:.2f} |"


def search(found: Search, start: Tariff) -> Tariff:
    """Go where it is better until it is no better anywhere near; print every step."""
    here = start
    while True:
        print(f"\n{here}\n\n| changed | to | objective | gain, % | standard error, % |\n| --- | --- | --- | --- | --- |")
        print(found.line(here, here, ""), flush=True)
        best = (0.0, here)
        for name, values in TRIES.items():
            for value in values:
                there = replace(here, **{name: value})
                if there == here:
                    continue
                print(found.line(there, here, name), flush=True)
                gain, error = found.gain(there, here)
                if gain > SURE * error:
                    best = max(best, (gain, there), key=lambda pair: pair[0])
        if best[1] == here:
            return here
        here = best[1]


def main() -> None:
    """Search, and print where it ends."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    p.add_argument("--dataset", default="mnist")
    p.add_argument("--data-dir")
    p.add_argument("--calibrate-images", type=int, default=100, help="the first of the train split")
    p.add_argument("--first", type=int, default=1000, help="of the train split, the first to score on")
    p.add_argument("--limit", "--images", type=int, default=20)
    p.add_argument("--seeds", type=int, default=1)
    p.add_argument("--effort", type=float, default=1.0)
    p.add_argument("--csv", type=Path, required=True, help="every score")
    options = p.parse_args()
    if options.first < options.calibrate_images:
        p.error("--first: images that were calibrated on are not scored on")
    split = load_dataset(options.dataset, "train", options.data_dir, options.first + options.limit)
    others = replace(split, images=split.images[options.first :], labels=None)
    started = time.perf_counter()
    known = list(cases(options.networks, split.head(options.calibrate_images), others))
    chosen = search(Search(known, others, options.seeds, options.effort, options.csv), TARIFF)
    print(f"\nchosen: {chosen}{' (in use)' if chosen == TARIFF else ''}; {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
