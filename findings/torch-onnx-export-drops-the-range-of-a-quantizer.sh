#!/bin/sh
# torch 2.13.0, torchao 0.18.0: an activation quantized to 0..15 by pt2e has 256 levels in the ONNX file that torch.onnx writes.
#
# quantize_per_tensor carries quant_min and quant_max, and the exporter (dynamo=True) writes a QuantizeLinear to uint8 without
# them and without a Clip. Inside the range that calibration saw nothing differs; beyond it torch saturates and the file goes on,
# so that a network of 4-bit activations is one of 8 bits, with other scores. Put the Clip in by hand. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 torchao==0.18.0 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2
"$folder/venv/bin/python" -W ignore - <<'PY' 2>/dev/null
import sys

import numpy as np
import onnxruntime
import torch
from torchao.quantization.pt2e import MinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer


class FourBits(Quantizer):
    """Quantizes what a ReLU gives to 0..15."""

    def annotate(self, model):
        spec = QuantizationSpec(torch.uint8, MinMaxObserver, quant_min=0, quant_max=15, qscheme=torch.per_tensor_affine)
        for node in model.graph.nodes:
            if node.target is torch.ops.aten.relu.default:
                node.meta["quantization_annotation"] = QuantizationAnnotation(output_qspec=spec, _annotated=True)
        return model

    def validate(self, model):
        pass


calibration = torch.linspace(0, 15, 64).reshape(1, 64)
prepared = prepare_pt2e(torch.export.export(torch.nn.ReLU(), (calibration,)).module(), FourBits())
prepared(calibration)
quantized = convert_pt2e(prepared)
content = torch.onnx.export(quantized, (calibration,), dynamo=True, verbose=False).model_proto
session = onnxruntime.InferenceSession(content.SerializeToString(), providers=["CPUExecutionProvider"])
image = 2 * calibration
theirs = quantized(image).numpy()
written = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
levels = len(np.unique(theirs)), len(np.unique(written))
print("operators:", [node.op_type for node in content.graph.node])
print(f"values up to 30: torch gives {levels[0]} levels up to {theirs.max():g}, the file {levels[1]} up to {written.max():g}")
as_seen = (theirs.max(), written.max(), levels[0]) == (15, 30, 16) and levels[1] > 16
print("as described" if as_seen else "the behaviour has changed")
sys.exit(not as_seen)
PY
