"""Write some files of `tests/zoo/`: small untrained networks as other tools write them.

Keras and TFLite (through tf2onnx), HGQ2, INC, Olive, Optimum, and onnxruntime on a residual network of torch's.

Each maker needs its own packages, in an environment of its own: ``python tests/support/quantized_elsewhere.py MAKER tests/zoo``.
Made with tensorflow 2.21.0, tf2onnx 1.17.0, HGQ2 0.2.0, onnx-neural-compressor 1.0,
neural_compressor 3.10 with torch 2.13.0 and torchao 0.18.0, olive-ai 0.13.0, optimum-onnx 0.1.0 and
onnxruntime 1.32.0.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

SIZE = 12
IMAGES = 64


class Reader:
    """Images for onnxruntime's calibration, and for that of INC, which begins again."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.rewind()

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)

    def rewind(self) -> None:
        self.left = iter([{"image": self.images[i : i + 1]} for i in range(len(self.images))])


def keras_model(path: Path, layers: Callable[[Any], list[Any]]) -> np.ndarray:
    """Convert a Keras model by tf2onnx; return images, with the channel last."""
    import tensorflow as tf
    import tf2onnx

    tf.random.set_seed(0)
    model = tf.keras.Sequential([tf.keras.layers.Input((SIZE, SIZE, 1), name="image"), *layers(tf.keras.layers)])
    images = np.random.default_rng(0).random((IMAGES, SIZE, SIZE, 1), np.float32)
    model(images[:2])
    shape = (tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32, name="image"),)
    call = tf.function(lambda value: model(value, training=False), input_signature=shape)
    tf2onnx.convert.from_function(call, input_signature=shape, opset=13, output_path=str(path))
    return images


def plain_layers(k: Any) -> list[Any]:
    return [
        k.Conv2D(8, 3), k.BatchNormalization(), k.ReLU(), k.MaxPooling2D(2), k.Conv2D(16, 3, strides=2), k.ReLU(),
        k.Flatten(), k.Dense(10),
    ]  # fmt: skip


def keras(folder: Path) -> None:
    """Channels last, quantized by onnxruntime."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as place:
        images = keras_model(source := Path(place) / "float.onnx", plain_layers)
        for name, form in (("keras_qdq", QuantFormat.QDQ), ("keras_qop", QuantFormat.QOperator)):
            quantize_static(
                str(source), str(folder / f"{name}.onnx"), Reader(images), quant_format=form,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip


def tflite(folder: Path) -> None:
    """Channels last, quantized by TFLite; a transposed convolution whose size is given."""
    import tensorflow as tf
    import tf2onnx

    k = tf.keras.layers
    tf.random.set_seed(0)
    model = tf.keras.Sequential([
        k.Input((SIZE, SIZE, 1)), k.Conv2D(4, 3, strides=2, padding="same", activation="relu"), k.UpSampling2D(2),
        k.Conv2D(4, 3, strides=2, activation="elu"), k.Conv2DTranspose(3, 2, strides=2, activation="relu"), k.Flatten(),
        k.Dense(5),
    ])  # fmt: skip
    images = np.random.default_rng(0).random((IMAGES, SIZE, SIZE, 1), np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "made.tflite"
        made.write_bytes(converter.convert())
        tf2onnx.convert.from_tflite(str(made), opset=13, output_path=str(folder / "tflite_transposed.onnx"))


def inc(folder: Path) -> None:
    """Channels last, quantized by onnx-neural-compressor."""
    from onnx_neural_compressor.quantization import QuantFormat, config, quantize

    with tempfile.TemporaryDirectory() as place:
        images = keras_model(source := Path(place) / "float.onnx", plain_layers)
        chosen = config.StaticQuantConfig(calibration_data_reader=Reader(images), quant_format=QuantFormat.QDQ)
        made = Path(place) / "made.onnx"
        quantize(str(source), str(made), chosen)
        onnx.save(onnx.load(str(made)), str(folder / "inc_keras_qdq.onnx"))  # in one file


def hgq2(folder: Path) -> None:
    """Fixed-point quantizers as float operators, channels last."""
    from hgq.config import LayerConfigScope, QuantizerConfigScope
    from hgq.layers import QConv2D, QDense

    with (
        QuantizerConfigScope(place="all", q_type="kif", overflow_mode="SAT", i0=2, f0=2, k0=1),
        LayerConfigScope(enable_ebops=False),
    ):
        keras_model(
            folder / "hgq2_kif.onnx", lambda k: [QConv2D(4, 3, strides=2, activation="relu"), k.Flatten(), QDense(10)]
        )


def plain_network(nn: Any) -> Any:
    """Two convolutions and a matrix."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def residual_network(nn: Any) -> Any:
    """Levels of a HardSwish, which reach a convolution and a sum; an average pool with windows beyond the map."""

    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner = nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 4, 1)
            self.turn, self.pool = nn.Hardswish(), nn.AvgPool2d(2, ceil_mode=True)
            self.last = nn.Linear(36, 10)

        def forward(self, image: Any) -> Any:
            trunk = self.turn(self.first(image))
            return self.last(self.pool(trunk + self.inner(trunk)).flatten(1))

    return Residual()


def torch_model(path: Path, network: Callable[[Any], Any] = plain_network) -> np.ndarray:
    """Export a network from torch; return images, with the channel first."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = network(nn).eval()
    images = torch.rand(IMAGES, 1, SIZE, SIZE)
    axes = {"image": {0: "N"}, "scores": {0: "N"}}
    names = {"input_names": ["image"], "output_names": ["scores"], "dynamic_axes": axes}
    torch.onnx.export(net, (images[:1],), str(path), opset_version=17, dynamo=False, **names)
    return images.numpy()


def residual(folder: Path) -> None:
    """A residual network, quantized by onnxruntime: integer operators, int8 and a scale for each channel."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as place:
        images = torch_model(source := Path(place) / "float.onnx", residual_network)
        quantize_static(
            str(source), str(folder / "ort_qop_residual.onnx"), Reader(images), quant_format=QuantFormat.QOperator,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True,
        )  # fmt: skip


def olive(folder: Path) -> None:
    """Olive's pass of static quantization."""
    from olive.data.config import DataComponentConfig, DataConfig
    from olive.data.registry import Registry
    from olive.hardware import DEFAULT_CPU_ACCELERATOR
    from olive.model import ONNXModelHandler
    from olive.passes.olive_pass import create_pass_from_dict
    from olive.passes.onnx.quantization import OnnxStaticQuantization

    with tempfile.TemporaryDirectory() as place:
        images = torch_model(source := Path(place) / "float.onnx")
        samples = [({"image": image}, 0) for image in images]
        Registry.register_dataset("images")(lambda data_dir=None, **_: samples)
        data = DataConfig(
            name="images",
            load_dataset_config=DataComponentConfig(type="images"),
            pre_process_data_config=DataComponentConfig(type="skip_pre_process"),
            post_process_data_config=DataComponentConfig(type="skip_post_process"),
            dataloader_config=DataComponentConfig(type="default_dataloader", params={"batch_size": 1}),
        )
        options = {"data_config": data, "quant_format": "QDQ"}
        own = create_pass_from_dict(
            OnnxStaticQuantization, options, disable_search=True, accelerator_spec=DEFAULT_CPU_ACCELERATOR
        )
        made = own.run(ONNXModelHandler(str(source)), str(Path(place) / "out"))
        shutil.copy(made.model_path, folder / "olive_qdq.onnx")


def optimum(folder: Path) -> None:
    """Optimum's quantizer for onnxruntime, a scale for each channel."""
    import datasets
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import (
        AutoCalibrationConfig,
        QuantFormat,
        QuantizationConfig,
        QuantizationMode,
        QuantType,
    )

    with tempfile.TemporaryDirectory() as place:
        images = torch_model(Path(place) / "float.onnx")
        quantizer = ORTQuantizer.from_pretrained(place, file_name="float.onnx")
        data = datasets.Dataset.from_dict({"image": images.tolist()}).with_format("np")
        operators = ["Conv", "Gemm", "MatMul"]
        ranges = quantizer.fit(
            dataset=data, calibration_config=AutoCalibrationConfig.minmax(data), operators_to_quantize=operators
        )
        chosen = QuantizationConfig(
            is_static=True, format=QuantFormat.QDQ, mode=QuantizationMode.QLinearOps, per_channel=True,
            activations_dtype=QuantType.QUInt8, weights_dtype=QuantType.QInt8, operators_to_quantize=operators,
        )  # fmt: skip
        out = Path(place) / "out"
        quantizer.quantize(save_dir=str(out), calibration_tensors_range=ranges, quantization_config=chosen)
        shutil.copy(next(out.glob("*.onnx")), folder / "optimum_qdq_pc.onnx")


def inc_torch(folder: Path) -> None:
    """Neural Compressor quantizes in torch (its own ONNX part is onnx-neural-compressor); torch exports to ONNX."""
    import torch
    from neural_compressor.torch.export import export
    from neural_compressor.torch.quantization import StaticQuantConfig, convert, prepare
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(72, 5),
    ).eval()  # fmt: skip
    images = torch.rand(32, 1, SIZE, SIZE)
    free = ({0: torch.export.Dim("N")},)
    prepared = prepare(export(net, example_inputs=(images[:2],), dynamic_shapes=free), StaticQuantConfig())
    prepared(images)
    exported = torch.export.export(convert(prepared), (images[:2],), dynamic_shapes=free)
    names = {"input_names": ["image"], "output_names": ["scores"]}
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "made.onnx"
        torch.onnx.export(exported, (images[:2],), str(made), dynamo=True, external_data=False, verbose=False, **names)
        written = onnx.load(str(made))
    for part in (written, written.graph, *written.graph.node, *written.graph.value_info):
        del part.metadata_props[:]  # stack traces, with the folders of the machine
    onnx.save(written, str(folder / "inc_torch_qdq.onnx"))


MAKERS = {
    "keras": keras, "tflite": tflite, "inc": inc, "inc_torch": inc_torch, "hgq2": hgq2, "residual": residual,
    "olive": olive, "optimum": optimum,
}  # fmt: skip

if __name__ == "__main__":
    MAKERS[sys.argv[1]](Path(sys.argv[2]))
