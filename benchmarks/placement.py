"""Placements against each other, on images that none was calibrated on: ``python benchmarks/placement.py``.

Every placement is compiled for the same chip, those that know traffic at the rates of the first images of the train split;
cycles, hops and links are then measured in the cycle-level simulator on images of the test split. ``--ports`` measures how
long an image takes with more host ports instead, spread evenly over column 0.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset, load_dataset
from chipsim.report.canvas import printed
from chipsim.timing.keys import profile_json
from chipsim.timing.profile import profile
from qsnnc import Placing, compile_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
#: label: strategy, seeds, calibrated
WAYS = {
    "row-major": ("row-major", 1, False),
    "random, mean of 3": ("random", 3, False),
    "Hilbert curve": ("hilbert", 1, False),
    "greedy on hops": ("greedy", 1, True),
    "annealed, from fan-out": ("annealed", 1, False),
    "annealed, calibrated": ("annealed", 1, True),
}
PORTS = (1, 2, 4, 8, 16)
COLUMNS = ("host_hops", "chip_hops", "busiest_link", "chip_cycles", "cycles", "interval")


def measure(model: Path, chip: ChipSpec, placing: Placing, images: Dataset) -> dict[str, float]:
    """Compile, and time the images one by one and as a stream; means an image."""
    mapping = compile_model(model, chip, placing=placing).mapping
    timing = profile_json(profile(mapping, images, timing_limit=len(images)))["timing"]
    return {
        "host_hops": timing["host_hops"],
        "chip_hops": timing["chip_hops"],
        "busiest_link": timing["busiest_link"],
        "chip_cycles": timing["chip_cycles_per_image"],
        "cycles": timing["cycles_per_image"]["mean"],
        "interval": timing["interval_cycles"],
    }


def ways(
    model: Path, chip: ChipSpec, calibration: Dataset, images: Dataset, effort: float
) -> Iterator[tuple[str, dict[str, float]]]:
    """Every way of `WAYS`."""
    for label, (strategy, seeds, calibrated) in WAYS.items():
        known = np.asarray(calibration.images) if calibrated else None
        found = [
            measure(model, chip, Placing(known, seed=seed, strategy=strategy, effort=effort), images)
            for seed in range(seeds)
        ]
        yield label, {name: float(np.mean([each[name] for each in found])) for name in COLUMNS}


def row(label: str, found: dict[str, float]) -> str:
    """A line of the table."""
    hops = f"{found['host_hops'] / 1e3:,.0f} / {found['chip_hops'] / 1e3:,.0f}"
    rest = " | ".join(f"{found[name]:,.0f}" for name in COLUMNS[2:])
    return f"| {label} | {hops} | {rest} |"


def with_ports(chip: ChipSpec, count: int) -> ChipSpec:
    """The chip with so many ports, in the middle of equal shares of column 0."""
    height = chip.grid[1]
    return chip.model_copy(update={"ports": tuple((0, (2 * i + 1) * height // (2 * count)) for i in range(count))})


def draw(found: dict[str, dict[int, dict[str, float]]]) -> Figure:
    """Cycles an image over the number of ports."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, colour, by_ports in zip(found, ("#9a9a9a", "#1f5f99"), found.values(), strict=True):
        ports = list(by_ports)
        for name, style in (("cycles", "o-"), ("interval", "s--"), ("chip_cycles", "^:")):
            said = {"cycles": "latency of an image", "interval": "interval of a stream", "chip_cycles": "after ingress"}[
                name
            ]
            axes.loglog(
                ports, [by_ports[n][name] for n in ports], style, color=colour, label=f"{said}, {label}", markersize=4
            )
    axes.set_xticks(PORTS, [str(n) for n in PORTS])
    axes.minorticks_off()
    axes.set_yticks([3000, 10_000, 30_000, 100_000], ["3,000", "10,000", "30,000", "100,000"])
    axes.set(xlabel="host ports on column 0", ylabel="cycles")
    axes.grid(alpha=0.3)
    figure.legend(fontsize=7, loc="outside lower center", ncols=2, frameon=False)
    return figure


def ports(model: Path, chip: ChipSpec, calibration: Dataset, images: Dataset, target: Path) -> None:
    """Measure the curve; write it beside its picture as CSV."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    placings = {
        "row-major": Placing(strategy="row-major"),
        "annealed": Placing(np.asarray(calibration.images)),
    }
    with target.with_suffix(".csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["placement", "ports", *COLUMNS])
        print("| placement, ports | hops host / chip, thousands | busiest chip link | chip cycles | cycles | interval |")
        print("| --- " * 6 + "|")
        for label, placing in placings.items():
            found[label] = {}
            for count in PORTS:
                here = found[label][count] = measure(model, with_ports(chip, count), placing, images)
                table.writerow([label, count, *(round(here[name], 1) for name in COLUMNS)])
                print(row(f"{label}, {count}", here), flush=True)
    target.write_bytes(printed(lambda: draw(found), "svg", "--figure"))


def main() -> None:
    """Print a table in Markdown."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", type=Path, default=ROOT / "models" / "lenet.onnx")
    p.add_argument("--chip", default="xbar1152")
    p.add_argument("--dataset", default="mnist")
    p.add_argument("--data-dir")
    p.add_argument("--calibrate-images", type=int, default=100)
    p.add_argument("--limit", "--images", type=int, default=20, help="of the test split, to measure on")
    p.add_argument("--effort", type=float, default=1.0)
    p.add_argument("--ports", action="store_true", help="the curve over ports instead")
    p.add_argument(
        "--figure", type=Path, default=ROOT / "docs" / "figures" / "ports.svg", help="with --ports; .csv beside it"
    )
    options = p.parse_args()
    chip = load_chip(options.chip)
    calibration = load_dataset(options.dataset, "train", options.data_dir, options.calibrate_images)
    images = load_dataset(options.dataset, "test", options.data_dir, options.limit)
    if options.ports:
        ports(options.model, chip, calibration, images, options.figure)
        return
    print("| placement | hops host / chip, thousands | busiest chip link | chip cycles | cycles an image | interval |")
    print("| --- " * 6 + "|")
    for label, found in ways(options.model, chip, calibration, images, options.effort):
        print(row(label, found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
