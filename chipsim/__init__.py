"""The hardware: what a crossbar chip is, what a program for it is, what running it costs.

``chipsim.run(mapping, dataset)`` executes a ``.map``; ``chipsim.compare(mapping, model, dataset)`` holds it against the
ONNX model; ``chipsim.profile(mapping, dataset)`` says how many cycles and how much energy it takes,
``chipsim.history(mapping, dataset, image=0)`` keeps all that one frame does; ``chipsim.area(mapping)`` says what of the
chip's memory it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chipsim.chip import ChipSpec, load_chip
    from chipsim.datasets import Dataset, load_dataset
    from chipsim.engine.compare import compare
    from chipsim.engine.run import RunResult, run
    from chipsim.engine.sweep import Sweep, sweep
    from chipsim.faults import Faults, load_faults
    from chipsim.mapping import Mapping, read_mapping, write_mapping
    from chipsim.timing.area import Area, area
    from chipsim.timing.history import History, history
    from chipsim.timing.network.alone import network
    from chipsim.timing.profile import profile
    from chipsim.timing.result import Profile

__all__ = [
    "Area", "ChipSpec", "Dataset", "Faults", "History", "Mapping", "Profile", "RunResult", "Sweep", "area", "compare",
    "history", "load_chip", "load_dataset", "load_faults", "network", "profile", "read_mapping", "run", "sweep",
    "write_mapping",
]  # fmt: skip

_HOME = {
    "ChipSpec": "chipsim.chip", "load_chip": "chipsim.chip",
    "Dataset": "chipsim.datasets", "load_dataset": "chipsim.datasets",
    "Faults": "chipsim.faults", "load_faults": "chipsim.faults",
    "compare": "chipsim.engine.compare", "run": "chipsim.engine.run", "RunResult": "chipsim.engine.run",
    "sweep": "chipsim.engine.sweep", "Sweep": "chipsim.engine.sweep",
    "Area": "chipsim.timing.area", "area": "chipsim.timing.area",
    "History": "chipsim.timing.history", "history": "chipsim.timing.history",
    "Profile": "chipsim.timing.result", "profile": "chipsim.timing.profile",
    "Mapping": "chipsim.mapping", "read_mapping": "chipsim.mapping", "write_mapping": "chipsim.mapping",
    "network": "chipsim.timing.network.alone",
}  # fmt: skip


def __getattr__(name: str) -> Any:  # so that `import chipsim` stays light
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'chipsim' has no attribute {name!r}")
