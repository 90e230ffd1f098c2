"""Faults of a chip, and their effect on a mapping: docs/faults.md."""

from chipsim.faults.damage import NEVER, NO_LUCK, THROUGH, WORKS, Damage, Luck, unharmed, wrap
from chipsim.faults.inflict import inflict, spiking
from chipsim.faults.spec import KINDS, Faults, load_faults

__all__ = [
    "KINDS", "NEVER", "NO_LUCK", "THROUGH", "WORKS", "Damage", "Faults", "Luck", "inflict", "load_faults", "spiking",
    "unharmed",
    "wrap",
]  # fmt: skip
