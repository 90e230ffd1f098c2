"""An 8-bit ResNet-18 at 224 x 224, as onnxruntime's quantize_static writes it: seconds and memory of `qsnnc verify`.

    python benchmarks/resnet18.py --limit 4

The weights are random (He's initialisation), the calibration images too: what is measured depends on neither.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: channels, blocks and first stride of the four stages
STAGES = ((64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2))


class Writer:
    """Appends float operators; a convolution comes with its batch norm folded, as exporters write it."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, op: str, name: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv(self, name: str, source: str, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> str:
        shape = (outputs, inputs // groups, kernel, kernel)
        weight = self.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        bias = self.rng.normal(0, 0.1, outputs).astype(np.float32)
        for part, value in (("weight", weight), ("bias", bias)):
            self.weights.append(numpy_helper.from_array(value, f"{name}.{part}"))
        pad = kernel // 2
        return self.node(
            "Conv", name, source, f"{name}.weight", f"{name}.bias", strides=[stride] * 2, pads=[pad] * 4, group=groups
        )

    def finish(self, here: str, channels: int, size: int, classes: int = 1000) -> onnx.ModelProto:
        here = self.node("Flatten", "flatten", self.node("GlobalAveragePool", "pool", here))
        weight = self.rng.normal(0, np.sqrt(1 / channels), (classes, channels)).astype(np.float32)
        self.weights.append(numpy_helper.from_array(weight, "fc.weight"))
        self.weights.append(numpy_helper.from_array(np.zeros(classes, np.float32), "fc.bias"))
        here = self.node("Gemm", "fc", here, "fc.weight", "fc.bias", transB=1)
        ends = (
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, size, size]),
            helper.make_tensor_value_info(here, TensorProto.FLOAT, ["N", classes]),
        )
        graph = helper.make_graph(self.nodes, "network", ends[:1], ends[1:], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet18(size: int = 224, seed: int = 0) -> onnx.ModelProto:
    """The float network."""
    w = Writer(seed)
    here = w.node("Relu", "relu1", w.conv("conv1", "image", 3, 64, 7, 2))
    here = w.node("MaxPool", "maxpool", here, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, (width, blocks, first) in enumerate(STAGES, 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", first if block == 0 else 1
            arm = w.node("Relu", f"{name}.relu1", w.conv(f"{name}.conv1", here, channels, width, 3, stride))
            arm = w.conv(f"{name}.conv2", arm, width, width, 3, 1)
            if stride != 1 or channels != width:
                here = w.conv(f"{name}.downsample", here, channels, width, 1, stride)
            here = w.node("Relu", f"{name}.relu2", w.node("Add", f"{name}.add", arm, here))
            channels = width
    return w.finish(here, channels, size)


def mobilenet(size: int = 224, seed: int = 0) -> onnx.ModelProto:
    """MobileNet v1: depthwise and pointwise convolutions in turn."""
    w = Writer(seed)
    here = w.node("Relu", "relu0", w.conv("conv0", "image", 3, 32, 3, 2))
    channels = 32
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for number, (width, stride) in enumerate(plan, 1):
        here = w.node("Relu", f"relu{number}a", w.conv(f"depth{number}", here, channels, channels, 3, stride, channels))
        here = w.node("Relu", f"relu{number}b", w.conv(f"point{number}", here, channels, width, 1, 1))
        channels = width
    return w.finish(here, channels, size)


def quantized(model: onnx.ModelProto, path: Path, size: int = 224, calibration: int = 2, seed: int = 1) -> Path:
    """Quantize statically to QDQ with uint8 activations and int8 weights."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Random(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(seed)
            self.left = [rng.random((1, 3, size, size), np.float32) for _ in range(calibration)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"image": self.left.pop()} if self.left else None

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "float.onnx"
        onnx.save(model, str(plain))
        quantize_static(
            str(plain), str(path), Random(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["resnet18", "mobilenet"], default="resnet18")
    parser.add_argument("--limit", "--images", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--check", action="store_true", help="qsnnc check instead of verify")
    parser.add_argument("--keep", type=Path, help="write the quantized network here and keep it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / f"{options.network}.onnx"
        if not path.exists():
            build = {"resnet18": resnet18, "mobilenet": mobilenet}[options.network]
            quantized(build(options.size), path, options.size)
        verb = ["check"] if options.check else ["verify", "--limit", str(options.limit)]
        code = "from qsnnc.cli import main; main()"
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, verb[0], str(path), *verb[1:]], check=False)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{' '.join(verb)}: exit code {done.returncode}, {seconds:.1f} s, {peak:.2f} GiB at the peak")


if __name__ == "__main__":
    main()
