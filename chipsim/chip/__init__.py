"""What a chip is: `ChipSpec`, its loader and the presets."""

from chipsim.chip.spec import ChipSpec

__all__ = ["ChipSpec"]
