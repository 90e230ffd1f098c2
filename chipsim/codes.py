"""The codes of errors and violations. mypy checks them where they are raised; `chipsim.explain` has a page for each."""

from __future__ import annotations

from typing import Literal, get_args

Code = Literal[
    "activation-not-quantized", "activation-widened", "add-scales", "avoid-invalid", "batch-moved", "builder-rule",
    "chip-dead", "chip-invalid", "chip-kind", "chip-unknown", "chip-untimed", "cluster-unavailable", "columns",
    "concat-scales", "constant-activation", "cores", "crosscheck-not-covered", "crosscheck-unavailable",
    "data-corrupt", "data-dtype",
    "data-events", "data-labels", "data-missing", "data-no-images", "data-not-finite", "data-not-pixels", "data-rate",
    "data-shape", "data-spikes", "dataset-unknown", "fan-in", "faults-contradiction", "faults-invalid",
    "file-unreadable", "fit-nir", "fit-nothing", "host-integers", "inputs", "layer-unknown", "layout", "levels-uneven",
    "library-missing", "map-damaged", "map-dead-core", "map-onnx", "map-rule", "model-attribute", "model-chance",
    "model-corrupt",
    "model-differs", "model-ends", "model-external", "model-input", "model-invalid", "model-large",
    "model-not-finite", "model-not-quantized", "model-operator", "model-opset", "model-shapes", "model-subgraph",
    "network-file", "network-mesh", "network-routes", "network-size", "neuron-model", "neurons", "nir-corrupt", "nir-direct",
    "nir-graph", "nir-grid", "nir-leak", "nir-metadata", "nir-multi-spike", "nir-node", "nir-none", "nir-parameter",
    "nir-readout", "nir-semantics", "nir-shape", "nir-width", "not-monotone", "not-static", "option-unused",
    "option-value", "options-conflict", "output-twice", "output-unknown", "output-unwritable", "outputs", "pad-value",
    "page-other", "pixels-no-grid", "place-unknown", "plot-files", "plot-large", "potential", "reference-refuses",
    "reordered", "requantized", "result-schema", "result-timing", "rows", "space-invalid", "steps", "sweep-mixed", "targets",
    "tensor-rank", "threshold", "two-activations", "two-encoders", "usage", "weight-bits", "weights-not-constant",
    "weights-not-quantized", "yaml-syntax",
]  # fmt: skip

#: all of them, in alphabetical order
CODES: tuple[Code, ...] = get_args(Code)
