"""Choose where the host's part ends if nobody did: at the first quantized activation, or after the first linear layer.

An image quantizer of 8 bits would take 255 axons for each input of the first layer. If the next activation is narrow, the
host computes the first layer too and hands over that activation (direct encoding). The same where the first layer's weights
are floats, which only the host can compute.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from chipsim.mapping import InputSpec
from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.host_parts import Boundaries, first_layer, linear_layers
from qsnnc.frontend.integerize.integerize import Integerized, first_encoder, integerize
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
    if _is_better(model, rule, chosen, after):
        with suppress(ModelError):
            return _direct(integerize(model, rule, after))
    try:
        return integerize(model, rule, chosen)
    except ModelError as error:
        node = linear_layers(model)[first]
        blamed = [entry for entry in error.problems if isinstance(entry, WeightsNotQuantized)]
        if not any(entry.fields["node"] == node.name for entry in blamed):
            raise
        try:
            return _direct(integerize(model, rule, after))
        except ModelError as second:
            raise second if len(second.problems) < len(error.problems) else error from None


def _direct(found: Integerized) -> Integerized:
    return replace(found, graph=replace(found.graph, direct_encoding=True))


def _is_better(model: Model, rule: InputSpec, chosen: Boundaries, after: Boundaries) -> bool:
    """Return whether the host's first activation is wide, and that after the first linear layer is narrow."""
    first = first_encoder(model, rule, chosen)
    if first is None or first.levels <= NARROW:
        return False
    second = first_encoder(model, rule, after)
    return second is not None and second.name != first.name and second.levels <= NARROW
