"""The compiled examples in ``mappings/`` are what the compiler makes today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.places import ROOT

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
