"""Seconds of each stage of `compile` on networks of growing size: ``python benchmarks/compile_scale.py``.

The networks are chains of ternary convolutions at four levels, wider and deeper with the size, on xbar1152's rules with a
grid that they fill; ``--sizes 282x5 --grid 320`` is one of 100,000 cores. The exponent is the slope between neighbouring
rows in log seconds over log cores: 1 is linear, n log n is 1.1 to 1.2 at these sizes.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chipsim.chip import load_chip
from chipsim.mapping import read_mapping, write_mapping
from chipsim.report.canvas import printed
from qsnnc import compile_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = ("read", "integerize", "lower", "partition", "place", "assemble", "write", "open")


def network(side: int, depth: int, channels: int = 16, levels: int = 4, seed: int = 0) -> onnx.ModelProto:
    """Convolutions 3 x 3 on a map of ``side`` x ``side``, an average pool, and a classifier."""
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {"low": np.float32(0), "high": np.float32(levels)}

    def conv(name: str, source: str, weights: np.ndarray, down: float) -> str:
        constants[f"{name}.weight"] = weights.astype(np.float32)
        constants[f"{name}.down"] = np.float32(down)
        nodes.append(helper.make_node("Conv", [source, f"{name}.weight"], [f"{name}.sum"], name=name, pads=[1] * 4))
        nodes.append(helper.make_node("Mul", [f"{name}.sum", f"{name}.down"], [f"{name}.small"]))
        nodes.append(helper.make_node("Round", [f"{name}.small"], [f"{name}.round"]))
        nodes.append(helper.make_node("Clip", [f"{name}.round", "low", "high"], [f"{name}.level"]))
        return f"{name}.level"

    here = conv("stem", "image", rng.integers(-8, 9, (channels, 1, 3, 3)), 1 / 256)
    for number in range(depth):
        here = conv(f"conv{number}", here, rng.integers(-1, 2, (channels, channels, 3, 3)), 1 / 16)
    constants["head.weight"] = rng.integers(-1, 2, (channels, 10)).astype(np.float32)
    size = side // 8
    nodes += [
        helper.make_node("MaxPool", [here], ["pooled"], name="pool", kernel_shape=[size, size], strides=[size, size]),
        helper.make_node("GlobalAveragePool", ["pooled"], ["mean"], name="mean"),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head.weight"], ["scores"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "scale",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, side, side])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def seconds(side: int, depth: int, grid: int | None = None) -> tuple[int, int, int, dict[str, float]]:
    """Cores, neurons and axons of a network, and what each stage took; ``grid``: side of the chip's."""
    with tempfile.TemporaryDirectory() as directory:
        path, out = Path(directory) / "net.onnx", Path(directory) / "net.map"
        path.write_bytes(network(side, depth).SerializeToString())
        need = depth * side * side // 4
        width = grid or math.ceil(math.sqrt(need * 1.3)) + 4
        chip = load_chip("xbar1152").model_copy(update={"grid": (width, width)})
        done = compile_model(path, chip)
        spent = dict(done.seconds)
        for name, call in (("write", lambda: write_mapping(done.mapping, out)), ("open", lambda: read_mapping(out))):
            start = time.perf_counter()
            call()
            spent[name] = time.perf_counter() - start
        return done.mapping.cores, done.mapping.neurons, len(done.mapping.axon_source), spent


def slope(before: tuple[int, float], after: tuple[int, float]) -> float:
    """Exponent between two sizes."""
    return math.log(after[1] / before[1]) / math.log(after[0] / before[0])


def draw(rows: list[tuple[int, dict[str, float]]]) -> Figure:
    """Seconds over cores, both in logarithms, beside n log n."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    cores = np.array([n for n, _ in rows])
    for stage in ("all", "partition", "place", "assemble", "lower", "open", "write", "integerize"):
        axes.loglog(cores, [spent[stage] for _, spent in rows], "o-", label=stage, linewidth=2.5 if stage == "all" else 1)
    line = cores * np.log(cores)
    axes.loglog(cores, line * rows[-1][1]["all"] / line[-1], "k:", label="n log n")
    axes.set(xlabel="cores", ylabel="seconds")
    axes.legend(fontsize=7)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    return figure


def main() -> None:
    """Print a table in Markdown, and the exponent of each stage between the middle and the last size."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--sizes", default="16x2,32x2,48x3,64x4,88x5,124x5", help="side x depth, comma separated")
    p.add_argument("--grid", type=int, metavar="SIDE", help="side of the chip's grid; otherwise a third more than needed")
    p.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the curve")
    options = p.parse_args()
    print("| cores | neurons | axons | " + " | ".join(STAGES) + " | all | exponent | peak GB |")
    print("|" + " --- |" * (len(STAGES) + 6))
    rows: list[tuple[int, dict[str, float]]] = []
    for size in options.sizes.split(","):
        side, depth = (int(part) for part in size.split("x"))
        cores, neurons, axons, spent = seconds(side, depth, options.grid)
        spent["all"] = sum(spent.values())
        rows.append((cores, spent))
        grown = "" if len(rows) < 2 else f"{slope((rows[-2][0], rows[-2][1]['all']), (cores, spent['all'])):.2f}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
        row = [f"{count:,}" for count in (cores, neurons, axons)] + [f"{spent[stage]:.2f}" for stage in (*STAGES, "all")]
        print(f"| {' | '.join(row)} | {grown} | {peak:.2f} |", flush=True)
    if options.plot:
        options.plot.write_bytes(printed(lambda: draw(rows), "svg", "--plot"))
    (few, first), (many, last) = rows[len(rows) // 2 - 1 if len(rows) > 1 else 0], rows[-1]
    if few < many:
        grown = ", ".join(f"{stage} {slope((few, first[stage]), (many, last[stage])):.2f}" for stage in STAGES)
        allowed = 1 + math.log(math.log(many) / math.log(few)) / math.log(many / few)
        print(f"\nexponents from {few:,} to {many:,} cores: {grown}; n log n is {allowed:.2f}")


if __name__ == "__main__":
    main()
