"""Simulate a chip of crossbar cores: run a mapping spike by spike, time it, and check it against its model.

``chipsim.run(mapping, dataset)`` executes a ``.map``; ``chipsim.compare(mapping, model, dataset)`` checks it against the
ONNX model; ``chipsim.profile(mapping, dataset)`` simulates its cycles and energy and ``chipsim.history(mapping, dataset,
image=0)`` records every event of one image; ``chipsim.area(mapping)`` reports its use of memory. `MappingBuilder` makes a
mapping by hand. Options are keywords, or one value such as `RunOptions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chipsim.chip import ChipSpec, load_chip
    from chipsim.datasets import Dataset, load_dataset
    from chipsim.engine.compare import Comparison, compare
    from chipsim.engine.difference import Difference
    from chipsim.engine.result import RunResult
    from chipsim.engine.run import run
    from chipsim.engine.sweep import Sweep, sweep
    from chipsim.errors import InputError, MappingError, ReportedError, UsageError
    from chipsim.faults import Faults, load_faults
    from chipsim.mapping import Mapping, MappingBuilder, NeuronModel, read_mapping, write_mapping
    from chipsim.options import DataOptions, EngineOptions, RunOptions
    from chipsim.timing.area import Area, area
    from chipsim.timing.history import History, history
    from chipsim.timing.keys import profile_json
    from chipsim.timing.network.alone import NetworkResult, network
    from chipsim.timing.profile import profile
    from chipsim.timing.result import Profile

__all__ = [
    "Area", "ChipSpec", "Comparison", "DataOptions", "Dataset", "Difference", "EngineOptions", "Faults", "History",
    "InputError", "Mapping", "MappingBuilder", "MappingError", "NetworkResult", "NeuronModel", "Profile", "ReportedError",
    "RunOptions", "RunResult", "Sweep", "UsageError", "area", "compare", "history", "load_chip", "load_dataset",
    "load_faults", "network", "profile", "profile_json", "read_mapping", "run", "sweep", "write_mapping",
]  # fmt: skip

_HOME = {
    "chipsim.chip": "ChipSpec load_chip",
    "chipsim.datasets": "Dataset load_dataset",
    "chipsim.engine.compare": "Comparison compare",
    "chipsim.engine.difference": "Difference",
    "chipsim.engine.result": "RunResult",
    "chipsim.engine.run": "run",
    "chipsim.engine.sweep": "Sweep sweep",
    "chipsim.errors": "InputError MappingError ReportedError UsageError",
    "chipsim.faults": "Faults load_faults",
    "chipsim.mapping": "Mapping MappingBuilder NeuronModel read_mapping write_mapping",
    "chipsim.options": "DataOptions EngineOptions RunOptions",
    "chipsim.timing.area": "Area area",
    "chipsim.timing.history": "History history",
    "chipsim.timing.keys": "profile_json",
    "chipsim.timing.network.alone": "NetworkResult network",
    "chipsim.timing.profile": "profile",
    "chipsim.timing.result": "Profile",
}


def __getattr__(name: str) -> Any:  # so that `import chipsim` stays light
    for module, names in _HOME.items():
        if name in names.split():
            import importlib

            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'chipsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
