"""What chips cost that are too small for a network, in processor time: the figures of docs/scale.md.

OMP_NUM_THREADS=1 python benchmarks/small_chips.py [NETWORK]

NETWORK is one of `networks.py`; its cores do not fit on a grid of 4 x 4. What is made once, for all chips, is printed apart.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import onnx
from networks import NETWORKS

from chipsim.chip import ChipSpec, load_chip
from qsnnc.explore.shared import Shared
from qsnnc.explore.space import merged
from qsnnc.pipeline import read_layers

Value = TypeVar("Value")
#: those that differ in their grid alone follow one another, as in an exploration
CHIPS: tuple[dict[str, Any], ...] = (
    {}, {"grid": [5, 5]}, {"axons": 1536}, {"axons": 2304}, {"columns": 384}, {"columns": 768}, {"targets": 8192},
    {"max_fold": 4},
)  # fmt: skip


def timed(what: str, make: Callable[[], Value]) -> Value:
    """Print the processor time that something takes."""
    start = time.process_time()
    found = make()
    print(f"{time.process_time() - start:6.2f} s  {what}")
    return found


def main() -> None:
    """Print the figures."""
    name = sys.argv[1] if len(sys.argv) > 1 else "vgg-4bit-3"
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "network.onnx"))
        onnx.save(NETWORKS[name](), path)
        graph = timed("made once: read and integerized", lambda: read_layers(path))
    content = pickle.dumps(graph, protocol=5)
    graph = timed(f"once for each worker: {len(content) / 1e6:.1f} MB unpacked", lambda: pickle.loads(content))
    base, shared = load_chip("xbar1152").model_dump(mode="json") | {"provenance": {}}, Shared()
    for values in CHIPS:
        chip = ChipSpec.model_validate(merged(base, {"grid": [4, 4]} | values) | {"name": "chip"})
        found = timed(f"{values}", lambda chip=chip: shared.compiled(name, graph, chip))  # type: ignore[misc]
        assert not found.fits
        print(f"          {found.violations[0].code}: {found.violations[0].found:,} of {found.violations[0].allowed:,}")


if __name__ == "__main__":
    main()
