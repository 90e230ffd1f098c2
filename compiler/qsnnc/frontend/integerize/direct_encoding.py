"""Choose where the host's part ends if nobody did: at the first quantized activation, or after the first linear layer.

An image quantizer of 8 bits would take 255 axons for each input of the first layer. If the next activation is narrow, the
host computes the first layer too and hands over that activation (direct encoding). The same where the first layer's weights
are floats, which only the host can compute.
"""

from __future__ import annotations

from dataclasses import replace

from chipsim.mapping import InputSpec
from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.host_parts import Boundaries, first_layer, linear_layers
from qsnnc.frontend.integerize.integerize import Integerized, integerize
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.outcomes import WeightsNotQuantized

#: the largest level of a narrow activation, 4 bits
NARROW = 15


def integerize_from_best(model: Model, rule: InputSpec, chosen: Boundaries) -> Integerized:
    """Integerize a model, with the first linear layer on the host where that is needed or takes far fewer axons.

    Raises
    ------
    ModelError, UsageError
        As `integerize`; if neither place is possible, the error of the first activation.
    """
    first = None if chosen.image_on_chip or chosen.encoder else first_layer(model)
    if first is None:
        return integerize(model, rule, chosen)
    after = replace(chosen, encoder=first)
    node = linear_layers(model)[first]
    try:
        found = integerize(model, rule, chosen)
    except ModelError as error:
        blamed = [entry for entry in error.problems if isinstance(entry, WeightsNotQuantized)]
        if not any(entry.fields["node"] == node.name for entry in blamed):
            raise
        try:
            return integerize(model, rule, after)
        except ModelError as second:
            raise second if len(second.problems) < len(error.problems) else error from None
    if found.graph.encoder.levels <= NARROW or node.outputs[0] in found.host:
        return found
    try:
        direct = integerize(model, rule, after)
    except ModelError:
        return found
    return direct if direct.graph.encoder.levels <= NARROW else found
