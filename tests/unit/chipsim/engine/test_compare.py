"""The chip against the ONNX model: equal, or the first neuron that is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.hand_mappings import two_cores, two_cores_model

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import InputError, MappingError, UsageError
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare

IMAGES = Dataset("hand", "test", np.array([[a, b] for a in range(3) for b in range(3)], np.float32), None)


def compiled(path: Path, *, batch: int | None = None) -> Mapping:
    """The hand-made mapping with the tensors of its model, which is written to ``path``."""
    model = two_cores_model()
    if batch:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
    content = model.SerializeToString()
    path.write_bytes(content)
    mapping = two_cores().build(content)
    hidden, out = mapping.layers
    return dataclasses.replace(
        mapping,
        layers=(dataclasses.replace(hidden, tensor="hidden"), out),
        encoder=dataclasses.replace(mapping.encoder, tensor=""),
    )


@pytest.mark.parametrize("batch", [None, 1])
def test_equal(tmp_path: Path, batch: int | None) -> None:
    mapping = compiled(tmp_path / "m.onnx", batch=batch)
    found = chipsim.compare(mapping, tmp_path / "m.onnx", IMAGES)
    assert found.equal
    assert (found.images, found.populations, found.values) == (9, ("hidden",), 9 + 18)
    assert found.largest_score_error == 0
    assert chipsim.compare(mapping, tmp_path / "m.onnx", IMAGES, limit=2).images == 2


def test_what_the_output_does_not_need_may_be_wrong(tmp_path: Path) -> None:
    # an operator that nobody knows, another input, a second output, two nodes of one name
    compiled(tmp_path / "plain.onnx")
    model = onnx.load(tmp_path / "plain.onnx")
    for node in model.graph.node[:2]:
        node.name = "twice"
    model.graph.node.append(onnx.helper.make_node("Nonesuch", ["more"], ["beside"]))
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("beside", onnx.TensorProto.FLOAT, [1]))
    content = model.SerializeToString()
    (tmp_path / "m.onnx").write_bytes(content)
    mapping = two_cores().build(content)
    hidden, out = mapping.layers
    mapping = dataclasses.replace(mapping, layers=(dataclasses.replace(hidden, tensor="hidden"), out))
    mapping = dataclasses.replace(mapping, encoder=dataclasses.replace(mapping.encoder, tensor=""))
    assert chipsim.compare(mapping, tmp_path / "m.onnx", IMAGES).equal


def test_the_first_neuron_that_differs_is_named(tmp_path: Path) -> None:
    mapping = compiled(tmp_path / "m.onnx")
    mapping.arrays["neuron_threshold"][1] = 1  # level 1 fires with level 0: image (1, 0) gives 2 where the model has 1
    wrong = chipsim.compare(mapping, tmp_path / "m.onnx", IMAGES).difference
    assert wrong is not None
    assert (wrong.layer, wrong.image, wrong.element, wrong.expected, wrong.found) == ("hidden", 3, 0, 1, 2)
    assert (wrong.core, wrong.neuron, wrong.potential, wrong.threshold) == (0, 1, 1, 1)
    assert str(wrong).startswith("hidden: image 3, feature 0: the model has 1, the chip 2 (core 0, neuron 1")


def test_a_removed_neuron_is_not_compared(tmp_path: Path) -> None:
    # both columns of core 0 stay, but the population says three levels: its element 2 is not on the chip
    mapping = compiled(tmp_path / "m.onnx")
    hidden, out = mapping.layers
    mapping = dataclasses.replace(mapping, layers=(dataclasses.replace(hidden, levels=3, removed=1), out))
    assert chipsim.compare(mapping, tmp_path / "m.onnx", IMAGES).equal


def test_scores_are_compared_by_tier(tmp_path: Path) -> None:
    mapping = compiled(tmp_path / "m.onnx")
    readout = onnx.load_model_from_string(mapping.readout_onnx)
    for factor, exactness, equal in (
        (1 + 2**-20, "certified", False),
        (1 + 2**-20, "tested", True),
        (1.001, "tested", False),
    ):
        readout.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float32(0.5 * factor), "scale"))
        changed = dataclasses.replace(mapping, readout_onnx=readout.SerializeToString(), exactness=exactness)
        found = chipsim.compare(changed, tmp_path / "m.onnx", IMAGES)
        assert found.equal is equal
        if found.difference:
            assert found.difference.layer == "scores"


def test_a_score_that_is_no_number_is_a_difference(tmp_path: Path) -> None:
    mapping = compiled(tmp_path / "m.onnx")
    readout = onnx.load_model_from_string(mapping.readout_onnx)
    readout.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float32(np.nan), "scale"))
    changed = dataclasses.replace(mapping, readout_onnx=readout.SerializeToString(), exactness="tested")
    assert not chipsim.compare(changed, tmp_path / "m.onnx", IMAGES).equal


def test_another_model_is_refused(tmp_path: Path) -> None:
    mapping = compiled(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="SHA-256 differs"):
        chipsim.compare(dataclasses.replace(mapping, model_sha256="0" * 64), tmp_path / "m.onnx", IMAGES)
    with pytest.raises(InputError, match="cannot be read"):
        chipsim.compare(mapping, tmp_path / "none.onnx", IMAGES)
    hidden, out = mapping.layers
    other = dataclasses.replace(mapping, layers=(dataclasses.replace(hidden, tensor="nowhere"), out))
    with pytest.raises(InputError, match="no tensor 'nowhere'"):
        chipsim.compare(other, tmp_path / "m.onnx", IMAGES)


@pytest.mark.parametrize(
    ("images", "code"),
    [
        (np.zeros((2, 3), np.float32), "data-shape"),
        (np.zeros((2, 2), np.int32), "data-dtype"),
        (np.full((2, 2), np.nan, np.float32), "data-not-finite"),
        (np.zeros((0, 2), np.float32), "data-no-images"),
    ],
)
def test_data_that_does_not_suit(images: np.ndarray, code: str) -> None:
    with pytest.raises(InputError) as caught:
        chipsim.run(two_cores().build(), Dataset("bad", "test", images, None))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "options",
    [{"noise": -0.1}, {"noise": 1.1}, {"noise": float("nan")}, {"threads": 0}, {"batch": 0}, {"limit": -1}, {"seed": -1}],
)
def test_options_that_mean_nothing(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        chipsim.run(two_cores().build(), IMAGES, **options)


def test_a_broken_mapping_in_memory_is_refused() -> None:
    mapping = two_cores().build()
    mapping.arrays["axon_source"][0] = 3
    with pytest.raises(MappingError):
        chipsim.run(mapping, IMAGES)


def test_pixels_go_through_the_rule() -> None:
    mapping = two_cores().build()
    pixels = np.array([[2, 0], [255, 1]], np.uint8)
    raw = chipsim.run(mapping, Dataset("p", "test", pixels, None))
    assert raw.potentials.tolist() == [[5, -1], [-2, 0]]
    unit = dataclasses.replace(mapping, input=dataclasses.replace(mapping.input, pixels="unit"))
    assert chipsim.run(unit, Dataset("p", "test", pixels, None)).encoder_spikes == 1  # 255 / 255 = 1
    normal = dataclasses.replace(mapping, input=dataclasses.replace(mapping.input, pixels="normal", mean=(0.0,), std=(0.5,)))
    assert chipsim.run(normal, Dataset("p", "test", pixels, None)).encoder_spikes == 2  # (1 - 0) / 0.5 = 2


def test_a_flat_input_takes_any_image_of_its_size() -> None:
    pixels = np.array([[[2], [0]], [[2], [1]]], np.uint8)
    assert chipsim.run(two_cores().build(), Dataset("p", "test", pixels, None)).potentials.tolist() == [[5, -1], [-2, 0]]
    square = np.zeros((1, 8, 8), np.uint8)
    spec = dataclasses.replace(two_cores().build().input, shape=(64,))
    assert prepare(square, spec, "p").shape == (1, 64)
    with pytest.raises(InputError):
        prepare(square, dataclasses.replace(spec, shape=(4, 16)), "p")


def test_rows_of_a_batch_that_is_one_image_are_to_be_passed_as_such() -> None:
    spec = dataclasses.replace(two_cores().build().input, shape=(2, 4))
    with pytest.raises(InputError, match=r"takes \(2, 4\), 2 of these at a time .* pass shape \(N, 2, 4\)"):
        prepare(np.zeros((6, 4), np.float32), spec, "p")
    assert prepare(np.zeros((3, 2, 4), np.float32), spec, "p").shape == (3, 2, 4)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [-1, 0, 1, 4])
def test_models_of_any_batch(save, batch) -> None:
    from support.networks import Recipe, build

    from qsnnc import compile_model

    model = build(Recipe(6, 2, 1, 2, ("conv",), 3, seed=5, odd=False))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    path = save(model)
    images = np.random.default_rng(0).integers(0, 256, (9, 6, 6)).astype(np.uint8)
    found = chipsim.compare(compile_model(path).mapping, path, Dataset("random", "test", images, None))
    assert found.equal
    assert found.images == 9


@pytest.mark.slow
def test_a_model_that_reshapes_to_one_image_is_run_image_by_image(save) -> None:
    from support.networks import Builder

    from qsnnc import compile_model

    rng = np.random.default_rng(0)
    net = Builder((1, 6, 6))
    net.conv("stem", rng.integers(-20, 21, (2, 1, 3, 3)) / 32.0)
    net.quantize("q", 1, 2)
    net.node("Reshape", "flat", net.const("shape", np.array([1, -1], np.int64)))
    net.shape = (32,)
    net.gemm("head", rng.integers(-2, 3, (3, 32)) / 2.0)
    path = save(net.model())
    images = rng.integers(0, 256, (5, 6, 6)).astype(np.uint8)
    assert chipsim.compare(compile_model(path).mapping, path, Dataset("random", "test", images, None)).equal
