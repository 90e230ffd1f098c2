"""Mappings and the ``.map`` format: content (`program`), specification (``FORMAT.md``), reading, writing, building."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chipsim.mapping.dynamics import NeuronModel
from chipsim.mapping.program import ARRAYS, InputSpec, Layer, Mapping, Population, pack_crossbar, unpack_crossbar
from chipsim.mapping.read import read_mapping
from chipsim.mapping.validate import validate_mapping
from chipsim.mapping.write import write_mapping

if TYPE_CHECKING:
    from chipsim.mapping.builder import MappingBuilder
    from chipsim.mapping.groups import NeuronGroup, Neurons

__all__ = [
    "ARRAYS",
    "InputSpec",
    "Layer",
    "Mapping",
    "MappingBuilder",
    "NeuronGroup",
    "NeuronModel",
    "Neurons",
    "Population",
    "pack_crossbar",
    "read_mapping",
    "unpack_crossbar",
    "validate_mapping",
    "write_mapping",
]


def __getattr__(name: str) -> Any:  # who reads a mapping needs nothing of what builds one
    if name not in ("MappingBuilder", "NeuronGroup", "Neurons"):
        raise AttributeError(f"module 'chipsim.mapping' has no attribute {name!r}")
    from chipsim.mapping import builder, groups

    return builder.MappingBuilder if name == "MappingBuilder" else getattr(groups, name)
