"""Check the ranges of a layer's integers: weights, potentials and thresholds."""

from __future__ import annotations

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.ir.layers import Layer
from qsnnc.ir.weights import bits_of_connections


def ranges(layer: Layer, chip: ChipSpec) -> list[Violation]:
    """Return a violation for each range of the chip that weights, potentials or thresholds of a layer exceed."""
    found = []
    need = bits_of_connections(layer.connections)
    widest = max(chip.weight_bits)
    if need > widest:
        if layer.kind == "add":
            advice = "It adds tensors whose scales have no small ratio: give them the same scale."
        else:
            advice = "Quantize them to fewer bits (a falling activation negates its weights, and 128 does not fit 8 bits)."
        found.append(
            Violation(
                "weight-bits",
                layer.name,
                "columns",
                need,
                widest,
                f"its weights need {need} bits; chip '{chip.name}' has at most {widest}. {advice}",
            )
        )
    low, high = int(layer.reach[..., 0].min()), int(layer.reach[..., 1].max())
    # the verifier bounds the positive and the negative weights apart, which is what reach does for levels from 0
    if high > chip.potential_max or low < chip.potential_min:
        found.append(
            Violation(
                "potential",
                layer.name,
                "potential",
                max(high, -low),
                chip.potential_max,
                f"its potentials reach {low} to {high}; chip '{chip.name}' holds {chip.potential_min} to "
                f"{chip.potential_max}. "
                "Use fewer levels, fewer weight bits or a smaller fan-in.",
            )
        )
    if layer.thresholds.size:
        bottom, top = int(layer.thresholds.min()), int(layer.thresholds.max())
        if top > chip.threshold_max or bottom < chip.threshold_min:
            found.append(
                Violation(
                    "threshold",
                    layer.name,
                    "potential",
                    max(top, -bottom),
                    chip.threshold_max,
                    f"its thresholds reach {bottom} to {top}; chip '{chip.name}' holds {chip.threshold_min} to "
                    f"{chip.threshold_max}. Use fewer levels, fewer weight bits or a smaller fan-in.",
                )
            )
    return found
