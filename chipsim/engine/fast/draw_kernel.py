"""The kernel that draws which spikes are sent: NumPy's Philox, by image and place (`chipsim.faults.draws`).

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11), Philox4x64-10. How NumPy makes float32
numbers of it is in ``numpy/random/src/philox/philox.h`` and ``distributions.c``: the counter is raised before each block of
four words, each word gives its lower half first, and a number is the upper 24 bits of a half.
"""

from __future__ import annotations

from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import LANES

ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
#: numbers that a counter gives
NUMBERS = 8


def draw() -> str:
    """Mark what is sent: ones in row ``places[source]``, at each image's lane, where a number is at least ``limit``.

    ``count`` sources of a ``stream``, filled up to a multiple of `NUMBERS`; images ``first`` on, ``lanes`` of them;
    ``limit`` in 2**-24.
    """
    f = Function(
        "draw", seed="i64", stream="i64", first="i64", lanes="i64", count="i64", limit="i64", places="ptr", out="ptr"
    )
    a = f.arguments
    with f.loop(0, a["count"], NUMBERS) as source:
        rows = [f.at(a["out"], f.index(a["places"], source + i), LANES) for i in range(NUMBERS)]
        counter = f.emit("i64", f"udiv i64 {source.name}, {NUMBERS}") + 1
        with f.loop(0, a["lanes"]) as lane:
            drawn = numbers(f, (counter, a["stream"]), (a["seed"], a["first"] + lane))
            for number, row in zip(drawn, rows, strict=True):
                f.store(f.cast("sext", f.compare("uge", number, a["limit"]), "i8"), f.at(row, lane), 1)
    return f.text()


def numbers(f: Function, counter: tuple[Value, Value], key: tuple[Value, Value]) -> list[Value]:
    """The `NUMBERS` float32 numbers of a counter, in 2**-24."""
    found = []
    for word in _philox(f, counter, key):
        found += [f.emit("i64", f"lshr i64 {word.name}, 8") & 0xFFFFFF, f.emit("i64", f"lshr i64 {word.name}, 40")]
    return found


def _philox(f: Function, counter: tuple[Value, Value], key: tuple[Value, Value]) -> list[Value]:
    """The four words of a counter of which the lowest and the highest word may not be 0."""
    zero = f.constant(0)
    words, keys = [counter[0], zero, zero, counter[1]], list(key)
    for number in range(ROUNDS):
        if number:
            keys = [one + _signed(step) for one, step in zip(keys, WEYL, strict=True)]
        low, high = zip(*(_product(f, words[2 * i], MULTIPLIERS[i]) for i in range(2)), strict=True)
        words = [high[1] ^ words[1] ^ keys[0], low[1], high[0] ^ words[3] ^ keys[1], low[0]]
    return words


def _product(f: Function, word: Value, factor: int) -> tuple[Value, Value]:
    """Lower and upper half of a product of 64 bits."""
    wide = f.cast("zext", word, "i128")
    product = f.emit("i128", f"mul i128 {wide.name}, {factor}")
    upper = f.emit("i128", f"lshr i128 {product.name}, 64")
    return f.cast("trunc", product, "i64"), f.cast("trunc", upper, "i64")


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
