"""Lookups and products are the matrix product: any weights, any bounds of rows, one row or many."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.targets import targets

from chipsim.engine.fast import kernels, product_kernel, straight, tile_kernel
from chipsim.engine.fast.instructions import TILES
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.lookup import HEAD, KINDS, lookups
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.merge import Form, make_form
from chipsim.engine.fast.native import Code, Target
from chipsim.engine.fast.plan import narrow
from chipsim.engine.fast.segments import TABLE
from chipsim.engine.fast.tiles import COLUMNS, ROWS

#: processors whose instructions this one has too
TARGETS = targets()

_KERNELS: dict[tuple[Target, bool], tuple[object, ...]] = {}


def product(form: Form, values: np.ndarray, target: Target, plain: bool = False) -> np.ndarray:
    """What the machine code makes of a form, (accumulators, 64); ``plain``: as where no instruction adds two products."""
    name = str(target.lookup)
    if (target, plain) not in _KERNELS:
        code = Code(target, cached=False)
        with pytest.MonkeyPatch.context() as patch:
            if plain:
                patch.setattr(product_kernel, "PRODUCTS", {})
                patch.setattr(product_kernel, "WIDE_PRODUCTS", {})
            made = [
                code.add(b"", lambda _, kernel=kernel: kernels.text(kernel, name), kernel, optimise=True)
                for kernel in ("pack", *([] if name in TILES else ["dense16"]), "dense32")
            ]
            if name in TILES:
                made[1] = code.add(b"", lambda _, dense=made[1]: tile_kernel.by_itself(dense), "by_itself", optimise=True)
        _KERNELS[target, plain] = (code, *made)
    _, pack, *dense = _KERNELS[target, plain]
    found = lookups(form, name)
    rows, bits = np.arange(len(values), dtype=np.uint32) * LANES, 16 if narrow(form) and name not in TILES else 32
    packed, tables = aligned((max(1, found.packed), LANES), np.uint8), aligned((max(1, len(found.tables)),), np.uint8)
    tables[: len(found.tables)] = found.tables
    columns = form.matrix.shape[1]
    out = aligned((columns + COLUMNS, LANES), np.int16 if bits == 16 else np.int32)
    place, number = ctypes.c_void_p, ctypes.c_int64
    given_values = aligned(values.shape, np.uint8)
    given_values[:] = values
    ctypes.CFUNCTYPE(None, *[place] * 4)(pack)(*map(address, (found.program, given_values, rows, packed)))
    add_up = ctypes.CFUNCTYPE(None, *[place] * 4, number)(dense[-1 if bits == 32 else 0])
    add_up(*map(address, (found.program, tables, packed, out)), columns)
    return out[:columns]


@given(
    seed=st.integers(0, 2**32 - 1),
    bounds=st.sampled_from([(1,), (3,), (4, 7), (15,), (127,), (255,), (1, 2, 3, 5, 7, 9, 15, 16, 100, 127)]),
    largest=st.sampled_from([1, 7, 8, 64, 127, 128, 1000, 32767, 40000]),
    rows=st.integers(1, 700),
    columns=st.integers(1, 9),
    empty=st.sampled_from([0.0, 0.5, 0.95]),
    target=st.sampled_from(TARGETS) if TARGETS else st.nothing(),
    plain=st.booleans(),
)
def test_lookups_and_products_are_the_matrix_product(
    seed: int, bounds: tuple[int, ...], largest: int, rows: int, columns: int, empty: float, target: Target, plain: bool
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-largest, largest + 1, (rows, columns))
    if rng.random() < 0.3:  # as far as it goes
        weights = np.where(rng.random(weights.shape) < 0.5, -largest, largest)
    weights[rng.random((rows, columns)) < empty] = 0
    if rng.random() < 0.3:  # levels on rows of their own
        weights = weights[rng.integers(0, max(1, rows // 3), rows)]
    bound = rng.choice(bounds, rows)
    values = rng.integers(0, bound[:, None] + 1, (rows, LANES))
    if rng.random() < 0.3:
        values[:] = bound[:, None]
    form = make_form(weights, bound)
    np.testing.assert_array_equal(product(form, values, target, plain), weights.T @ values)


@given(
    seed=st.integers(0, 2**32 - 1),
    bound=st.sampled_from([1, 3, 15, 127]),
    largest=st.sampled_from([1, 7, 127, 1000]),
    rows=st.integers(1, 150),
    columns=st.integers(1, 12),
    cores=st.integers(1, 3),
    registers=st.sampled_from([12, straight.MANY]),
)
@settings(max_examples=25)
def test_code_of_its_own_is_the_matrix_product(
    seed: int, bound: int, largest: int, rows: int, columns: int, cores: int, registers: int
) -> None:
    # strand by strand where there are few registers, and in pairs where there are many
    rng = np.random.default_rng(seed)
    weights = rng.integers(-largest, largest + 1, (rows, columns)) * (rng.random((rows, columns)) < 0.6)
    form = make_form(weights, rng.integers(0, bound + 1, rows))
    values = aligned((2 * rows, LANES), np.uint8)
    values[:] = rng.integers(0, np.tile(form.bound, 2)[:, None] + 1, values.shape)
    first = rng.integers(0, 2, (cores, 1)) * rows
    taken = LANES * (first + np.arange(rows)).astype(np.uint32)
    out = aligned((cores, columns, LANES), np.int16 if narrow(form) else np.int32)
    out[:] = rng.integers(-99, 99, out.shape)  # what a core has left
    code = Code(cached=False)
    made = code.add(b"", lambda name: straight.write(form, name, registers, code.target.lanes))
    place, number = ctypes.c_void_p, ctypes.c_int64
    run = ctypes.CFUNCTYPE(None, place, place, number, place)(made)
    run(address(values), address(taken), cores, address(out))
    for core, begin in enumerate(first[:, 0].tolist()):
        np.testing.assert_array_equal(out[core], weights.T @ values[begin : begin + rows].astype(np.int64))


@given(
    seed=st.integers(0, 2**32 - 1),
    largest=st.sampled_from([1, 7, 127, 128, 1000, 40000]),
    rows=st.integers(1, 900),
    columns=st.integers(1, 40),
    empty=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
)
def test_tiles_are_the_matrix_product(seed: int, largest: int, rows: int, columns: int, empty: float) -> None:
    """By a reader of the program that needs no processor with tiles."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-largest, largest + 1, (rows, columns))
    weights[rng.random((rows, columns)) < empty] = 0
    bound = rng.integers(0, 256, rows) * (rng.random() > 0.1)  # nothing ever arrives
    values = rng.integers(0, bound[:, None] + 1, (rows, LANES))
    found = lookups(make_form(weights, bound), "amx-int8")
    head = dict(zip(HEAD, found.program.tolist(), strict=False))
    assert head["lookups"] == 0
    first, quads = head["rows at"], head["multiplied"]
    packed = rng.integers(0, 256, (found.packed, LANES))  # whatever lies behind the rows is multiplied by zeros
    packed[: 4 * quads] = values[found.program[first : first + 4 * quads].astype(int)]
    out = rng.integers(0, 256, (columns + COLUMNS, LANES))
    at = head["products at"]
    for _ in range(head["products"]):
        steps, more, table, accumulator, factor, *places = found.program[at : at + found.program[at] + 5].astype(np.int64)
        tiles = found.tables[TABLE * table :][: ROWS * COLUMNS * steps].view(np.int8).reshape(-1, COLUMNS, ROWS)
        taken = [packed[place // LANES :][:ROWS] for place in places]
        total = sum((tile.astype(np.int64) @ part for tile, part in zip(tiles, taken, strict=True)), np.int64(0))
        block = slice(accumulator, accumulator + COLUMNS)
        out[block] = factor * total + (out[block] if more or factor > 1 else 0)
        at += 5 + steps
    np.testing.assert_array_equal(out[:columns], weights.T @ values)


@pytest.mark.skipif(not TARGETS, reason="this processor has no instruction that looks up bytes")
def test_what_a_program_costs() -> None:
    rng = np.random.default_rng(0)
    name = str(TARGETS[0].lookup)
    for bound, groups in ((1, 120), (3, 240), (7, 360)):
        form = make_form(rng.choice([-7, -1, 1, 7], (480, 24)), np.full(480, bound))
        found = lookups(form, name)
        assert len(found.tables) == 16 * groups * 24, "one table for a group and a column"
        assert found.program[: len(KINDS)].sum() == groups
        assert found.program[HEAD.index("products")] == 0
    form = make_form(np.repeat(rng.choice([-7, -1, 1, 7], (160, 24)), 3, axis=0), np.ones(480, np.int64))
    assert lookups(form, name).program[: len(KINDS)].sum() == 80, "three levels of one value are two bits"
    form = make_form(rng.choice([-7, -1, 1, 7], (480, 24)), np.full(480, 255))
    assert len(lookups(form, name).tables) == 480 * 24, "a byte for each weight"
