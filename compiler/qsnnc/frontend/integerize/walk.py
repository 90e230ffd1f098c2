"""What the steps of integerizing share: the model, what is known of its tensors, the questions, and where layers go."""

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
    """One walk over a model; lives for one call of `integerize`."""

    model: Model
    namer: Namer
    known: Known
    analysis: Analysis
    sink: LayerSink
    pixels: Pixels | None = None  # where the image itself is to enter the chip

    @staticmethod
    def of(model: Model, pixels: Pixels | None) -> Walk:
        """Begin with the image, which is the host's unless it enters the chip."""
        namer = Namer(model.origins)
        known = Known(() if pixels else (model.input,))
        return Walk(model, namer, known, Analysis(model, known), LayerSink(namer, model.written), pixels)
