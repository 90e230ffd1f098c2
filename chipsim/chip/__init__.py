"""What a chip is: `ChipSpec`, its loader and the presets."""

from chipsim.chip.load import load_chip, preset_names
from chipsim.chip.spec import ChipSpec

__all__ = ["ChipSpec", "load_chip", "preset_names"]
