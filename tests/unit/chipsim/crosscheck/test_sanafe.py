"""SANA-FE against chipsim; with ``--peers`` in SANA-FE itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.hand_mappings import HandCore, HandMap

from chipsim import crosscheck
from chipsim.chip import load_chip
from chipsim.crosscheck import Request, sanafe
from chipsim.errors import InputError
from chipsim.mapping import Mapping, write_mapping
from chipsim.options import DataOptions

TINY = str(Path(__file__).resolve().parents[4] / "mappings" / "tiny-mini.map")


def delayed(delay: int = 3) -> Mapping:
    """Two features of two levels; a neuron that fires without input, one that two axons of one source drive, and a delay."""
    chip = load_chip("mini").model_copy(update={"max_delay": 15})
    first = HandCore(0, [[1, -1], [1, 0], [-2, 1], [1, 0]], [0, 1, 2, 3], [0, 1], [0, 1])
    last = HandCore(1, [[1, 1], [1, -1], [-1, 1]], [4, 5, 0], [0, 0], [0, 1])
    return HandMap(2, 2, [("hidden", 2, 1, delay - 1), ("out", 2, 0, delay)], [first, last], chip).build()


@pytest.fixture
def written(tmp_path: Path):
    def write(mapping: Mapping) -> str:
        write_mapping(mapping, tmp_path / "a.map")
        np.savez(tmp_path / "d.npz", images=np.random.default_rng(1).integers(0, 3, (12, 2)).astype(np.float32))
        return str(tmp_path / "a.map")

    return write


def test_synapses_are_the_weights_that_are_not_zero() -> None:
    found = sanafe.synapses(delayed())
    assert found["synapse_weight"].tolist() == [1, -1, 1, -2, 1, 1, 1, 1, 1, -1, -1, 1]
    assert found["synapse_source"].tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5, 5, 0, 0]
    assert found["synapse_neuron"].tolist() == [0, 1, 0, 0, 1, 0, 2, 3, 2, 3, 2, 3]
    assert found["synapse_delay"].tolist() == [2] * 6 + [1] * 4 + [3] * 2


def test_what_it_cannot_hold_is_refused_before_it_starts(written, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"a\.map: delays a spike by 7 ticks; --with sanafe covers delays of at most 6"):
        crosscheck.crosscheck("sanafe", Request(written(delayed(7))))
    monkeypatch.setattr(sanafe, "_memory", lambda: 1_000_000)
    with pytest.raises(
        InputError, match=r"has 7,140 synapses, about 0\.0 GB in SANA-FE; .* use a smaller network"
    ) as caught:
        crosscheck.crosscheck("sanafe", Request(TINY))
    assert (caught.value.code, caught.value.exit_code) == ("crosscheck-not-covered", 3)


@pytest.mark.usefixtures("peers")
def test_a_compiled_network_is_equal() -> None:
    found = crosscheck.crosscheck("sanafe", Request(TINY, "digits", DataOptions(limit=20)))
    assert (found.equal, found.images, found.version) == (True, 20, "SANA-FE 2.2.9")
    assert (found.potentials_equal, found.spikes_equal, found.cores_equal) == (True, True, True)


@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize("delay", [2, 3, 6])
def test_delays_and_neurons_that_fire_without_input_are_equal(written, tmp_path: Path, delay: int) -> None:
    found = crosscheck.crosscheck("sanafe", Request(written(delayed(delay)), str(tmp_path / "d.npz")))
    assert found.equal, found.difference


@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize(
    ("array", "text"),
    [
        ("neuron_threshold", r"^spikes: image \d+, neuron \d+: chipsim has [01], SANA-FE [01]$"),
        ("synapse_weight", r"^potentials: image \d+, output \d+: chipsim has -?\d+, SANA-FE -?\d+$"),
    ],
)
def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch, array: str, text: str) -> None:
    given = sanafe._given

    def changed(*args):
        found = given(*args)
        chosen = slice(0, 4) if array == "neuron_threshold" else slice(-50, None)
        found[array] = found[array].copy()
        found[array][chosen] += 3
        return found

    monkeypatch.setattr(sanafe, "_given", changed)
    found = crosscheck.crosscheck("sanafe", Request(TINY, "digits", DataOptions(limit=10)))
    assert not found.equal
    assert re.search(text, str(found.difference)), found.difference
