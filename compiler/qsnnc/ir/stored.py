"""A layer graph as data: a description of plain values, and the weights of its connections apart.

A mapping carries both in its member ``network.json``, so that it can be exported; a NIR file that was exported carries the
description, and has the weights in its own nodes.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from chipsim.mapping import InputSpec, Mapping
from chipsim.mapping.dynamics import Dynamics
from chipsim.mapping.schema import PopulationEntry, StepInputEntry, StepOutputEntry
from chipsim.mapping.write import ORDER
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population, verify_layers

#: of the description
VERSION = 1
#: what a description that somebody changed raises
_DAMAGED = (KeyError, TypeError, ValueError, AssertionError, IndexError, AttributeError, OverflowError, RecursionError)


def describe(graph: LayerGraph) -> dict[str, Any]:
    """Return everything of a graph but the weights and the host's ONNX models, as values that JSON has."""
    return {
        "version": VERSION,
        "encoder": _population(graph.encoder),
        "layers": [_layer(layer) for layer in graph.layers],
        "input": asdict(graph.input),
        "output": {"tensor": graph.output_tensor, "shape": list(graph.output_shape), "of": graph.readout_of},
        "model_sha256": graph.model_sha256,
        "steps": graph.steps,
        "of_pixels": graph.of_pixels,
        "open_encoder": graph.open_encoder,
        "certified": graph.certified,
    }


def restore(
    found: dict[str, Any], weights: Callable[[int, int], Int], encoder_onnx: bytes | None, readout_onnx: bytes
) -> LayerGraph:
    """Undo `describe`; what only reports need, such as which thresholds are uncertain, is left out.

    Parameters
    ----------
    weights : callable
        From the numbers of a layer and of its connection to the weights.

    Raises
    ------
    ValueError
        The description is damaged, or the weights do not fit it.
    """
    try:
        if found["version"] != VERSION:
            raise ValueError(f"is of version {found['version']!r}; allowed: {VERSION}")
        given = StepInputEntry.model_validate(found["input"])
        output = StepOutputEntry.model_validate(found["output"])
        graph = LayerGraph(
            encoder=Population(**_restored(found["encoder"])),
            layers=tuple(
                _restored_layer(entry, lambda link, number=number: weights(number, link))  # type: ignore[misc]
                for number, entry in enumerate(found["layers"])
            ),
            encoder_onnx=encoder_onnx, readout_onnx=readout_onnx, encoder_exact=bool(found["certified"]),
            input=InputSpec(**given.model_dump()), output_tensor=output.tensor, output_shape=output.shape,
            model_sha256=str(found["model_sha256"]), of_pixels=bool(found["of_pixels"]),
            open_encoder=bool(found.get("open_encoder")), steps=int(found["steps"]),
            readout_of=output.of,
        )  # fmt: skip
        verify_layers(graph)
    except _DAMAGED as error:
        raise ValueError(str(error).split("\n")[0][:100] or type(error).__name__) from None
    return graph


def to_bytes(graph: LayerGraph) -> bytes:
    """Return the description and the weights."""
    weights = [[_packed(link.weights) for link in layer.connections] for layer in graph.layers]
    return json.dumps(describe(graph) | {"weights": weights}, separators=(",", ":")).encode()


def of_mapping(mapping: Mapping) -> LayerGraph | None:
    """Return the layer graph that a mapping was compiled from; None if it holds none.

    Raises
    ------
    ValueError
        The member is damaged.
    """
    if mapping.network is None:
        return None
    try:
        found = json.loads(mapping.network)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict) or "weights" not in found:
        raise ValueError("it has no weights")
    return restore(
        found, lambda layer, link: _unpacked(found["weights"][layer][link]), mapping.encoder_onnx, mapping.readout_onnx
    )


def _packed(weights: Int) -> dict[str, Any]:
    dtype = "<i1" if np.abs(weights).max(initial=0) < 128 else "<i8"
    return {"dtype": dtype, "shape": list(weights.shape), "base64": b64encode(weights.astype(dtype).tobytes()).decode()}


def _unpacked(found: dict[str, Any]) -> Int:
    if found["dtype"] not in ("<i1", "<i8"):
        raise ValueError(f"weights of dtype {found['dtype']!r}")
    return np.frombuffer(b64decode(found["base64"]), found["dtype"]).reshape(found["shape"]).astype(np.int64)


def _population(population: Population) -> dict[str, Any]:
    return {
        "name": population.name, "tensor": population.tensor, "tensor_shape": list(population.tensor_shape),
        "shape": list(population.shape), "levels": population.levels, "scale": float(population.scale),
        "zero_point": float(population.zero_point),
    }  # fmt: skip


def _restored(found: dict[str, Any]) -> dict[str, Any]:
    names = ("name", "tensor", "levels", "scale", "zero_point")
    entry = PopulationEntry.model_validate(
        {name: found[name] for name in names} | {"shape": found["tensor_shape"], "tick": 0, "order": ORDER}
    )
    return {name: getattr(entry, name) for name in names} | {"tensor_shape": entry.shape, "shape": tuple(found["shape"])}


def _layer(layer: Layer) -> dict[str, Any]:
    found = _population(layer) | {
        "kind": layer.kind,
        "connections": [
            {
                "source": link.source, "strides": list(link.strides), "pads": list(link.pads),
                "dilations": list(link.dilations), "groups": link.groups, "level_wise": link.level_wise,
            }
            for link in layer.connections
        ],
        "thresholds": _listed(layer.thresholds), "border": _listed(layer.border), "reach": _listed(layer.reach),
    }  # fmt: skip
    if layer.ceiling is not None:
        found["ceiling"] = _listed(layer.ceiling)
    model = layer.dynamics
    if model is not None:
        found["dynamics"] = {
            "reset": model.reset, "leak": list(model.leak), "fraction_bits": model.fraction_bits, "delay": model.delay,
            **{name: _listed(getattr(model, name)) for name in ("amount", "start", "bias")},
        }  # fmt: skip
    return found


def _restored_layer(found: dict[str, Any], weights: Callable[[int], Int]) -> Layer:
    links = tuple(
        Connection(**entry | {key: tuple(entry[key]) for key in ("strides", "pads", "dilations")}, weights=weights(number))
        for number, entry in enumerate(found["connections"])
    )
    model = found.get("dynamics")
    if model is not None:
        constants = {name: _array(model[name]) for name in ("amount", "start", "bias")}
        model = Dynamics(**model | constants | {"leak": tuple(model["leak"])})
    return Layer(
        **_restored(found), kind=str(found["kind"]), connections=links, thresholds=_array(found["thresholds"]),
        border=_array(found["border"]), reach=_array(found["reach"]), exact_sums=True, dynamics=model,
        ceiling=_array(found["ceiling"]) if "ceiling" in found else None,
    )  # fmt: skip


def _listed(values: Int) -> dict[str, Any]:
    """Return an array as its shape and its values; the shape says how many empty ones there are."""
    return {"shape": list(values.shape), "values": values.reshape(-1).tolist()}


def _array(found: dict[str, Any]) -> Int:
    return np.array(found["values"], np.int64).reshape(found["shape"])
