"""Latency, interval and energy of the LeNets on xbar1152, beside what the authors report of their chip.

    python benchmarks/energy.py [--dataset mnist] [--limit 200] [--ports 1 4 16]

A projection, not a reproduction: another chip, constants that are derived or assumed (each is printed with its tag), and it
is not known whether the authors' 0.38 ms and 0.28 mJ are a latency or an interval, with or without input and output. The
weights are ours: the networks spike more or less than theirs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import chipsim
from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import load_dataset
from chipsim.timing import energy
from chipsim.timing.keys import macs
from chipsim.timing.record import PARTS
from qsnnc import compile_model

MODELS = Path(__file__).resolve().parents[1] / "models"
#: doi 10.3389/fnins.2021.694170: ms and mJ an image, at 0.9 V and 252 MHz
AUTHORS_MS, AUTHORS_MJ = 0.38, 0.28
#: PAICORE 2.0's published all-in figure, JSSC 2024; never added to a term of ours, which it holds already
PAICORE_PJ = 0.193


def with_ports(chip: ChipSpec, ports: int) -> ChipSpec:
    """The chip with so many ports at even distances along its west side."""
    rows = chip.grid[1]
    return chip.model_copy(update={"ports": tuple((0, i * rows // ports) for i in range(ports))})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--limit", "--images", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=["lenet", "lenet-sparse"])
    parser.add_argument("--ports", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    data = load_dataset(options.dataset, "test", options.data_dir)
    print(f"{options.limit} images of {options.dataset}, mode cycle; uJ an image, of a frame alone\n")
    head = (
        "model", "ports", "latency ms", "interval ms", "after ingress", "uJ", "in a stream", *PARTS, "SOPs", "MACs",
        "pJ/SOP", f"uJ at {PAICORE_PJ}",
    )  # fmt: skip
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for model in options.models:
        for ports in options.ports:
            mapping = compile_model(MODELS / f"{model}.onnx", with_ports(load_chip("xbar1152"), ports)).mapping
            found = chipsim.profile(mapping, data, timing_limit=options.limit, threads=options.threads)
            print("| " + " | ".join((model, str(ports), *row(found))) + " |", flush=True)
    print(f"| the authors' chip | | {AUTHORS_MS} (which is not said) | | | {1000 * AUTHORS_MJ:g} |" + " |" * (len(head) - 6))
    print(f"\nuJ at {PAICORE_PJ} pJ a SOP: what PAICORE 2.0's published all-in figure would make of the same SOPs")
    print("\nConstants:")
    for constant in energy.constants(found.plan.chip):
        print(f"- {constant.name} {constant.value:g}: {constant.origin}, {constant.note}")


def row(found: chipsim.Profile) -> list[str]:
    """Columns of a line of the table."""
    latency, interval, after = (
        1e3 * found.seconds_of(float(cycles.mean())) for cycles in (found.cycles, found.interval_cycles, found.chip_cycles)
    )
    parts, sops = found.parts, found_sops(found)
    return [
        *(f"{ms:.3f}" for ms in (latency, interval, after)),
        *(f"{part / 1e6:.2f}" for part in (parts.sum(), found.stream_parts.sum(), *parts)),
        f"{sops:,.0f}", f"{macs(found.mapping):,}", f"{parts.sum() / sops:.2f}", f"{PAICORE_PJ * sops / 1e6:.2f}",
    ]  # fmt: skip


def found_sops(found: chipsim.Profile) -> float:
    """SOPs an image, relays' not among them."""
    return float(found.work.operations[~found.mapping.relay_cores].sum()) / found.images


if __name__ == "__main__":
    main()
