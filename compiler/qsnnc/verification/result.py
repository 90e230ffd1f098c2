"""The result of `verify`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from qsnnc.ir.uncertain import UncertainThresholds
from qsnnc.verification.explain import Mismatch
from qsnnc.verification.reproduce import Reproduction
from qsnnc.verification.weight_effects import WeightEffects

#: spans of uncertain thresholds that the JSON lists for each layer
MOST_SPANS = 1000


@dataclass(frozen=True, slots=True)
class Agreement:
    """The predictions of the integer network, executed from the image to the scores, beside the model's."""

    changed: int  # images whose prediction is another
    model: float | None  # accuracy, a fraction; None without labels
    integer: float | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Verification:
    """The result of `verify`: what was compared, what differs, and what of it float rounding explains."""

    model_sha256: str
    exactness: Literal["certified", "tested"]
    images: int
    values: int
    uncertain: dict[str, UncertainThresholds]
    thresholds: dict[str, int]  # of each layer but the readout: how many there are, uncertain or not
    inexact: tuple[str, ...]  # layers whose float sums depend on their order
    mismatches: tuple[Mismatch, ...]  # at most one per layer, in the order of the layers
    differences: int  # levels and scores that differ, over all layers and images
    unexplained: int  # those that rounding at an uncertain threshold does not explain
    largest: float  # the largest difference of an activation or a score, in its own unit
    largest_in: str  # the layer or output that it is in
    agreement: Agreement
    weights: WeightEffects | None = None  # where weights were quantized on request
    reference: Literal["onnxruntime", "onnx", "qonnx"] = "onnxruntime"
    reproduction: Reproduction | None = None
    unwritten: str = ""  # why no reproduction could be written

    @property
    def equal(self) -> bool:
        """Whether every level and score was equal."""
        return not self.differences

    @property
    def explained(self) -> int:
        """Number of differences that rounding at an uncertain threshold explains."""
        return self.differences - self.unexplained

    def passes(self, *, strict: bool = False) -> bool:
        """Return whether rounding explains every difference or, if ``strict``, whether there is none."""
        return self.equal if strict else not self.unexplained

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "schema": "qsnnc-verify/2",
            "model_sha256": self.model_sha256,
            "reference": self.reference,
            "exactness": self.exactness,
            "equal": self.equal,
            "differences": self.differences,
            "explained": self.explained,
            "unexplained": self.unexplained,
            "largest": self.largest,
            "largest_in": self.largest_in or None,
            "predictions_changed": self.agreement.changed,
            "accuracy": {"model": self.agreement.model, "integer": self.agreement.integer},
            "samples": self.images,
            "values": self.values,
            "inexact_sums": list(self.inexact),
            "thresholds": self.thresholds,
            "uncertain_thresholds": {name: each.to_json(MOST_SPANS) for name, each in self.uncertain.items()},
            "uncertain_totals": {name: each.total_json() for name, each in self.uncertain.items()},
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
            "weight_bits": None if self.weights is None else self.weights.to_json(),
            "reproduction": None if self.reproduction is None else asdict(self.reproduction),
        }
