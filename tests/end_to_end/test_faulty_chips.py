"""A chip comes back with dead cores and links: the LeNet is mapped around them, and nothing that it says changes."""

from __future__ import annotations

import numpy as np
import pytest

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import load_dataset
from chipsim.errors import MappingError
from chipsim.faults.places import all_links
from qsnnc import DoesNotFit, compile_model

GRID = load_chip("xbar1152").grid
NEEDED = 405


def dead(count: int, seed: int) -> list[list[int]]:
    """So many cores of the grid, drawn at random."""
    chosen = np.random.default_rng(seed).choice(GRID[0] * GRID[1], count, replace=False)
    return [[int(n) % GRID[0], int(n) // GRID[0]] for n in chosen]


@pytest.fixture(scope="module")
def around(lenet_onnx):
    """The LeNet around 20 dead cores and 30 dead links."""
    links = all_links(GRID)
    chosen = np.random.default_rng(2).choice(len(links), 30, replace=False)
    broken = {"cores": dead(20, 1), "links": [[list(end) for end in links[n]] for n in chosen]}
    return compile_model(lenet_onnx, avoid=broken), broken


def test_no_core_stands_on_a_dead_one(around) -> None:
    done, broken = around
    places = done.mapping.core_position.tolist()
    assert not [place for place in places if place in broken["cores"]]
    assert len(places) == NEEDED
    assert done.mapping.chip.cores == 1004
    assert len(done.mapping.chip.dead_links) == 30


def test_every_digit_is_what_it_was(lenet, around) -> None:
    done, _ = around
    mine, theirs = (chipsim.run(m, "digits") for m in (done.mapping, lenet.mapping))
    np.testing.assert_array_equal(mine.potentials, theirs.potentials)
    assert (mine.spikes, mine.sops) == (theirs.spikes, theirs.sops)


def test_every_mnist_image_is_what_it_was(lenet, around, mnist_dir) -> None:
    data = load_dataset("mnist", "test", mnist_dir)
    done, _ = around
    mine, theirs = (chipsim.run(m, data) for m in (done.mapping, lenet.mapping))
    assert len(data) == 10_000
    np.testing.assert_array_equal(mine.potentials, theirs.potentials)
    np.testing.assert_array_equal(mine.predictions, theirs.predictions)


def test_what_is_known_to_be_broken_breaks_nothing_more(around) -> None:
    # the same places as faults of the chip under the mapping that avoids them
    done, broken = around
    faults = {"dead_cores": broken["cores"], "dead_links": broken["links"]}
    mine, theirs = (chipsim.run(done.mapping, "digits", limit=100, faults=f) for f in (faults, None))
    np.testing.assert_array_equal(mine.potentials, theirs.potentials)
    assert mine.faults == {"dead_cores": {"places": 0}, "dead_links": {"links": 30, "packets": 0}}


def test_the_mapping_that_knows_nothing_is_refused(lenet) -> None:
    place = lenet.mapping.core_position[7].tolist()
    with pytest.raises(MappingError, match=rf"core 7: a core of conv2 is at \({place[0]}, {place[1]}\), which is dead"):
        chipsim.run(lenet.mapping, "digits", limit=1, avoid={"cores": [place]})


def test_as_many_as_are_needed_and_one_less(lenet, lenet_onnx) -> None:
    cores = dead(GRID[0] * GRID[1] - NEEDED + 1, 3)
    done = compile_model(lenet_onnx, avoid={"cores": cores[:-1]})
    assert done.mapping.chip.cores == NEEDED
    mine, theirs = (chipsim.run(m, "digits", limit=100) for m in (done.mapping, lenet.mapping))
    np.testing.assert_array_equal(mine.potentials, theirs.potentials)
    with pytest.raises(DoesNotFit, match=r"needs 405 cores.*has 404 that work \(620 of its 1,024 are dead\)") as caught:
        compile_model(lenet_onnx, avoid={"cores": cores})
    assert caught.value.exit_code == 4
