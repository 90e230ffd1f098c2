"""A network trained in snntorch: on the chip every output neuron fires exactly as often as in the framework, on every image."""

from pathlib import Path

import numpy as np
import pytest

import chipsim
from models.spiking.card import compiled

NETWORK = Path(__file__).parents[2] / "models" / "spiking" / "digits.nir"


@pytest.mark.slow
def test_the_digits_on_the_chip_as_in_snntorch():
    found = chipsim.run(compiled(NETWORK, 8).mapping, "digits", threads=1)
    with np.load(NETWORK.with_suffix(".npz")) as file:
        np.testing.assert_array_equal(found.potentials, file["counts"])
        assert found.accuracy == (file["counts"].argmax(axis=1) == file["labels"]).mean() > 0.95
