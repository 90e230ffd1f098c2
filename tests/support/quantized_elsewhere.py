"""Write some files of `tests/zoo/`: small untrained networks as other tools write them.

Keras, its quantization-aware training and TFLite (through tf2onnx), HGQ2, INC, Olive, Optimum, AMD's Quark, AIMET, ESP-PPQ,
Sony's Model Compression Toolkit, and onnxruntime on a residual network of torch's.

Each maker needs its own packages, in an environment of its own: ``python tests/support/quantized_elsewhere.py MAKER tests/zoo``.
Made with tensorflow 2.21.0, tf2onnx 1.17.0, HGQ2 0.2.0, onnx-neural-compressor 1.0,
neural_compressor 3.10 with torch 2.13.0 and torchao 0.18.0, olive-ai 0.13.0, optimum-onnx 0.1.0, tensorflow-model-optimization
0.8.1 with tf-keras 2.21.0, amd-quark 0.13, aimet-onnx 2.42.0, esp-ppq 1.3.12, model-compression-toolkit 2.6.1 and onnxruntime
1.32.0.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
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

    tf.random.set_seed(0)
    model = tf.keras.Sequential([tf.keras.layers.Input((SIZE, SIZE, 1), name="image"), *layers(tf.keras.layers)])
    images = np.random.default_rng(0).random((IMAGES, SIZE, SIZE, 1), np.float32)
    model(images[:2])
    converted(path, model)
    return images


def converted(path: Path, model: Any) -> None:
    """Write a Keras model as tf2onnx converts it."""
    import tensorflow as tf
    import tf2onnx

    shape = (tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32, name="image"),)
    call = tf.function(lambda value: model(value, training=False), input_signature=shape)
    tf2onnx.convert.from_function(call, input_signature=shape, opset=13, output_path=str(path))


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


def keras_qat(folder: Path) -> None:
    """Quantization-aware training of 4 bits: tf2onnx leaves the quantizers of activations as TensorFlow has them."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    from tensorflow_model_optimization.quantization import keras as qat

    class FourBits(qat.QuantizeConfig):  # type: ignore[misc]
        """Weights for each channel, activations with a moving average of their range."""

        def __init__(self, last: bool = False) -> None:
            self.last = last

        def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
            each = qat.quantizers.LastValueQuantizer(num_bits=4, symmetric=True, narrow_range=True, per_axis=True)
            return [(layer.kernel, each)]

        def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
            found = qat.quantizers.MovingAverageQuantizer(num_bits=4, symmetric=False, narrow_range=False, per_axis=False)
            return [] if self.last else [(layer.activation, found)]

        def set_quantize_weights(self, layer: Any, weights: list[Any]) -> None:
            layer.kernel = weights[0]

        def set_quantize_activations(self, layer: Any, activations: list[Any]) -> None:
            if activations:
                layer.activation = activations[0]

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return []

        def get_config(self) -> dict[str, Any]:
            return {"last": self.last}

    k, each = tf.keras.layers, qat.quantize_annotate_layer
    tf.random.set_seed(0)
    model = tf.keras.Sequential([
        k.Input((SIZE, SIZE, 1), name="image"), each(k.Conv2D(4, 3, strides=2, activation="relu"), FourBits()),
        each(k.Conv2D(6, 3, activation="relu"), FourBits()), k.Flatten(), each(k.Dense(5), FourBits(last=True)),
    ])  # fmt: skip
    with qat.quantize_scope({"FourBits": FourBits}):
        model = qat.quantize_apply(model)
    random = np.random.default_rng(0)
    images, labels = random.random((IMAGES, SIZE, SIZE, 1), np.float32), random.integers(0, 5, IMAGES)
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, epochs=3, verbose=0)
    converted(folder / "keras_qat4.onnx", model)


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


def quark(folder: Path) -> None:
    """Quark's preset for NPUs: scales that are powers of two, uint8 with a zero point of 128; nodes in no order."""
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config.config import Config
    from quark.onnx.quantization.config.custom_config import get_default_config

    with tempfile.TemporaryDirectory() as place:
        images = torch_model(source := Path(place) / "float.onnx", residual_network)
        made = Path(place) / "made.onnx"
        ModelQuantizer(Config(global_quant_config=get_default_config("XINT8"))).quantize_model(
            str(source), str(made), Reader(images)
        )
        shutil.copy(made, folder / "quark_xint8.onnx")


def aimet(folder: Path) -> None:
    """AIMET with weights and activations of 4 bits."""
    from aimet_onnx import QuantizationSimModel

    with tempfile.TemporaryDirectory() as place:
        images = torch_model(source := Path(place) / "float.onnx")
        simulated = QuantizationSimModel(onnx.load(str(source)), param_type="int4", activation_type="int4")
        simulated.compute_encodings([{"image": images}])
        onnx.save(simulated.to_onnx_qdq(), str(folder / "aimet_int4.onnx"))


def esp_ppq(folder: Path) -> None:
    """ESP-PPQ for TensorRT: symmetric, weights of each channel; in the form for onnxruntime."""
    import torch
    from esp_ppq import TargetPlatform
    from esp_ppq.api import export_ppq_graph, quantize_onnx_model

    with tempfile.TemporaryDirectory() as place:
        images = torch.from_numpy(torch_model(source := Path(place) / "float.onnx"))
        graph = quantize_onnx_model(
            str(source), list(images.split(1)), 32, [1, 1, SIZE, SIZE], TargetPlatform.TRT_INT8, device="cpu"
        )
        made = Path(place) / "made.onnx"
        export_ppq_graph(graph, TargetPlatform.ONNXRUNTIME, str(made), config_save_to=str(Path(place) / "made.json"))
        shutil.copy(made, folder / "esp_ppq_qdq.onnx")


def mct(folder: Path) -> None:
    """Sony's Model Compression Toolkit: weights on their grid as floats, quantizers of activations as QDQ."""
    import model_compression_toolkit as toolkit
    import torch
    from torch import nn

    torch.onnx.export = partial(torch.onnx.export, dynamo=False)  # the default when the toolkit was written
    torch.manual_seed(0)
    net, images = plain_network(nn).eval(), torch.rand(32, 1, SIZE, SIZE)
    quantized, _ = toolkit.ptq.pytorch_post_training_quantization(net, lambda: iter([[images]]))
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "made.onnx"
        chosen = toolkit.exporter.QuantizationFormat.FAKELY_QUANT
        toolkit.exporter.pytorch_export_model(
            quantized, str(made), lambda: iter([[images[:2]]]), quantization_format=chosen, onnx_opset_version=17
        )
        shutil.copy(made, folder / "mct_fake_quant.onnx")


def mct_custom(folder: Path) -> None:
    """MCT with its own operators, and what its kernels for onnxruntime-extensions compute: of the file, and of each operator."""
    import model_compression_toolkit as toolkit
    import onnxruntime
    import torch
    from mct_quantizers import get_ort_session_options
    from torch import nn

    from support.mct_nodes import NODES, network, values

    torch.onnx.export = partial(torch.onnx.export, dynamo=False)  # the default when the toolkit was written
    torch.manual_seed(0)
    net, images = plain_network(nn).eval(), torch.rand(32, 1, SIZE, SIZE)
    quantized, _ = toolkit.ptq.pytorch_post_training_quantization(net, lambda: iter([[images]]))
    chosen, right = toolkit.exporter.QuantizationFormat.MCTQ, {"images": images.numpy()}
    toolkit.exporter.pytorch_export_model(
        quantized, str(folder / "mct_custom.onnx"), lambda: iter([[images[:2]]]), quantization_format=chosen,
        onnx_opset_version=17,
    )  # fmt: skip

    def run(model: bytes, x: np.ndarray) -> np.ndarray:
        options = get_ort_session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])

    right["scores"] = run((folder / "mct_custom.onnx").read_bytes(), right["images"])
    right |= {name: run(network(name).SerializeToString(), values(name)) for name in NODES}
    np.savez_compressed(folder / "mct_custom.npz", **right)


MAKERS = {
    "keras": keras, "tflite": tflite, "inc": inc, "inc_torch": inc_torch, "hgq2": hgq2, "residual": residual,
    "olive": olive, "optimum": optimum, "keras_qat": keras_qat, "quark": quark, "aimet": aimet, "esp_ppq": esp_ppq, "mct": mct,
    "mct_custom": mct_custom,
}  # fmt: skip

if __name__ == "__main__":
    MAKERS[sys.argv[1]](Path(sys.argv[2]))
