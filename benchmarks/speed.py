"""chipsim against onnxruntime on the same network, images and threads, in turns: ``python benchmarks/speed.py``.

What counts is the ratio of the medians: machines are noisy. onnxruntime runs the ONNX file as a user would (default
optimisation, batch 200); chipsim runs the cores, encoder through counters.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

import chipsim
from chipsim.datasets import load_dataset
from qsnnc import compile_model

MODEL = Path(__file__).resolve().parents[1] / "models" / "lenet.onnx"


def reference(images: np.ndarray, threads: int) -> float:
    """Images a second of onnxruntime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    pixels = images[:, None].astype(np.float32)
    session.run(None, {"image": pixels[:200]})
    start = time.perf_counter()
    for first in range(0, len(pixels), 200):
        session.run(None, {"image": pixels[first : first + 200]})
    return len(pixels) / (time.perf_counter() - start)


def main() -> None:
    """Print a table."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dataset", default="digits")
    p.add_argument("--data-dir")
    p.add_argument("--limit", type=int)
    p.add_argument("--rounds", type=int, default=5)
    options = p.parse_args()
    data = load_dataset(options.dataset, "test", options.data_dir, options.limit)
    start = time.perf_counter()
    mapping = compile_model(MODEL).mapping
    print(
        f"{platform.processor() or platform.machine()}, {len(data)} images; compiled in {time.perf_counter() - start:.2f} s"
    )
    print("threads  onnxruntime  chipsim  ratio   (images a second, medians)")
    for threads in (1, 2):
        pairs = [
            (reference(data.images, threads), chipsim.run(mapping, data, threads=threads).images_per_second)
            for _ in range(options.rounds)
        ]
        theirs, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{threads:7}  {theirs:11,.0f}  {ours:7,.0f}  {ours / theirs:5.2f}")


if __name__ == "__main__":
    main()
