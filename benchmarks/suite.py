"""Every network of `networks.py` and the LeNet, phase by phase, against onnxruntime: ``python benchmarks/suite.py``.

For each network: compiling; loading, in a process of its own without kept code and with it, from the import to the first
image; images a second of onnxruntime's float network (default optimisation, batches of 64), of that network after
onnxruntime's own quantization to int8 (another function), and of `chipsim run` with every counter of a run; then what counts
of each image and noise leave of that speed. All lines of a network run in turns in one process, and medians are compared.

The last column says how far that is from the machine: multiply-accumulates of the float network that `chipsim` stands for in
a second, over those of a float32 matrix product on the same threads, measured in the same run. The limits of what the engine
is made of (`machine.py`) stand above the table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from machine import limits
from networks import NETWORKS
from speed import MODEL, processor, quantized

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from chipsim.mapping import Mapping, write_mapping
from qsnnc import compile_model

#: more cores than any of the networks takes
GRID = "base: xbar1152\nname: xbar1152-96x96\ngrid: [96, 96]\n"
#: images of a line: about so many multiply-accumulates, within bounds; a test set has 10,000
WORK, FEWEST, MOST = 90e9, 256, 10_000
LOAD = """
import time; start = time.perf_counter()
import numpy as np, chipsim
from chipsim.mapping import read_mapping
m = read_mapping({path!r})
images = np.zeros((1, *m.input.shape), np.uint8)
chipsim.run(m, chipsim.datasets.Dataset("zeros", "test", images), threads=1)
print(time.perf_counter() - start)
"""


def work(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of one image."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim][1:] for v in (*graph.value_info, *graph.output)}
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(sizes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += math.prod(sizes[node.input[1]])
    return total


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _session(path: Path, images: np.ndarray, threads: int) -> Callable[[], object]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    given = images.astype(np.float32)
    return lambda: [session.run(None, {name: given[first : first + 64]}) for first in range(0, len(given), 64)]


def loaded(path: Path) -> tuple[float, float]:
    """Seconds from the start of Python's imports to the first image: without kept machine code, and with it.

    Python's bytecode is at hand, as it is where pip has installed a package.
    """
    command = [sys.executable, "-c", LOAD.format(path=str(path))]

    def seconds(bytecode: str, kept: str) -> float:
        environment = os.environ | {"XDG_CACHE_HOME": kept, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    with tempfile.TemporaryDirectory() as bytecode:
        with tempfile.TemporaryDirectory() as other:
            seconds(bytecode, other)
        with tempfile.TemporaryDirectory() as kept:
            first, *again = (seconds(bytecode, kept) for _ in range(3))
    return first, min(again)


def measure(
    name: str, path: Path, mapping: Mapping, seconds: float, rounds: int, threads: int, most: float, directory: Path
) -> dict[str, object]:
    """Return the line of a network."""
    model = onnx.load(path)
    macs = work(model)
    count = int(np.clip(WORK / macs, FEWEST, MOST)) // 64 * 64
    images = np.random.default_rng(0).integers(0, 256, (count, *mapping.input.shape), np.uint8)
    data = Dataset("random pixels", "test", images)
    int8 = quantized(path, images[:200].astype(np.float32), directory)
    assert int8 is not None, "onnxruntime.quantization is part of onnxruntime"
    lines = {
        "float": _session(path, images, threads),
        "int8": _session(int8, images, threads),
        "chipsim": lambda: chipsim.run(mapping, data, threads=threads),
        "each image": lambda: chipsim.run(mapping, data, threads=threads, per_image=True),
        "noise": lambda: chipsim.run(mapping, data, threads=threads, noise=0.1, seed=1),
    }
    taken: dict[str, list[float]] = {line: [] for line in lines}
    for _ in range(rounds):
        for line, run in lines.items():
            result: list[object] = []
            total = _seconds(lambda run=run, result=result: result.append(run()))
            taken[line].append(getattr(result[0], "run_seconds", total))
    rate = {line: count / statistics.median(times) for line, times in taken.items()}
    write_mapping(mapping, directory / "benchmark.map")
    cold, warm = loaded(directory / "benchmark.map")
    return {
        "network": name, "cores": mapping.cores, "compile": seconds, "load": cold, "load, kept": warm,
        "float": rate["float"], "int8": rate["int8"],
        "images/s": rate["chipsim"], "x float": rate["chipsim"] / rate["float"],
        "each image": rate["each image"] / rate["chipsim"], "noise": rate["noise"] / rate["chipsim"],
        "of the machine": macs * rate["chipsim"] / most,
    }  # fmt: skip


def main() -> None:
    """Print the table of docs/speed.md."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--networks", nargs="+", choices=["lenet", *NETWORKS], default=["lenet", *NETWORKS])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--json", type=Path, help="write the figures to a file")
    options = p.parse_args()
    found = limits(options.threads)
    print(f"{processor()}, {options.threads} thread(s); onnxruntime {ort.__version__}; medians of {options.rounds} rounds")
    print("G a second: " + ", ".join(f"{value:.0f} {what}" for what, value in found.items()) + "\n")
    titles = (
        "network",
        "cores",
        "compile, s",
        "load, s",
        "kept code",
        "float/s",
        "int8/s",
        "images/s",
        "x float",
        "per image",
        "noise",
        "limit",
    )
    print("| " + " | ".join(titles) + " |\n" + "| --- " * len(titles) + "|")
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        grid = Path(directory) / "grid.yaml"
        grid.write_text(GRID)
        chip = load_chip(str(grid))
        for name in options.networks:
            path = MODEL if name == "lenet" else Path(directory) / f"{name}.onnx"
            if name != "lenet":
                onnx.save(NETWORKS[name](), path)
            start = time.perf_counter()
            mapping = compile_model(path, chip=chip).mapping
            assert isinstance(mapping, Mapping)
            seconds = time.perf_counter() - start
            most = 1e9 * found["float32 multiply-accumulates"]
            row = measure(name, path, mapping, seconds, options.rounds, options.threads, most, Path(directory))
            rows.append(row)
            form = ("", ",", ".1f", ".1f", ".1f", ",.0f", ",.0f", ",.0f", ".2f", ".0%", ".0%", ".1f")
            print(
                "| " + " | ".join(f"{value:{kind}}" for value, kind in zip(row.values(), form, strict=True)) + " |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
