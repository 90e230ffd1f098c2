"""Sums of bits are the matrix product, and an engine of bits is the reference engine: any weights, any bounds of rows."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from property.test_engines import agrees, images_for
from support.hand_mappings import HandCore, HandMap, pooled_map, random_map, wide_map
from support.targets import targets

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from chipsim.engine import shards
from chipsim.engine.engines import ReferenceEngine
from chipsim.engine.fast import engine, kernels, planes, programs
from chipsim.engine.fast.engine import load_fast
from chipsim.engine.fast.instructions import BITS
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.merge import Form, Merged, MergedCore, make_form
from chipsim.engine.fast.native import Code, Target
from chipsim.engine.fast.plane_tables import MOST
from chipsim.engine.fast.plane_worker import PlaneWorker
from chipsim.engine.fast.planes import AT_ONCE, HEAD, IMAGES, PLANE, Sums
from chipsim.engine.fast.values import Bundles, Values
from chipsim.engine.host import load_host
from chipsim.mapping import Mapping

#: processors whose instructions this one has too
TARGETS = targets(*BITS)
_CODE = {target: Code(target, cached=False) for target in TARGETS}


def sums_of(form: Form) -> Sums | None:
    return planes.sums_of(form, planes.lines_of(form))


needed = pytest.mark.skipif(not TARGETS, reason="this processor has no registers of which bits are added up")


def lines_of(sums: Sums, values: np.ndarray) -> np.ndarray:
    """What a core's lines hold, (lines, images), with zeros at 0: those of its values, then those that are joined."""
    lines = sums.lines
    held = np.zeros((lines.count, values.shape[1]), np.int64)
    held[1 : 1 + len(lines.row)] = (values[lines.row] >> lines.plane[:, None]) & 1
    for number, join in enumerate(lines.joins.tolist()):
        total = held[join].sum(axis=0)
        at = 1 + len(lines.row) + 2 * number
        held[at], held[at + 1] = total & 1, total >> 1
    return held


def read(sums: Sums, held: np.ndarray) -> np.ndarray:
    """What a reader of the program makes of it, (columns, images)."""
    program, at, found = sums.program, 0, []
    words = program.words.astype(np.int64)
    for _ in range(program.columns):
        total = np.zeros(held.shape[1], np.int64)
        for position in range(program.positions):
            most, rest, minus, rest_minus = words[at : at + HEAD].tolist()
            added, taken = AT_ONCE[0] * most + AT_ONCE[-1] * rest, AT_ONCE[0] * minus + AT_ONCE[-1] * rest_minus
            lines = words[at + HEAD : at + HEAD + added + taken] // PLANE
            counter = (held[lines[:added]]).sum(axis=0) + (1 - held[lines[added:]]).sum(axis=0)
            total += counter << position
            assert (total >> position).max(initial=0) < 1 << program.width, "the counter holds it"
            at += HEAD + added + taken
        found.append(total - program.excess[len(found)])
        assert total.max(initial=0) < (1 << program.bits) - 1, "a sum is never all ones"
    assert at == len(words)
    assert program.stride >= program.bits
    return np.array(found).reshape(program.columns, -1)


@cache
def imitating() -> Code:
    """Code of whatever processor this is."""
    return Code(cached=False)


def imitated(text: str) -> str:
    """A kernel of AVX-512 whose functions of three bits are functions of two, as every processor has them."""
    kind = "<16 x i32>"
    text, given = re.sub(r"declare .*pternlog.*\n", "", text), f"{kind} %a, {kind} %b, {kind} %c"
    text = re.sub(r"@llvm\.x86\.avx512\.pternlog\.d\.512(\(.*), i32 (\d+)\)", r"@function\2\1)", text)
    assert "avx512" not in text
    for table in {int(number) for number in re.findall(r"@function(\d+)", text)}:
        f = Function("", internal=True)
        planes = [Value(f, kind, f"%{name}") for name in "abc"]
        ones = f.emit(kind, f"xor {kind} {f.zero(kind).name}, splat (i32 -1)")
        total = f.zero(kind)
        for entry in (entry for entry in range(8) if table >> entry & 1):
            a, b, c = (each if entry >> 2 - place & 1 else each ^ ones for place, each in enumerate(planes))
            total = total ^ (a & b & c)
        text += f"\ndefine internal {kind} @function{table}({given}) {{\n" + "\n".join(
            [*f.lines, f"ret {kind} {total.name}", "}"]
        )
    return text


def executed(sums: Sums, held: np.ndarray, target: Target | str) -> np.ndarray:
    """What the machine code makes of it, or that of an instruction that the processor may lack."""
    program = sums.program
    name = f"add{program.width}"
    if isinstance(target, str):
        lookup, code, found = target, imitating(), imitated(kernels.text(name, target))
    else:
        lookup, code, found = target.lookup, _CODE[target], None
    kernel = code.add(name.encode(), lambda _: found or kernels.text(name, lookup), name, optimise=True)
    lines = aligned((len(held), PLANE), np.uint8)
    lines[:] = np.packbits(held.astype(bool), axis=1, bitorder="little")
    out = aligned((program.columns * program.stride, PLANE), np.uint8)
    out[:] = 255  # whatever was there
    place, number = ctypes.c_void_p, ctypes.c_int64
    call = ctypes.CFUNCTYPE(None, *[place] * 5, *[number] * 4)(kernel)
    given = map(address, (program.words, lines, None, out, None))
    call(*given, program.columns, program.positions, PLANE * program.stride, 0)
    bits = np.unpackbits(out, axis=1, bitorder="little").reshape(program.columns, program.stride, -1).astype(np.int64)
    return (bits[:, : program.bits] << np.arange(program.bits)[:, None]).sum(axis=1) - program.excess[:, None]


@given(
    seed=st.integers(0, 2**32 - 1),
    bounds=st.sampled_from([(1,), (3,), (4, 7), (15,), (127,), (0, 1, 2, 3, 5, 7, 9, 15, 16, 100, 127)]),
    largest=st.sampled_from([1, 7, 8, 64, 127, 128, 1000, 40000]),
    rows=st.integers(0, 700),
    columns=st.integers(1, 9),
    empty=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    target=st.sampled_from([None, *TARGETS, "avx512bw"]),
)
def test_sums_of_bits_are_the_matrix_product(
    seed: int, bounds: tuple[int, ...], largest: int, rows: int, columns: int, empty: float, target: Target | str | None
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-largest, largest + 1, (rows, columns))
    if rng.random() < 0.3:  # as far as it goes
        weights = np.where(rng.random(weights.shape) < 0.5, -largest, largest)
    weights[rng.random((rows, columns)) < empty] = 0
    if rows and rng.random() < 0.3:  # levels on rows of their own
        weights = weights[rng.integers(0, max(1, rows // 9), rows)]
    bound = rng.choice(bounds, rows)
    values = rng.integers(0, bound[:, None] + 1, (rows, IMAGES))
    if rng.random() < 0.3:
        values[:] = bound[:, None]
    sums = sums_of(make_form(weights, bound))
    assert sums is not None
    held = lines_of(sums, values)
    found = read(sums, held) if target is None else executed(sums, held, target)
    np.testing.assert_array_equal(found, weights.T @ values)


def test_lines_that_count_alike_are_joined() -> None:
    rng = np.random.default_rng(0)
    weights = np.repeat(rng.choice([-1, 1], (40, 8)), 7, axis=0)
    sums = sums_of(make_form(weights, np.ones(280, np.int64)))
    assert sums is not None
    assert len(sums.lines.joins) == 40 * 4, "seven bits of one weight take four full adders"
    assert len(sums.lines.taken) == 40 * 3, "and are three bits then"
    few = sums_of(make_form(weights[:, :2], np.ones(280, np.int64)))
    assert few is not None
    assert not len(few.lines.joins), "for two columns that takes as long as adding them up"


def compared(mapping: Mapping, images: np.ndarray, noise: float, per_image: bool, target: Target | None = None) -> None:
    """An engine that adds up bits is the reference engine."""
    host = load_host(mapping)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "in_bits", lambda merged, code, images: tuple(map(planes.lines_of, merged.forms)))
        fast = load_fast(mapping, host, Code(target), noisy=noise > 0)
    assert fast is not None
    assert isinstance(fast.worker(), PlaneWorker)
    agrees(fast, ReferenceEngine(mapping, host), images, noise, per_image)


@needed
@given(
    seed=st.integers(0, 2**32 - 1),
    make=st.sampled_from([random_map, wide_map, pooled_map]),
    count=st.one_of(st.integers(1, 140), st.integers(500, 800)),
    per_image=st.booleans(),
    noise=st.sampled_from([0.0, 0.3]),
    target=st.sampled_from(TARGETS) if TARGETS else st.nothing(),
)
@settings(max_examples=60)
def test_an_engine_of_bits(
    seed: int, make: Callable[..., HandMap], count: int, per_image: bool, noise: float, target: Target
) -> None:
    rng = np.random.default_rng(seed)
    hand = make(rng)
    compared(hand.build(), images_for(hand, rng, count), noise, per_image, target)


@needed
@pytest.mark.parametrize("per_image", [False, True])
def test_thresholds_as_far_as_they_go(per_image: bool) -> None:
    # always, never, and at both ends of what a potential reaches
    rng = np.random.default_rng(1)
    weights = np.array([[1, -2, 0, 1], [1, -2, 0, 1], [1, 0, 0, -2]])
    ends = [[3, 0, 0, 2], [4, -4, 1, -2], [2**31 - 1, -(2**31), 0, 2**31 - 1], [-(2**31), 2**31 - 1, -1, 3]]
    cores = [
        HandCore(0, weights, [0, 1, 2], thresholds, list(range(4 * number, 4 * number + 4)))
        for number, thresholds in enumerate(ends)
    ]
    cores.append(HandCore(1, rng.integers(-2, 2, (16, 5)), list(range(3, 19)), [0] * 5, list(range(5))))
    layers = [("hidden", 16, 1, 1), ("out", 5, 0, 2)]
    mapping = HandMap(3, 1, layers, cores, chip=load_chip("xbar1152")).build()
    compared(mapping, np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1).T.astype(np.float32), 0.0, per_image)


@needed
def test_bits_are_for_many_images() -> None:
    rng = np.random.default_rng(0)
    core = MergedCore(0, 0, np.arange(500, dtype=np.int32), np.ones(500, np.int64), np.ones(500, np.int64), 500)
    form = make_form(rng.choice([-1, 0, 1], (500, 64)).astype(np.int8), np.ones(500, np.int64))
    size = np.ones(500, np.int64)
    none = np.zeros(0, np.int64)
    bundles = Bundles(none, np.zeros(1, np.int64), none, none)
    values = Values(np.arange(500), size, np.arange(500), np.arange(501), np.arange(500), 500, bundles)
    merged = Merged(values, (form,), (core,) * 20, np.arange(64), np.zeros(64, np.int64))
    for target in TARGETS:
        costs = programs.Costs(target.lookup)
        assert programs.in_bits(merged, costs, IMAGES)
        assert not programs.in_bits(merged, costs, 64), "most of each register would be empty"
    sse = Target("x86-64", "+ssse3,-avx")
    assert not programs.in_bits(merged, programs.Costs(sse.lookup), IMAGES)


@needed
def test_shards_are_whole_batches() -> None:
    mapping = random_map(np.random.default_rng(0)).build()
    host, batches = load_host(mapping), set()
    for bits in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "in_bits", lambda merged, code, images: tuple(map(planes.lines_of, merged.forms)))
            fast = load_fast(mapping, host, Code(TARGETS[-1]), bits=bits)
        assert fast is not None
        batches.add(fast.batch)
    assert batches == {IMAGES, 4 * LANES}
    assert not any(shards.BATCH % batch for batch in batches), "of a run in one process"


def test_a_counter_that_would_be_too_wide() -> None:
    for rows in ((1 << 16) - 1, MOST * 4):  # the first would be all ones
        assert sums_of(make_form(np.ones((rows, 1), np.int8), np.ones(rows, np.int64))) is None


@needed
def test_a_data_set_of_few_images_is_a_small_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = []
    monkeypatch.setattr(engine, "in_bits", lambda merged, code, images: expected.append(images))
    hand = random_map(np.random.default_rng(0))
    mapping = hand.build()
    for count, batch in ((3, None), (3, 2), (3, 100), (IMAGES + 1, None), (IMAGES + 1, 64)):
        chipsim.run(mapping, Dataset("random", "test", images_for(hand, np.random.default_rng(0), count)), batch=batch)
    assert expected == [3, 2, 3, IMAGES, 64]
