"""Explain differences between chip and model by float rounding, where the mapping tells what that can change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chipsim.engine.batches import predictions
from chipsim.engine.difference import Difference, difference_at, exceeding, levels_of, score_errors, sources_of
from chipsim.engine.host import Array, Host, run_model, session
from chipsim.engine.machine import Machine
from chipsim.engine.reference import reference_outputs
from chipsim.engine.rounding import ByLayer, execute_by_layer
from chipsim.mapping import Population

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Explained:
    """What differs in a batch of images if each layer is given the levels that the model has before it."""

    differences: int  # levels and scores
    largest: float = 0.0  # in its own unit
    largest_in: str = ""
    difference: Difference | None = None  # the first that is not explained


class Explanation:
    """A chip with what its mapping tells of float rounding; called with images and the number of the first."""

    def __init__(self, machine: Machine, host: Host, path: Path, watched: list[Population]) -> None:
        self._machine, self._host, self._watched = machine, host, watched
        m = machine.mapping
        last = m.layers[m.readout]
        self._sums = last.tensor if last.tensor != m.output_tensor else ""  # the model computes its scores from these
        self._slack = m.slack if last.tensor == m.output_tensor else 0.0
        self._path = path
        self._reference: Callable[[Array], list[Array]] | None = None

    def __call__(self, images: Array, first: int) -> Explained:
        """Execute the images layer by layer."""
        m = self._machine.mapping
        if self._reference is None:
            self._reference = reference_outputs(m, self._path, [entry.tensor for entry in self._watched], self._sums)
        scores, *tensors = self._reference(images)
        levels = [levels_of(entry, tensor) for entry, tensor in zip(self._watched, tensors, strict=False)]
        for entry, level in zip(self._watched, levels, strict=True):
            beyond = exceeding(entry, level, first)
            if beyond is not None:
                return Explained(1, difference=beyond)
        sources = [sources_of(m, entry) for entry in self._watched]
        encoder = self._host.spikes(images)
        found = execute_by_layer(self._machine, encoder, list(zip(self._watched, levels, strict=True)), sources)
        sums = tensors[len(levels)] if len(tensors) > len(levels) else None
        mine = self._host.scores(found.potentials)
        error, wrong = score_errors(m, _flat(mine), _flat(scores), self._slack)
        firm = wrong & ~(found.open | self._rounded(found, sums))[:, None]
        unexplained = [
            difference_at(m, each.entry, each.unexplained, found.spikes, found.given, level, first)
            for each in found.apart
            for entry, level in zip(self._watched, levels, strict=True)
            if entry is each.entry and each.unexplained.any()
        ]
        if firm.any():
            image, output = np.argwhere(firm)[0].tolist()
            values = float(_flat(scores)[image, output]), float(_flat(mine)[image, output])
            unexplained.append(Difference(first + image, m.output_tensor, output, *values))
        largest = [(each.largest, each.entry.name) for each in found.apart]
        largest += [(float(np.nan_to_num(error[wrong], nan=np.inf).max()), m.output_tensor)] if wrong.any() else []
        return Explained(
            sum(each.features for each in found.apart) + int(wrong.sum()),
            *max(largest, default=(0.0, "")),
            min(unexplained, key=lambda each: each.image, default=None),  # of one image, the first layer
        )

    def _rounded(self, found: ByLayer, sums: Array | None) -> Bool:
        """Find the images whose sums before the output differ, but all by no more than rounding can explain."""
        m = self._machine.mapping
        if sums is None:
            return np.zeros(len(found.potentials), bool)
        import onnx

        proto = onnx.load_model_from_string(m.readout_onnx)
        if self._sums not in {name for node in proto.graph.node for name in node.output}:
            return np.zeros(len(found.potentials), bool)
        proto.graph.output.append(onnx.ValueInfoProto(name=self._sums))
        readout = session(proto.SerializeToString(), "readout.onnx")
        mine = _flat(run_model(readout, self._sums, "potentials", found.potentials, "readout.onnx", sums.shape))
        _, wrong = score_errors(m, mine, _flat(sums), m.slack)
        return np.asarray(~wrong.any(axis=1) & (mine != _flat(sums)).any(axis=1))


class Tally:
    """What the batches of a comparison add up to."""

    def __init__(self) -> None:
        self.explained = self.changed = self._images = 0
        self.largest, self.largest_in = 0.0, ""
        self._right: tuple[int, int] | None = None

    @property
    def accuracy(self) -> tuple[float, float] | None:
        """The model's and the chip's; None without labels."""
        return None if self._right is None else (self._right[0] / self._images, self._right[1] / self._images)

    def add(self, found: Explained) -> None:
        """Add the explained differences of a batch."""
        self.explained += found.differences
        if found.largest > self.largest:
            self.largest, self.largest_in = found.largest, found.largest_in

    def predict(self, model: Array, chip: Array, labels: Array | None) -> None:
        """Compare the predictions of a batch, given the scores of both."""
        theirs, mine = predictions(model), predictions(chip)
        self.changed += int((theirs != mine).sum())
        self._images += len(theirs)
        if labels is not None:
            before = self._right or (0, 0)
            self._right = before[0] + int((theirs == labels).sum()), before[1] + int((mine == labels).sum())


def _flat(values: Array) -> F64:
    return values.reshape(len(values), -1).astype(np.float64)
