"""The ``.paicore`` format: words of PAICORE 2.5 with their fields, what they leave in cores, and the file around them.

``FORMAT.md`` beside this file specifies it. Nothing here executes anything.
"""

from chipsim.paicore.file import is_paicore, read_program, to_bytes, write_program
from chipsim.paicore.program import Block, Core, Delivery, Output, Program, Signal
from chipsim.paicore.validate import validate_program

__all__ = [
    "Block",
    "Core",
    "Delivery",
    "Output",
    "Program",
    "Signal",
    "is_paicore",
    "read_program",
    "to_bytes",
    "validate_program",
    "write_program",
]
