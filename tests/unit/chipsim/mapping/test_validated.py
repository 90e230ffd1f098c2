"""What was read is validated once; what may have changed since is validated again."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.hand_mappings import two_cores

from chipsim.errors import MappingError
from chipsim.mapping import Mapping, read_mapping, validate, validate_mapping, write_mapping


@pytest.fixture
def mapping(tmp_path: Path) -> Mapping:
    write_mapping(two_cores().build(), tmp_path / "a.map")
    return read_mapping(tmp_path / "a.map")


def times(mapping: Mapping, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often two calls check the connections."""
    seen: list[Mapping] = []
    monkeypatch.setattr(validate, "check_wiring", seen.append)
    validate_mapping(mapping)
    validate_mapping(mapping)
    return len(seen)


def test_what_was_read_is_not_validated_again(mapping: Mapping, monkeypatch: pytest.MonkeyPatch) -> None:
    assert times(mapping, monkeypatch) == 0


def test_what_could_be_written_to_is_validated_each_time(mapping: Mapping, monkeypatch: pytest.MonkeyPatch) -> None:
    assert times(pickle.loads(pickle.dumps(mapping)), monkeypatch) == 2
    assert times(two_cores().build(), monkeypatch) == 2


def test_another_chip_is_validated(mapping: Mapping) -> None:
    dead = (tuple(mapping.core_position[0].tolist()),)
    with pytest.raises(MappingError, match="core 0"):
        validate_mapping(replace(mapping, chip=mapping.chip.model_copy(update={"dead_cores": dead})))


@pytest.mark.parametrize("name", ["core_layer", "target_axon"])
def test_another_array_is_validated(mapping: Mapping, name: str) -> None:
    mapping.arrays[name] = np.full_like(mapping.arrays[name], 1000)
    with pytest.raises(MappingError, match=name):
        validate_mapping(mapping)
