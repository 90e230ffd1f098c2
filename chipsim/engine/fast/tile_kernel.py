"""The kernel that multiplies tiles: see `chipsim.engine.fast.tiles`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chipsim.engine.fast.instructions import TILES
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import LANES, WORDS
from chipsim.engine.fast.segments_kernel import Segments, head
from chipsim.engine.fast.tiles import COLUMNS, ROWS

#: bytes of a line of a tile, lines of a tile, and the tiles that hold sums, of 16 images each
LINE, LINES, SUMS = 64, 16, 4
#: tiles of rows, which are taken in turns, and the tile of weights
TAKEN, WEIGHTS = (4, 5, 6), 7
CONFIGURING = ("declare void @llvm.x86.ldtilecfg(ptr)", "declare void @llvm.x86.tilerelease()")
DECLARED = (
    "declare void @llvm.x86.tilezero(i8 immarg)",
    "declare void @llvm.x86.tileloadd64(i8 immarg, ptr, i64)",
    "declare void @llvm.x86.tilestored64(i8 immarg, ptr, i64)",
)


def dense(bits: int, name: str) -> str:
    """Return the kernel that makes all accumulators of a core, of 32 bits."""
    assert bits == 32, "tiles have sums of 32 bits"
    arguments = dict.fromkeys(("program", "tables", "packed", "accumulators"), "ptr")
    f = Function("dense32", **arguments, count="i64")  # type: ignore[arg-type]
    scratch = f.variable(f"[{LINES * LANES} x i32]", "")
    with Segments(f, "products", 2, 1, 32).loop() as s:
        accumulator, factor = s.column(0)
        sums = f.at(f.arguments["accumulators"], accumulator, 4 * LANES)
        with f.when(s.window):
            for number in range(SUMS):
                f.do("tileloadd64", number, f.at(sums, LINE * number), SUMS * LINE)
        with f.when(f.flag("eq", s.window, 0)):
            for number in range(SUMS):
                f.do("tilezero", number)
        with f.loop(0, s.many) as i:
            f.do("tileloadd64", WEIGHTS, s.content(i, 0, ROWS * COLUMNS), LINE)
            for number in range(SUMS):  # four rows of 16 images lie in a line, and those of the others beside it
                taken = TAKEN[number % len(TAKEN)]
                f.do("tileloadd64", taken, f.at(s.packed(i), LINE * number), SUMS * LINE)
                f.do(TILES[name], number, WEIGHTS, taken)
        with f.when(f.flag("eq", factor, 1)):
            _store(f, sums)
        with f.when(f.flag("ne", factor, 1)):
            _store(f, scratch)
            times = f.splat(f.cast("trunc", factor, "i32"), LANES)
            with f.loop(0, f.constant(COLUMNS)) as column:
                more = f.load(WORDS, f.at(scratch, column, 4 * LANES), 64) * times
                f.add_to(f.at(f.arguments["accumulators"], accumulator + column, 4 * LANES), more)
    return "\n".join([*DECLARED, f"declare void @llvm.x86.{TILES[name]}(i8 immarg, i8 immarg, i8 immarg)", f.text()])


@contextmanager
def configured(f: Function) -> Iterator[None]:
    """All tiles have as many lines, and bytes in a line, as there can be; in the end the processor need not keep them."""
    every = range(SUMS + len(TAKEN) + 1)
    palette = {0: 1, **{16 + 2 * tile: LINE for tile in every}, **{48 + tile: LINES for tile in every}}
    config = f.variable("[64 x i8]", "zeroinitializer")
    for place, byte in palette.items():
        f.store(Value(f, "i8", str(byte)), f.at(config, place), 1)
    f.do("ldtilecfg", config)
    yield
    f.do("tilerelease")


def by_itself(kernel: int) -> str:
    """What calls a kernel of dense sums at an address, for those who run no cores, with tiles configured."""
    pointers = dict.fromkeys(("program", "tables", "packed", "accumulators"), "ptr")
    f = Function("by_itself", **pointers, count="i64")  # type: ignore[arg-type]
    with configured(f):
        f.call(f.cast("inttoptr", f.constant(kernel), "ptr"), *f.arguments.values())
    return "\n".join([*CONFIGURING, f.text()])


def pack(f: Function, target: Value, taken: Callable[[Value], Value]) -> None:
    """Lay the bytes of four rows side by side, image by image.

    Bytes are joined within 16 images, and stored in parts: joining across all 64 takes twice as long.
    """
    with f.loop(0, head(f, "multiplied")) as i:
        first = head(f, "rows at") + i * 4
        rows = [taken(first + number) for number in range(4)]
        pairs = [[f.cast("bitcast", each, "<32 x i16>") for each in _joined(f, *two)] for two in (rows[:2], rows[2:])]
        quads = [quad for one, other in zip(*pairs, strict=True) for quad in _joined(f, one, other)]
        for number, quad in enumerate(quads):  # those of images 4 * number and on, of each 16
            part = f.cast("bitcast", quad, "<16 x i32>")
            for sixteen in range(SUMS):
                few = f.shuffle(part, part, list(range(4 * sixteen, 4 * sixteen + 4)))
                f.store(few, f.at(target, i * 4 * SUMS + (4 * sixteen + number), 16), 16)


def _joined(f: Function, one: Value, other: Value) -> list[Value]:
    """Elements of two vectors in turns: those of the lower half of each 16 bytes, and of the upper."""
    lanes = one.lanes
    each = lanes // 4
    return [
        f.shuffle(one, other, [each * part + half + k // 2 + lanes * (k % 2) for part in range(4) for k in range(each)])
        for half in (0, each // 2)
    ]


def _store(f: Function, place: Value) -> None:
    for number in range(SUMS):
        f.do("tilestored64", number, f.at(place, LINE * number), SUMS * LINE)
