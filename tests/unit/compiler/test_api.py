"""The compiler in Python: models from a path or from memory, options as keywords or as a value, typed results."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import external_data_helper
from support.networks import Recipe, build

import qsnnc
from chipsim.chip import load_chip
from chipsim.mapping.write import to_bytes
from qsnnc import options as option_types

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def model() -> onnx.ModelProto:
    return build(Recipe(6, 2, 1, 2, ("conv",), 3, seed=5, odd=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny.onnx", "exporters/brevitas_qcdq.onnx"])
def test_a_model_in_memory_compiles_to_the_same_bytes_as_its_file(name) -> None:
    path = ROOT / "models" / name
    assert to_bytes(qsnnc.compile_model(onnx.load(path)).mapping) == to_bytes(qsnnc.compile_model(path).mapping)


def test_a_model_in_memory_stays_as_it_is(model) -> None:
    before = model.SerializeToString()
    qsnnc.compile_model(model)
    assert qsnnc.verify(model, limit=3).equal
    assert model.SerializeToString() == before


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["host", "chip"])
def test_layers_compile_to_the_same_bytes_as_their_model(encoder) -> None:
    path = ROOT / "models" / "tiny.onnx"
    whole = qsnnc.compile_model(path, encoder=encoder, keep_dead=True)
    layers = qsnnc.read_layers(path, encoder=encoder)
    assert to_bytes(qsnnc.compile_layers(layers, keep_dead=True).mapping) == to_bytes(whole.mapping)
    assert to_bytes(qsnnc.compile_layers(whole.graph, keep_dead=True).mapping) == to_bytes(whole.mapping)


@pytest.mark.slow
def test_tensors_that_were_not_loaded_are_refused(model, tmp_path) -> None:
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "net.onnx")
    assert qsnnc.compile_model(tmp_path / "net.onnx").fits
    with pytest.raises(qsnnc.ModelError, match=r"^model: the data of tensor '.*' is in another file") as caught:
        qsnnc.compile_model(onnx.load(tmp_path / "net.onnx", load_external_data=False))
    assert caught.value.code == "model-external"
    assert qsnnc.compile_model(onnx.load(tmp_path / "net.onnx")).fits


def test_what_is_neither_a_path_nor_a_model_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"expected a path or an onnx\.ModelProto, got bytes"):
        qsnnc.compile_model(b"onnx")


@pytest.mark.slow
def test_options_are_keywords_or_a_value_and_keywords_take_precedence(model) -> None:
    kept = qsnnc.CompileOptions(keep_dead=True, pixels="raw")
    one = qsnnc.compile_model(model, "xbar1152", kept)
    two = qsnnc.compile_model(model, "xbar1152", keep_dead=True, pixels="raw")
    assert to_bytes(one.mapping) == to_bytes(two.mapping)
    three = qsnnc.compile_model(model, "xbar1152", kept, keep_dead=False)
    assert to_bytes(three.mapping) == to_bytes(qsnnc.compile_model(model, pixels="raw").mapping)
    assert to_bytes(three.mapping) != to_bytes(one.mapping)


def test_an_unknown_option_is_a_type_error_and_an_unknown_place_a_usage_error(model) -> None:
    with pytest.raises(TypeError, match="fast"):
        qsnnc.compile_model(model, fast=True)
    with pytest.raises(qsnnc.UsageError, match="--encoder: unknown layer 'fpga'") as caught:
        qsnnc.compile_model(model, encoder="fpga")
    assert caught.value.code == "option-value"
    with pytest.raises(qsnnc.UsageError, match="--readout: unknown place 'fpga'") as caught:
        qsnnc.CompileOptions(readout="fpga")
    assert caught.value.code == "option-value"


@pytest.mark.parametrize("kind", ["Frontend", "Backend", "Compile"])
def test_the_keywords_of_type_checkers_are_the_fields_of_the_values(kind) -> None:
    value, keywords = (getattr(option_types, kind + what) for what in ("Options", "Keywords"))
    names = vars(option_types) | {"npt": np.typing, "Any": typing.Any}
    hints = typing.get_type_hints(value, names)
    assert {field.name for field in dataclasses.fields(value)} == set(hints)
    assert typing.get_type_hints(keywords, names) == hints


@pytest.mark.slow
def test_what_does_not_fit_is_of_another_type(model) -> None:
    chip = load_chip("mini").model_copy(update={"grid": (1, 1)})
    found = qsnnc.check(model, chip)
    assert isinstance(found, qsnnc.FailedCompilation)
    assert not found.fits
    assert not found.estimated
    assert not hasattr(found, "mapping")
    with pytest.raises(qsnnc.DoesNotFit) as caught:
        qsnnc.compile_model(model, chip)
    assert caught.value.violations == found.violations
    with pytest.raises(qsnnc.DoesNotFit):
        qsnnc.compile_layers(found.graph, chip)
    fits = qsnnc.check(model)
    assert isinstance(fits, qsnnc.Compilation)
    assert fits.fits
    assert fits.violations == ()


@pytest.mark.slow
def test_verify_limits_given_images_and_draws_that_many_at_random(model) -> None:
    images = np.zeros((5, 1, 6, 6), np.uint8)
    assert qsnnc.verify(model, images, limit=2).images == 2
    assert qsnnc.verify(model, images).images == 5
    assert qsnnc.verify(model, limit=3).images == 3


def test_dir_lists_the_public_names_and_each_can_be_imported() -> None:
    assert dir(qsnnc) == sorted(qsnnc.__all__)
    for name in qsnnc.__all__:
        assert getattr(qsnnc, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = qsnnc.nothing


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "compiler" / "qsnnc" / "py.typed").exists()
