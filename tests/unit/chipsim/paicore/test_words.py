"""Words as named fields: what is packed is what is unpacked, and no two fields share a bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipsim.paicore import words as w
from chipsim.paicore.fields import Layout

LAYOUTS = (w.HEADER, w.WORK, w.CONTROL, w.REGISTERS, w.TABLE, w.PART1, w.PART2, w.FOLD, w.POTENTIALS)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_fields_are_apart_and_come_back(layout: Layout) -> None:
    taken = [(word, bit) for f in layout.fields for word, low, bits in f.pieces for bit in range(low, low + bits)]
    assert len(set(taken)) == len(taken)
    rng = np.random.default_rng(1)
    values = {field.name: rng.integers(field.range[0], field.range[1] + 1, 50) for field in layout.fields}
    rows = layout.pack(values)
    assert rows.shape == (50, layout.words)
    assert not layout.unused(rows).any()
    for name, found in layout.unpack(rows).items():
        assert (found == values[name]).all(), name


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_field_beyond_its_bits_is_refused(layout: Layout) -> None:
    for field in layout.fields:
        for value in (field.range[0] - 1, field.range[1] + 1):
            with pytest.raises(ValueError, match=f"{layout.name}.{field.name} is"):
                layout.pack({field.name: value})
    with pytest.raises(ValueError, match="no field 'nothing'"):
        layout.pack({"nothing": 1})


def test_a_known_word_of_each_kind() -> None:
    """Positions as paicorelib 2.0.0 has them, written out by hand."""
    data = w.work_words(np.array([200 * 512 + 17]), 1, {"x": 3, "y": -2, "copies_y": 4})
    assert data.tolist() == [9 << 60 | 3 << 48 | 0b100010 << 42 | 4 << 24 | (200 & 127) << 17 | 17 << 8 | 1]
    registers = w.REGISTERS.pack({"weight_sign": 1, "lcn": 5, "neuron_number": 4096, "test_core_y": -7, "tick_start": 2})
    y = 0b100111
    assert registers.tolist() == [1 << 53 | 5 << 47 | 4096 << 14 | y >> 4, (y & 15) << 60, 2 << 48]
    part2 = w.PART2.pack({"threshold": -1, "negative_threshold": -(1 << 31), "floor": 1, "leak": -3})
    assert part2.tolist() == [0xFFFFF << 44 | (0xFFFFF - 2) << 13, 1 << 45 | 1 << 43 | 0xFFF]


@pytest.mark.slow
@given(st.sampled_from(w.WIDTHS), st.lists(st.integers(-128, 127), min_size=1, max_size=300))
def test_weights_come_back(bits: int, values: list[int]) -> None:
    signed = bits > 1
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, 1)
    weights = np.clip(np.array(values, np.int64), low, high)
    rows = w.pack_dense(weights, bits)
    assert len(rows) == -(-len(weights) * bits // 128)
    found = w.unpack_dense(rows, bits, signed)
    assert (found[: len(weights)] == weights).all()
    assert not found[len(weights) :].any()
    index = np.arange(len(weights), dtype=np.int64) * 200 + 35
    packed = w.pack_csc(index, weights, bits)
    assert len(packed) == -(-len(weights) // w.CSC_LANES[bits])
    at, found = w.unpack_csc(packed, bits, signed)
    assert (at[: len(weights)] == index).all()
    assert (found[: len(weights)] == weights).all()
    assert not found[len(weights) :].any()
