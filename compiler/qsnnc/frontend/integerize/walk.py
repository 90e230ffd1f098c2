"""Bundle what the steps of integerizing share: the model, the state of its tensors, the analysis and the layer sink."""

from __future__ import annotations

from dataclasses import dataclass

from qsnnc.frontend.host.pixel_input import Pixels
from qsnnc.frontend.integerize.analysis import Analysis
from qsnnc.frontend.integerize.sink import LayerSink
from qsnnc.frontend.integerize.state import Known
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
    pixels: Pixels | None = None  # if the image itself is the chip's input

    @staticmethod
    def of(model: Model, pixels: Pixels | None) -> Walk:
        """Start at the image, which belongs to the host unless it is the chip's input."""
        namer = Namer()
        known = Known(() if pixels else (model.input,))
        return Walk(model, namer, known, Analysis(model, known), LayerSink(namer, model.written), pixels)
