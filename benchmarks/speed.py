"""chipsim against onnxruntime and NumPy on the same network, images and threads, in turns: ``python benchmarks/speed.py``.

What counts is the ratio: machines are noisy, so every line is run once in each round and the medians are compared.
Everything is timed here, from outside, from pixels in memory to predictions; what it takes to load is a column of its own.

- onnxruntime: the ONNX file as a user would run it, default optimisation, batches of 200.
- onnxruntime int8: the same network after onnxruntime's own static quantization (another function, nearly as accurate).
- NumPy: a spiking network as the published method's own code runs it, no cores (`numpy_snn.py`); on a few images.
- chipsim: the cores of the mapping, spikes, SOPs and events of each core; with counts of each image; the reference engine.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy_snn import NumpyNetwork
from threadpoolctl import threadpool_limits

import chipsim
from chipsim.datasets import Dataset, load_dataset
from qsnnc import compile_model
from qsnnc.compilation import Compilation

MODEL = Path(__file__).resolve().parents[1] / "models" / "lenet.onnx"
BATCH = 200
#: images for what is slow
FEW = 400


@dataclass(frozen=True)
class Entry:
    """A line of the table: runs so many images and returns seconds in all, and of them for loading."""

    name: str
    images: int
    run: Callable[[int], tuple[float, float]]


def _ort(path: Path, pixels: np.ndarray) -> Callable[[int], tuple[float, float]]:
    def run(threads: int) -> tuple[float, float]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        start = time.perf_counter()
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        session.run(None, {name: pixels[:BATCH]})
        loaded = time.perf_counter()
        for first in range(0, len(pixels), BATCH):
            session.run(None, {name: pixels[first : first + BATCH]})
        return time.perf_counter() - start, loaded - start

    return run


def _chipsim(done: Compilation, data: Dataset, **options: object) -> Callable[[int], tuple[float, float]]:
    def run(threads: int) -> tuple[float, float]:
        start = time.perf_counter()
        result = chipsim.run(done.mapping, data, threads=threads, **options)
        return time.perf_counter() - start, result.load_seconds

    return run


def _numpy(done: Compilation, pixels: np.ndarray) -> Callable[[int], tuple[float, float]]:
    def run(threads: int) -> tuple[float, float]:
        network = NumpyNetwork(done.graph)
        start = time.perf_counter()
        with threadpool_limits(limits=threads):
            for first in range(0, len(pixels), BATCH):
                network.run(pixels[first : first + BATCH])
        return time.perf_counter() - start, 0.0

    return run


def quantized(model: Path, pixels: np.ndarray, directory: Path) -> Path | None:
    """Quantize a model to int8 by onnxruntime's own tool; None where it is not there."""
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError:
        return None

    name = onnx.load(model).graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter([{name: pixels[first : first + 50]} for first in range(0, 200, 50)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    target = directory / "int8.onnx"
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}  # what its kernels are fastest on
    logging.disable(logging.WARNING)
    quantize_static(str(model), str(target), Reader(), quant_format=QuantFormat.QOperator, **kinds)
    logging.disable(logging.NOTSET)
    return target


def entries(done: Compilation, data: Dataset, directory: Path) -> list[Entry]:
    """Return the lines of the table; the first is what the others are compared with."""
    pixels = data.images[:, None].astype(np.float32)
    few = data.head(FEW)
    lines = [Entry("onnxruntime, float", len(data), _ort(MODEL, pixels))]
    int8 = quantized(MODEL, pixels, directory)
    if int8 is not None:
        lines.append(Entry("onnxruntime, int8", len(data), _ort(int8, pixels)))
    return [
        *lines,
        Entry("NumPy, spiking, no cores", len(few), _numpy(done, pixels[:FEW])),
        Entry("chipsim --engine reference", len(few), _chipsim(done, few, engine="reference")),
        Entry("chipsim --per-image", len(data), _chipsim(done, data, per_image=True)),
        Entry("chipsim", len(data), _chipsim(done, data)),
    ]


def processor() -> str:
    """Return what the processor calls itself, and its vector instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    found = {key.strip(): value.strip() for key, value in facts.items()}
    vectors = [
        name for name in ("amx_int8", "avx512_vnni", "avx512bw", "avx2", "asimd") if name in found.get("flags", "").split()
    ]
    return f"{found.get('model name', platform.machine())} ({', '.join(vectors) or platform.machine()})"


def main() -> None:
    """Print a table for each number of threads."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dataset", default="digits")
    p.add_argument("--data-dir")
    p.add_argument("--limit", type=int)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = p.parse_args()
    data = load_dataset(options.dataset, "test", options.data_dir, options.limit)
    done = compile_model(MODEL)
    print(f"{processor()}; {len(data)} images of {data.name}; medians of {options.rounds} rounds")
    print(f"onnxruntime {ort.__version__}, NumPy {np.__version__}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as directory:
        lines = entries(done, data, Path(directory))
        for threads in options.threads:
            print(f"\n{'threads ' + str(threads):<28} images/s  of onnxruntime  load s  images/s with loading  ratio")
            seen: dict[str, list[tuple[float, float]]] = {line.name: [] for line in lines}
            for _ in range(options.rounds):
                for line in lines:
                    seen[line.name].append(line.run(threads))
            rows = []
            for line in lines:
                whole = statistics.median(total for total, _ in seen[line.name])
                running = statistics.median(total - load for total, load in seen[line.name])
                rows.append((line.name, line.images / running, whole - running, line.images / whole))
            for name, rate, load, with_load in rows:
                ratios = rate / rows[0][1], with_load / rows[0][3]
                print(f"{name:<28} {rate:8,.0f} {ratios[0]:15.2f} {load:7.2f} {with_load:22,.0f} {ratios[1]:6.2f}")


if __name__ == "__main__":
    main()
