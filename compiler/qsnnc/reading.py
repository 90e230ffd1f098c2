"""From a file to a layer graph: ONNX models and NIR files, by the options of the front end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from chipsim.errors import UsageError
from chipsim.mapping import InputSpec
from qsnnc.errors import ModelError
from qsnnc.frontend.importer.clip_activations import limits_of
from qsnnc.frontend.importer.read import read_onnx
from qsnnc.frontend.integerize.ceilings import with_ceilings
from qsnnc.frontend.integerize.direct_encoding import integerize_from_best
from qsnnc.frontend.integerize.integerize import Integerized
from qsnnc.frontend.integerize.weights import in_reference
from qsnnc.frontend.linear.weight_bits import ChangedWeights
from qsnnc.frontend.model.model import Model
from qsnnc.ir.layers import LayerGraph, WeightsChanged, verify_layers
from qsnnc.nir.options import NirOptions
from qsnnc.options import FrontendOptions, parse_pixels
from qsnnc.stages import Stages

if TYPE_CHECKING:
    from os import PathLike

    import onnx

    from qsnnc.nir.layers import SpikingNetwork

    ModelSource = str | PathLike[str] | onnx.ModelProto


def nir_path(model: ModelSource, options: FrontendOptions) -> str | None:
    """Return the path of a NIR file, None for ONNX; refuse the options of the one for the other.

    Raises
    ------
    UsageError
    """
    from qsnnc.nir.reading import is_nir

    path = None if not isinstance(model, str | os.PathLike) else os.fspath(model)
    if path is None or not is_nir(path):
        if options.nir.given:
            raise UsageError(
                "--semantics", "and the other options of spiking networks have no effect on an ONNX model; leave them out",
                code="option-unused", found=path,
            )  # fmt: skip
        return None
    for option, given in (
        ("--output", options.output), ("--levels", options.levels), ("--encoder", options.encoder != "host"),
        ("--readout", options.readout != "auto"),
    ):  # fmt: skip
        if given:
            raise UsageError(option, "has no effect on a NIR file; leave it out", code="option-unused", found=str(given))
    return path


def nir_options(options: FrontendOptions) -> NirOptions:
    """Return the options of a NIR file, with the bits of the weights from either place."""
    bits = options.boundaries.bits
    return replace(options.nir, weight_bits=bits.every, layer_bits=bits.named) if bits else options.nir


def exported_front(model: ModelSource, options: FrontendOptions, stages: Stages) -> LayerGraph | None:
    """Return the layer graph that a NIR file was exported from; None where it was not, or options ask for something else."""
    path = nir_path(model, options)
    if path is None or nir_options(options).given:
        return None
    from qsnnc.nir.exported import stored_graph
    from qsnnc.nir.reading import read_nir

    with stages.stage("integerize"):
        return stored_graph(read_nir(path))


def spiking_front(model: ModelSource, options: FrontendOptions, stages: Stages) -> SpikingNetwork:
    """Read a NIR file as a layer graph: the part that `compile_model`, `check` and `verify` share."""
    from qsnnc.nir.layers import read_spiking
    from qsnnc.nir.reading import read_nir

    path = nir_path(model, options)
    assert path is not None
    with stages.stage("integerize"):
        found = read_spiking(
            read_nir(path),
            nir_options(options),
            lambda metadata: _pixels(metadata.get("qsnnc.pixels"), options.pixels, path),
        )
    verify_layers(found.graph)
    return found


def front(
    source: ModelSource, options: FrontendOptions | None = None, stages: Stages | None = None
) -> tuple[Model, LayerGraph]:
    """Read a model and integerize it: the part that `compile_model`, `check` and `verify` share."""
    options, stages = options or FrontendOptions(), stages or Stages()
    chosen = options.boundaries
    with stages.stage("read"):
        model = read_onnx(source, options.output)
    rule = pixel_rule(model, options.pixels)
    with stages.stage("integerize"):
        found = integerize_from_best(model, rule, chosen)
    limits = limits_of(model, found.graph, options.levels)
    if not limits:
        return _checked(model, found)
    limited, graph = with_limits(source, limits, rule, options, stages)
    graph = with_ceilings(graph, found.graph, limits)
    verify_layers(graph)
    return limited, graph


def with_limits(
    source: ModelSource, limits: Mapping[str, float], rule: InputSpec, options: FrontendOptions, stages: Stages
) -> tuple[Model, LayerGraph]:
    """Read a model with a Clip at some tensors and integerize it."""
    with stages.stage("read"):
        model = read_onnx(source, options.output, limits)
    with stages.stage("integerize"):
        found = integerize_from_best(model, rule, options.boundaries)
    return _checked(model, found)


def _checked(model: Model, found: Integerized) -> tuple[Model, LayerGraph]:
    """Return the model whose reference has the changed weights, and its layer graph."""
    graph = replace(found.graph, weights_changed=tuple(map(_record, found.changed)))
    verify_layers(graph)
    return in_reference(model, found.changed), graph


def _record(change: ChangedWeights) -> WeightsChanged:
    """Return what a result tells of weights that were quantized."""
    tensor, replaced = change.tensor, change.node.inputs[change.position]
    return WeightsChanged(change.layer, change.bits, change.changed, change.weights.size, change.error, tensor, replaced)


def pixel_rule(model: Model, pixels: str | None) -> InputSpec:
    """Find the rule for uint8 pixels: that of the model's metadata, else the option, else ``unit``.

    Raises
    ------
    ModelError
        The metadata has no valid rule.
    """
    rule = _pixels(model.metadata.get("qsnnc.pixels"), pixels, str(model.path))
    return InputSpec(model.input, model.input_dtype, model.shapes[model.input], *rule)


def _pixels(own: str | None, given: str | None, path: str) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    try:
        return parse_pixels(own or given or "unit")
    except ValueError as error:  # options are checked when they are made
        raise ModelError(path, f"its metadata qsnnc.pixels: {error}", code="option-value") from None
