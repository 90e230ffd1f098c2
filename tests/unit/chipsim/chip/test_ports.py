"""Which port serves which core."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipsim.chip import load_chip
from chipsim.chip.ports import assign_ports


def test_the_nearest_port_where_loads_are_even() -> None:
    chip = load_chip("mini").model_copy(update={"ports": ((0, 0), (0, 3))})
    position = np.array([(1, 3), (1, 0), (3, 2), (3, 1)])
    assert assign_ports(chip, position, np.array([5, 5, 5, 5])).tolist() == [1, 0, 1, 0]


@pytest.mark.slow
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=16), st.integers(1, 4))
def test_no_port_has_more_than_its_share_and_one_core(entries: list[int], ports: int) -> None:
    chip = load_chip("mini").model_copy(update={"ports": tuple((0, y) for y in range(ports))})
    position = np.stack(np.divmod(np.arange(len(entries)), 4), axis=1)
    chosen = assign_ports(chip, position, np.array(entries))
    load = np.bincount(chosen, entries, minlength=ports)
    assert load.max() <= sum(entries) / ports + max(entries) + 1
