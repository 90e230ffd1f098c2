"""Bundle what the steps of integerizing share: the model, the state of its tensors, the analysis and the layer sink."""

from __future__ import annotations

from dataclasses import dataclass

from chipsim.mapping import InputSpec
from qsnnc.frontend.host.pixel_input import Pixels
from qsnnc.frontend.integerize.analysis import Analysis
from qsnnc.frontend.integerize.host_parts import Boundaries, HostParts
from qsnnc.frontend.integerize.sink import LayerSink
from qsnnc.frontend.integerize.state import Known
from qsnnc.frontend.integerize.weights import Weights
from qsnnc.frontend.model.layer_names import Namer
from qsnnc.frontend.model.model import Model


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """One pass over the nodes of a model; exists for one call of `integerize`."""

    model: Model
    namer: Namer
    known: Known
    analysis: Analysis
    sink: LayerSink
    weights: Weights
    host: HostParts
    pixels: Pixels | None = None  # if the image itself is the chip's input

    @staticmethod
    def of(model: Model, rule: InputSpec, chosen: Boundaries) -> Walk:
        """Start at the image, which belongs to the host unless it is the chip's input."""
        pixels = Pixels(model, rule) if chosen.image_on_chip else None
        namer = Namer()
        known = Known(() if pixels else (model.input,))
        analysis, weights = Analysis(model, known), Weights(model, namer, chosen.bits)
        host = HostParts(model, chosen, analysis, weights)
        return Walk(
            model, namer, known, analysis, LayerSink(namer, set(filter(model.returns, model.written))), weights, host, pixels
        )
