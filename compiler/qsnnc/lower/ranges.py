"""Check a layer against the chip: widths of weights, potentials and thresholds, and what its neurons have to do."""

from __future__ import annotations

from chipsim.chip import ChipSpec
from chipsim.mapping.dynamics import Dynamics, potential_range, unsupported
from qsnnc.errors import Violation
from qsnnc.ir.layers import Int, Layer
from qsnnc.ir.weights import bits_of_connections

#: what a layer needs that a chip's neurons cannot do, by the key of the chip's ``neuron:`` section, and what to do
_NEEDS = {
    "neuron": ("its neurons keep {found}; chip '{chip}' has {allowed}", "Use a chip with a 'neuron:' section"),
    "resets": ("its neurons reset by '{found}'; chip '{chip}' by {allowed}", "Train with one of these"),
    "leak_bits": ("its leak is k / 2^{found}; chip '{chip}' allows 2^{allowed}", "Use a coarser leak"),
    "fraction_bits": (
        "its potentials take {found} fraction bits; chip '{chip}' allows {allowed}",
        "Use fewer steps or a coarser leak",
    ),
    "bias": ("its neurons have {found}; chip '{chip}' has {allowed}", "Train without a bias"),
    "start": ("its neurons have {found}; chip '{chip}' begins with {allowed}", "Use a start value of 0"),
    "delay": ("its spikes are delayed by a step; chip '{chip}' sends them at once", "Use a network without that delay"),
}


def ranges(layer: Layer, chip: ChipSpec, steps: int = 1) -> list[Violation]:
    """Return a violation for each limit of the chip that a layer exceeds: weights, neuron model, potentials, thresholds."""
    found = []
    need = bits_of_connections(layer.connections)
    widest = max(chip.weight_bits)
    if need > widest:
        if layer.kind == "add":
            advice = "It adds tensors whose scales have no small ratio: give them the same scale."
        else:
            advice = "Quantize them to fewer bits (a falling activation negates its weights, and 128 does not fit 8 bits)."
        text = f"its weights need {need} bits; chip '{chip.name}' has at most {widest}. {advice}"
        found.append(Violation("weight-bits", layer.name, "columns", need, widest, text))
    advice = "Use fewer levels, fewer weight bits or a smaller fan-in."
    # the verifier bounds the positive and the negative weights apart, which is what reach does for levels from 0
    low, high = layer.reach[..., 0], layer.reach[..., 1]
    if layer.dynamics is not None:
        found += _neuron(layer, layer.dynamics, chip)
        low, high = stateful_range(layer, layer.dynamics, (low, high), steps)
        advice = (
            f"Its {steps} steps take {layer.dynamics.fraction_bits} fraction bits. Use fewer steps, a coarser leak, fewer "
            "weight bits, or a smaller fan-in."
        )
    bottom, top = int(low.min()), int(high.max())
    if top > chip.potential_max or bottom < chip.potential_min:
        text = (
            f"its potentials reach {bottom} to {top}; chip '{chip.name}' holds {chip.potential_min} to "
            f"{chip.potential_max}. {advice}"
        )
        found.append(Violation("potential", layer.name, "potential", max(top, -bottom), chip.potential_max, text))
    if layer.thresholds.size:
        bottom, top = int(layer.thresholds.min()), int(layer.thresholds.max())
        if top > chip.threshold_max or bottom < chip.threshold_min:
            text = (
                f"its thresholds reach {bottom} to {top}; chip '{chip.name}' holds {chip.threshold_min} to "
                f"{chip.threshold_max}. {advice}"
            )
            found.append(Violation("threshold", layer.name, "potential", max(top, -bottom), chip.threshold_max, text))
    return found


def stateful_range(layer: Layer, model: Dynamics, sums: tuple[Int, Int], steps: int) -> tuple[Int, Int]:
    """Return the smallest and largest potential over the steps, (border classes, channels), from those of the sums."""
    threshold = None if layer.readout else layer.thresholds[..., 0]
    reached = potential_range(model, *sums, threshold, model.constants, steps)
    return reached.low, reached.high


def _neuron(layer: Layer, model: Dynamics, chip: ChipSpec) -> list[Violation]:
    violations = []
    for key, found, allowed in unsupported(model, model.constants, chip.neuron):
        text, advice = _NEEDS[key]
        said = ", ".join(allowed) if isinstance(allowed, list) else allowed
        line = f"{text.format(found=found, allowed=said, chip=chip.name)}. {advice}, or use another chip."
        violations.append(Violation("neuron-model", layer.name, "neuron", found, said, line))
    return violations
