"""Rows and columns that are alike stand for each other: what is computed for one of each kind holds of all."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qsnnc.ir.execute import convolve, products
from qsnnc.ir.layers import Connection, Int, Layer
from qsnnc.partition.alike import Map, kinds, readers_along, small


def layer_of(link: Connection, shape: tuple[int, int, int], border: Int) -> Layer:
    none = np.zeros((int(border.max()) + 1, shape[0], 0), np.int64)
    reach = np.zeros((*none.shape[:2], 2), np.int64)
    return Layer("y", "", shape, shape, 0, 1.0, 0.0, "convolution", (link,), none, border, reach, exact_sums=True)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Layer, Int]:
    """A convolution of any movement, and levels whose rows and columns are often alike."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    groups, size = draw(st.sampled_from([(1, 3), (2, 2), (3, 1)]))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * 2))
    strides, dilations = (draw(st.tuples(*[st.integers(1, 2)] * 2)) for _ in "sd")
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    rows, columns = draw(st.tuples(*[st.integers(6, 12)] * 2))
    out = [
        (length + pads[axis] + pads[axis + 2] - (kernel[axis] - 1) * dilations[axis] - 1) // strides[axis] + 1
        for axis, length in enumerate((rows, columns))
    ]
    weights = rng.integers(-3, 4, (2 * groups, size, *kernel))
    link = Connection("x", weights, strides, pads, dilations, groups)
    border = np.zeros(out, np.int64)
    border[0] = draw(st.integers(0, 1))
    levels = np.repeat(rng.integers(0, 4, (groups * size, 1, 1)), rows, axis=1).repeat(columns, axis=2)
    levels[:, : draw(st.integers(0, 2))] += 1
    return layer_of(link, (2 * groups, out[0], out[1]), border), levels


@given(convolutions())
def test_sums_of_one_of_each_kind_are_those_of_all(drawn: tuple[Layer, Int]) -> None:
    layer, levels = drawn
    link = layer.connections[0]
    known = {"x": Map.of(kinds([levels.swapaxes(0, 1)]), kinds([levels.swapaxes(0, 2)]), once(levels)[None])}
    seen = small(layer, known)
    found = products(seen.layer.connections[0], known["x"].values, [np.asarray], seen.layer.shape)[0, 0]
    whole = found[:, seen.rows.of][:, :, seen.columns.of]
    assert (whole == convolve(link, levels[None], layer.shape)[0]).all()
    assert (layer.border == seen.layer.border[seen.rows.of][:, seen.columns.of]).all()
    assert seen.counts.sum() == layer.shape[1] * layer.shape[2]
    assert len(seen.rows.first) <= 9  # however many rows there are


def once(levels: Int) -> Int:
    """One row and column of each kind."""
    rows, columns = kinds([levels.swapaxes(0, 1)]), kinds([levels.swapaxes(0, 2)])
    return levels[:, rows.first][:, :, columns.first]


@given(convolutions())
def test_the_reader_at_a_tap_is_the_row_whose_window_it_is_in(drawn: tuple[Layer, Int]) -> None:
    layer, levels = drawn
    link = layer.connections[0]
    for axis in (0, 1):
        size, out = levels.shape[1 + axis], layer.shape[1 + axis]
        readers, read = readers_along(link, axis, size, out), link.along(axis, size, out)
        pairs = {(row, tap, at) for (row, tap), at in np.ndenumerate(read) if at >= 0}
        assert pairs == {(row, tap, at) for (at, tap), row in np.ndenumerate(readers) if row >= 0}


def test_a_map_joins_rows_that_turn_out_alike() -> None:
    values = np.array([[1, 2, 1, 1]]).repeat(3, axis=0)[None, None]
    found = Map.of(kinds([np.arange(3)]), kinds([np.arange(4)]), values)
    assert found.values.tolist() == [[[[1, 2]]]]
    assert found.rows.of.tolist() == [0, 0, 0]
    assert found.columns.of.tolist() == [0, 1, 0, 0]
    assert (found.at(kinds([np.arange(3)]), kinds([np.arange(4)])) == values).all()
