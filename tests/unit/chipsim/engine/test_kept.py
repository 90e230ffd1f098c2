"""What loading found of a mapping is kept: it is read instead of found again, for that mapping alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.networks import Recipe, build

import chipsim
from chipsim.datasets import Dataset
from chipsim.engine.fast import engine, kept
from chipsim.engine.fast.native import Code
from chipsim.engine.host import load_host
from chipsim.faults.damage import unharmed, with_arrays
from chipsim.mapping import Mapping, write_mapping
from qsnnc import compile_model


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is found, not read, from here on; everything is kept, however soon it is found."""
    names: list[str] = []
    for name in ("merge", "sums_of_forms"):
        own = getattr(engine, name)

        def noted(*given, _name: str = name, _own=own, **named):
            names.append(_name)
            return _own(*given, **named)

        monkeypatch.setattr(engine, name, noted)
    monkeypatch.setattr(kept, "WORTH", 0)
    return names


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "code"


def load(mapping: Mapping, directory: Path, **given: bool) -> engine.FastEngine:
    """The fast engine, after all that it keeps was written."""
    fast = engine.load_fast(mapping, load_host(mapping), Code(directory=directory), **given)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and len(thread.name) == 64:
            thread.join()
    assert fast is not None
    return fast


def counted(fast: engine.FastEngine, images: np.ndarray) -> list[np.ndarray]:
    """All that an engine gives for some images."""
    worker = fast.worker(per_image=True)
    potentials, each = worker.batch(images, 0, lambda: False)
    totals = fast.counts([worker])
    each = each.whole()
    return [potentials, each.spikes, each.sops, each.events, totals.core_spikes, totals.core_sops, totals.core_events]


@pytest.mark.parametrize("bits", [True, False])
def test_what_was_found_is_read(directory: Path, save, found: list[str], bits: bool) -> None:
    mapping = compile_model(save(build(Recipe(8, 2, 1, 3, ("conv", "maxpool", "conv"), 3, seed=11, odd=False)))).mapping
    images = np.random.default_rng(0).integers(0, 256, (70, *mapping.input.shape)).astype(np.uint8)
    first = counted(load(mapping, directory, bits=bits), images)
    assert found == ["merge", "sums_of_forms"][: 1 + bits]
    found.clear()
    for one, other in zip(first, counted(load(mapping, directory, bits=bits), images), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not found
    reference = chipsim.run(mapping, Dataset("random", "test", images), engine="reference", per_image=True)
    np.testing.assert_array_equal(first[2], reference.by_image.sops)


def test_the_lenets_code_and_programs_are_kept(directory: Path, lenet, found: list[str]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, *lenet.mapping.input.shape)).astype(np.uint8)
    first = load(lenet.mapping, directory)
    assert first.tables.cores[:, 0].any(), "some cores have code of their own"
    again = load(lenet.mapping, directory)
    assert found.count("merge") == 1
    for one, other in zip(counted(first, images), counted(again, images), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_mapping_or_another_purpose_is_found_anew(directory: Path, small, found: list[str]) -> None:
    mapping = small[0].mapping
    load(mapping, directory)
    found.clear()
    threshold = mapping.neuron_threshold.copy()
    threshold[0] += 1
    for changed, given in (
        (with_arrays(mapping, neuron_threshold=threshold), {}),
        (mapping, {"apart": True}),
        (mapping, {"noisy": True}),
        (mapping, {"bundled": False}),
    ):
        load(changed, directory, **given)
        assert found.pop(0) == "merge", "another one"
        found.clear()
        load(changed, directory, **given)
        assert "merge" not in found


def test_draws_of_faults_and_large_mappings_are_not_kept(
    directory: Path, small, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of many draws would leave no room for what is asked for again."""
    mapping = small[0].mapping
    engine.load_fast(replace(unharmed(mapping), summary={"dead_cores": 0}), load_host(mapping), Code(directory=directory))
    monkeypatch.setattr(kept, "LARGEST", len(mapping.axon_source) - 1)
    load(mapping, directory)
    load(mapping, directory)
    assert found.count("merge") == 3


def test_what_is_damaged_is_found_anew(directory: Path, small, found: list[str]) -> None:
    load(small[0].mapping, directory)
    for path in directory.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    found.clear()
    load(small[0].mapping, directory)
    assert found[0] == "merge"


def test_nothing_is_kept_where_others_can_write(directory: Path, small, found: list[str]) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    load(small[0].mapping, directory)
    assert not list(directory.iterdir())


def test_a_process_waits_until_it_is_kept(tmp_path: Path, lenet) -> None:
    """What a command finds, the next one reads."""
    write_mapping(lenet.mapping, tmp_path / "lenet.map")
    text = (
        "import sys, chipsim, numpy as np\n"
        "from chipsim.engine.fast import engine\n"
        "if sys.argv[2] == 'again':\n"
        "    engine.merge = None\n"
        "images = np.zeros((1, 28, 28), np.uint8)\n"
        "chipsim.run(sys.argv[1], chipsim.datasets.Dataset('none', 'test', images))\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    for when in ("first", "again"):
        given = [sys.executable, "-c", text, str(tmp_path / "lenet.map"), when]
        subprocess.run(given, env=environment, check=True)
