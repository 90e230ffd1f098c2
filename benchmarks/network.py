"""How many packet-hops a second the network simulator does on one core.

    python benchmarks/network.py [--json FILE]

A hop is a link between two routers. Times are the best of three of the kernel alone; the first line says what compiling it
costs once a machine (cached afterwards), and what loading the compiled code costs each process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from chipsim.timing.network import patterns
from chipsim.timing.network.mesh import Mesh, Traffic
from chipsim.timing.network.simulate import Workspace


def like_a_network(mesh: Mesh, seed: int = 0) -> Traffic:
    """A tick of a layered network: a third of the cores send bursts of packets to some ten cores of the next layer."""
    rng = np.random.default_rng(seed)
    ready, target, numbers = [], [], []
    for s in range(mesh.terminals):
        packets = int(rng.integers(50, 400)) if s < 400 else 0
        goals = (s + 30 + rng.choice(60, 12, replace=False)) % 400
        numbers.append(packets)
        ready.append(np.sort(rng.integers(100, 2500, packets)))
        target.append(rng.choice(goals, packets))
    offset = np.concatenate([[0], np.cumsum(numbers)])
    return Traffic(offset, np.concatenate(ready), np.concatenate(target).astype(np.int32))


def ingress(mesh: Mesh, packets: int, seed: int = 0) -> Traffic:
    """One port sends to 400 cores, a packet a cycle."""
    rng = np.random.default_rng(seed)
    offset = np.zeros(mesh.terminals + 1, np.int64)
    offset[-1] = packets
    return Traffic(offset, np.zeros(packets, np.int64), rng.integers(0, 400, packets).astype(np.int32))


def cases() -> dict[str, tuple[Mesh, Traffic]]:
    small, chip, large = Mesh(8, 8), Mesh(32, 32, ((0, 0),)), Mesh(128, 128)
    return {
        "8x8, uniform, saturated": (small, patterns.uniform(small, 1.0, 5000, 0)),
        "8x8, uniform, 0.2": (small, patterns.uniform(small, 0.2, 10_000, 0)),
        "32x32, uniform, almost empty": (chip, patterns.uniform(chip, 0.001, 20_000, 0)),
        "32x32, uniform, saturated": (chip, patterns.uniform(chip, 0.2, 1000, 0)),
        "32x32, ingress through a port": (chip, ingress(chip, 80_000)),
        "32x32, a layered network's tick": (chip, like_a_network(chip)),
        "128x128, uniform, 0.01": (large, patterns.uniform(large, 0.01, 500, 0)),
    }


def first_call() -> float:
    empty = Traffic(np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32))
    start = time.perf_counter()
    Workspace(Mesh(1, 1)).simulate(empty)
    return time.perf_counter() - start


def measure(mesh: Mesh, traffic: Traffic) -> dict[str, float]:
    workspace = Workspace(mesh, len(traffic.ready))
    best, processor = float("inf"), float("inf")
    for _ in range(3):
        start, own = time.perf_counter(), time.thread_time()
        flow = workspace.simulate(traffic)
        best, processor = min(best, time.perf_counter() - start), min(processor, time.thread_time() - own)
    return {
        "packets": len(traffic.ready),
        "cycles": flow.end,
        "hops": flow.traversals,
        "seconds": best,
        "hops_per_second": flow.traversals / best,
        "hops_per_processor_second": flow.traversals / processor,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    options = parser.parse_args()
    found: dict[str, object] = {"first_call_seconds": first_call()}
    print(f"first call: {found['first_call_seconds']:.2f} s")
    for name, (mesh, traffic) in cases().items():
        row = measure(mesh, traffic)
        found[name] = row
        print(
            f"{name:34}{row['hops']:>12,} hops {row['seconds']:8.3f} s {row['hops_per_second'] / 1e6:7.1f} million hops/s "
            f"({row['hops_per_processor_second'] / 1e6:.1f} a second of processor time)"
        )
        sys.stdout.flush()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
