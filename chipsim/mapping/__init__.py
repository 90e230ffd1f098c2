"""Mappings and the ``.map`` format: content (`program`), specification (``FORMAT.md``), reading, writing, building."""

from chipsim.mapping.builder import MappingBuilder
from chipsim.mapping.dynamics import NeuronModel
from chipsim.mapping.groups import NeuronGroup, Neurons
from chipsim.mapping.program import ARRAYS, InputSpec, Layer, Mapping, Population, pack_crossbar, unpack_crossbar
from chipsim.mapping.read import read_mapping
from chipsim.mapping.validate import validate_mapping
from chipsim.mapping.write import write_mapping

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
