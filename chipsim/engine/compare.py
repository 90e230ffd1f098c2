"""Compare the chip with the ONNX model: every level of every layer, then the scores, for each image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from chipsim import paths
from chipsim.datasets import Dataset
from chipsim.engine.host import Array, load_host, reference_session
from chipsim.engine.machine import Machine, load
from chipsim.engine.protocol import Compiled
from chipsim.engine.setup import of_one_step, open_dataset, open_mapping
from chipsim.errors import InputError
from chipsim.integer_kernels import of_one_signedness
from chipsim.mapping import Layer, Mapping, Population
from chipsim.mapping.pixels import prepare
from chipsim.onnx_repair import repaired
from chipsim.options import DataKeywords, DataOptions, merged
from chipsim.qonnx_ops import rewrite
from chipsim.quoting import quote

#: images compared at a time
BATCH = 100
#: a tested (not certified) mapping may miss a score by this, relative to the largest
TOLERANCE = 1e-5
#: bytes of an ONNX file: protobuf's limit
MOST_MODEL = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where chip and model differ."""

    image: int
    layer: str
    element: int  # feature of the layer's tensor; for scores the index of the output
    expected: float  # level, or score
    found: float
    core: int | None = None
    neuron: int | None = None  # in its core
    potential: int | None = None
    threshold: int | None = None
    exceeds: bool = False  # whether the model has a level beyond the layer's highest (--levels)

    def __str__(self) -> str:
        place = f"{self.layer}: image {self.image}, feature {self.element}"
        if self.exceeds:
            return f"{place}: the model has level {self.expected:g}, and --levels left {self.found:g} as the highest"
        place += f": the model has {self.expected:g}, the chip {self.found:g}"
        if self.core is None:
            return place
        return f"{place} (core {self.core}, neuron {self.neuron}, potential {self.potential}, threshold {self.threshold})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison, with the first difference if there is one."""

    images: int
    populations: tuple[str, ...]  # compared level by level
    values: int  # levels and scores compared
    difference: Difference | None
    largest_score_error: float

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.difference is None


def compare(
    mapping: Mapping | str | Path,
    model: str | Path,
    dataset: Dataset | str | Path,
    options: DataOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[DataKeywords],
) -> Comparison:
    """Compare every level and score of a mapping with the ONNX model, image by image.

    Scores of a certified mapping must be equal to the bit; those of a tested one within float rounding.

    Raises
    ------
    InputError
        The model is not the one that was compiled.
    """
    mapping = open_mapping(mapping)
    of_one_step(mapping, "an ONNX model")
    dataset = open_dataset(dataset, merged(options or DataOptions(), keywords))
    machine, host, limits = load(mapping), load_host(mapping), ThreadpoolController()
    watched = [entry for entry in (mapping.encoder, *mapping.layers) if entry.tensor and entry.levels]
    reference = reference_outputs(mapping, Path(model), [entry.tensor for entry in watched])

    def execute(images: Array, expected: list[Array], first: int) -> tuple[Array, list[Difference | None]]:
        with limits.limit(limits=1, user_api="blas"):  # small products, which threads would make slower
            spikes, potentials = machine.step(host.spikes(images))
        differences = [
            _levels_differ(mapping, machine, spikes, entry, tensor, first)
            for entry, tensor in zip(watched, expected, strict=True)
        ]
        return host.scores(potentials), differences

    return in_batches(mapping, dataset, tuple(entry.name for entry in watched), reference, execute, BATCH, progress)


def in_batches(
    compiled: Compiled,
    dataset: Dataset,
    names: tuple[str, ...],
    reference: Callable[[Array], list[Array]],
    execute: Callable[[Array, list[Array], int], tuple[Array, list[Difference | None]]],
    size: int,
    progress: Callable[[int, int], None] | None,
) -> Comparison:
    """Compare batch by batch, up to the first image that differs.

    Parameters
    ----------
    names : tuple of str
        Populations that are compared.
    reference : callable
        Returns the model's scores for a batch, then the tensor of each population.
    execute : callable
        Runs a batch, given the tensors and the number of its first image; returns scores, and the first difference of each
        population.
    size : int
        Images of a batch.
    """
    values, worst = 0, 0.0
    for first in range(0, len(dataset), size):
        images = prepare(dataset.images[first : first + size], compiled.input, dataset.name)
        wanted, *tensors = reference(images)
        scores, differences = execute(images, tensors, first)
        values += scores.size + sum(tensor.size for tensor in tensors)
        error, wrong_score = scores_differ(compiled, scores, wanted, first)
        worst = max(worst, error)
        found = [wrong for wrong in (*differences, wrong_score) if wrong is not None]
        if found:
            earliest = min(found, key=lambda wrong: wrong.image)  # of one image, the first layer
            return Comparison(earliest.image + 1, names, values, earliest, worst)
        if progress is not None:
            progress(min(first + size, len(dataset)), len(dataset))
    return Comparison(len(dataset), names, values, None, worst)


def reference_outputs(
    mapping: Compiled, path: Path, tensors: list[str]
) -> Callable[[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """The ONNX model with the layers' tensors as outputs, onnxruntime with optimisation off."""
    import onnx

    content = paths.read(path, MOST_MODEL, "file-unreadable")
    if hashlib.sha256(content).hexdigest() != mapping.model_sha256:
        raise InputError(
            str(path),
            "is not the model that the mapping was compiled from: its SHA-256 differs; pass that model, or compile this one",
            code="model-differs",
            found=hashlib.sha256(content).hexdigest(),
            allowed=mapping.model_sha256,
        )
    proto = of_one_signedness(rewrite(repaired(_whole(path, content))))
    there = {value.name for value in proto.graph.output}
    made = {name for node in proto.graph.node for name in node.output}
    missing = [name for name in tensors if name not in made]
    if missing:
        raise InputError(str(path), f"has no tensor {missing[0]!r}, which the mapping refers to", code="model-differs")
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in there)
    wanted = [mapping.output_tensor, *tensors]
    name = mapping.input.name
    axes = next(value for value in proto.graph.input if value.name == name).type.tensor_type.shape.dim
    if len(axes) == len(mapping.input.shape):  # a whole batch of the file is one image
        return _one_by_one(reference_session(proto.SerializeToString(), str(path)), str(path), name, wanted)
    axis = axes[0]
    size = axis.dim_value if axis.HasField("dim_value") else 0
    if size <= 0:
        axis.dim_param = "N"
    runner = reference_session(proto.SerializeToString(), str(path))

    def parts(images: npt.NDArray[Any], step: int) -> list[npt.NDArray[Any]]:
        """So many images at a time, the last ones filled up."""
        found = []
        for first in range(0, len(images), step):
            part = images[first : first + step]
            filled = np.concatenate([part, np.repeat(part[:1], step - len(part), axis=0)])
            given = runner.run(wanted, {name: filled})
            # a Squeeze of all axes takes the batch of one image away
            given = [value if value.shape[:1] == (step,) else value.reshape(step, -1) for value in given]
            found.append([value[: len(part)] for value in given])
        return [np.concatenate(columns) for columns in zip(*found, strict=True)]

    def call(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        try:
            return parts(images, size if size > 0 else len(images))
        except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
            if size > 0 or len(images) == 1:
                raise _not_run(str(path), error) from None
        return parts(images, 1)  # a reshape to one image, say

    return call


def _one_by_one(
    runner: Any, path: str, name: str, wanted: list[str]
) -> Callable[[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """Run a file whose tensors have no axis for the images, image by image."""

    def call(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        try:
            found = [runner.run(wanted, {name: image}) for image in images]
        except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
            raise _not_run(path, error) from None
        return [np.stack(values) for values in zip(*found, strict=True)]

    return call


def _not_run(path: str, error: Exception) -> InputError:
    return InputError(path, f"onnxruntime cannot run it ({quote(error)})", code="reference-refuses")


def _whole(path: Path, content: bytes) -> Any:
    """Parse a model and load its external data."""
    import onnx

    try:
        proto = onnx.load_model_from_string(content)
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001  # onnx raises several types
        text = f"its external data cannot be read ({' '.join(str(error).split())[:160]})"
        raise InputError(str(path), text, code="model-external") from None
    return proto


def _levels_differ(
    mapping: Mapping,
    machine: Machine,
    spikes: npt.NDArray[np.uint8],
    entry: Population,
    tensor: npt.NDArray[Any],
    first: int,
) -> Difference | None:
    """First level of a population that differs from the tensor."""
    images = spikes.shape[1]
    expected = np.round(tensor.reshape(images, -1).astype(np.float64) / entry.scale - entry.zero_point).astype(np.int64)
    beyond = exceeding(entry, expected, first)
    if beyond is not None:  # the neurons of the highest level fire as they should; the layers behind differ
        return beyond
    source, element = _sources_of(mapping, entry)
    feature, i = element // entry.levels, element % entry.levels
    # neuron by neuron: one that the compiler removed, dead or constant, is not there to compare
    bad = spikes[source] != (expected.T[feature] > i[:, None])
    if not bad.any():
        return None
    image = int(np.flatnonzero(bad.any(axis=0))[0])
    candidates = np.flatnonzero(bad[:, image])
    at = int(candidates[np.argmin(element[candidates])])
    level = int(expected[image, feature[at]])
    mine = feature == feature[at]
    found = (
        int(spikes[source[mine], image].sum()) + level - int((i[mine] < level).sum())
    )  # removed ones as the model has them
    if not isinstance(entry, Layer):
        return Difference(first + image, entry.name, int(feature[at]), float(level), float(found))
    wrong = int(source[at])
    neuron = wrong - mapping.encoder_neurons
    core = int(np.searchsorted(mapping.neuron_offset, neuron, side="right")) - 1
    inside = neuron - int(mapping.neuron_offset[core])
    axons = slice(int(mapping.axon_offset[core]), int(mapping.axon_offset[core + 1]))
    weights = mapping.crossbar(int(mapping.core_crossbar[core]))[:, inside].astype(np.int64)
    potential = int(weights @ spikes[mapping.axon_source[axons], image].astype(np.int64))
    return Difference(
        first + image,
        entry.name,
        int(feature[at]),
        float(level),
        float(found),
        core,
        inside,
        potential,
        int(mapping.neuron_threshold[neuron]),
    )


def exceeding(entry: Population, expected: npt.NDArray[np.int64], first: int) -> Difference | None:
    """First level (images, features) that is beyond a population's highest."""
    beyond = np.argwhere(expected > entry.levels)
    if not len(beyond):
        return None
    image, place = beyond[0].tolist()
    return Difference(first + image, entry.name, place, float(expected[image, place]), float(entry.levels), exceeds=True)


def _sources_of(mapping: Mapping, entry: Population) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sources of a population, and the element that each is."""
    if not isinstance(entry, Layer):
        own = np.arange(mapping.encoder_neurons)
        return own, own
    owner = np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset))
    own = np.flatnonzero(owner == mapping.layers.index(entry))
    return own + mapping.encoder_neurons, mapping.neuron_element[own].astype(np.int64)


def scores_differ(
    mapping: Compiled, found: npt.NDArray[Any], expected: npt.NDArray[Any], first: int
) -> tuple[float, Difference | None]:
    """Largest error, and the first score beyond what is allowed; a NaN equals only a NaN."""
    a, b = found.reshape(len(found), -1).astype(np.float64), expected.reshape(len(expected), -1).astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(a - b))
    allowed = 0.0 if mapping.exactness == "certified" else TOLERANCE * np.maximum(1.0, np.abs(b).max(axis=1, keepdims=True))
    bad = np.argwhere(~(error <= allowed))
    largest = float(error.max(initial=0.0))
    if not len(bad):
        return largest, None
    image, output = bad[0].tolist()
    return largest, Difference(
        first + image, mapping.output_tensor, output, float(b[image, output]), float(a[image, output])
    )
