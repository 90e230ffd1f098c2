"""What a chip is: `ChipSpec` (crossbars) and `PaicoreSpec` (PAICORE 2.5), their loader and the presets."""

from chipsim.chip.load import AnyChip, load_any_chip, load_chip, preset_names
from chipsim.chip.paicore import PaicoreSpec
from chipsim.chip.spec import ChipSpec

__all__ = ["AnyChip", "ChipSpec", "PaicoreSpec", "load_any_chip", "load_chip", "preset_names"]
