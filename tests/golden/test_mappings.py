"""The compiled examples in ``mappings/`` are what the compiler makes today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.places import ROOT

import chipsim
from chipsim import read_mapping


def maker():
    spec = importlib.util.spec_from_file_location("make_mappings", ROOT / "mappings" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory, request):
    directory = tmp_path_factory.mktemp("mappings")
    maker().make(ROOT / "mappings" if request.config.getoption("--update-golden") else directory)
    return ROOT / "mappings" if request.config.getoption("--update-golden") else directory


@pytest.mark.parametrize("name", ["lenet-xbar1152", "tiny-mini"])
def test_example_is_made_again(made: Path, name: str) -> None:
    old, new = read_mapping(ROOT / "mappings" / f"{name}.map"), read_mapping(made / f"{name}.map")
    for array in old.arrays:
        np.testing.assert_array_equal(old.arrays[array], new.arrays[array], err_msg=array)
    assert (old.layers, old.encoder, old.chip, old.model_sha256) == (new.layers, new.encoder, new.chip, new.model_sha256)
    assert yaml.safe_load((ROOT / "mappings" / f"{name}.yaml").read_text()) == yaml.safe_load(
        (made / f"{name}.yaml").read_text()
    )


def test_a_file_of_version_1_is_read_as_before() -> None:
    """The file of version 1 that `qsnnc` 0.1 wrote for tiny.onnx: the same cores at other
    positions, and the same results on the digits."""
    old, new = (
        read_mapping(ROOT / "tests" / "golden" / "version1" / "tiny-mini.map"),
        read_mapping(ROOT / "mappings" / "tiny-mini.map"),
    )
    assert (old.steps, old.readout_of, old.input, old.layers) == (1, "potential", new.input, new.layers)
    for array in old.arrays.keys() - {"core_position"}:  # cores are placed by other means today
        np.testing.assert_array_equal(old.arrays[array], new.arrays[array], err_msg=array)
    one, other = (chipsim.run(mapping, "digits", limit=40) for mapping in (old, new))
    np.testing.assert_array_equal(one.potentials, other.potentials)
    assert (one.sops, one.spikes, one.packets) == (other.sops, other.spikes, other.packets)
    counted = [[(core.layer, core.spikes, core.sops, core.axon_events) for core in run.cores] for run in (one, other)]
    assert counted[0] == counted[1]
