"""The ``.map`` format: what it holds (`program`), its page (``FORMAT.md``), reading, writing and validation."""

from chipsim.mapping.program import ARRAYS, InputSpec, Layer, Mapping, Population, pack_crossbar, unpack_crossbar
from chipsim.mapping.read import read_mapping
from chipsim.mapping.validate import validate_mapping
from chipsim.mapping.write import write_mapping

__all__ = [
    "ARRAYS",
    "InputSpec",
    "Layer",
    "Mapping",
    "Population",
    "pack_crossbar",
    "read_mapping",
    "unpack_crossbar",
    "validate_mapping",
    "write_mapping",
]
