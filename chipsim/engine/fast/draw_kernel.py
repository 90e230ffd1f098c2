"""The kernels that draw which spikes are sent: `chipsim.faults.draws.lost` in machine code, 64 images at a time.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11), Philox4x64-10. The 32 bytes of a block
are a digit of 32 images, so that they lie as the images of a row do. How NumPy's generator counts is in
``numpy/random/src/philox/philox.h``: the counter is raised before each block.
"""

from __future__ import annotations

from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES
from chipsim.faults.draws import TOGETHER

ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

#: fields of a record of what is drawn, uint64: ``digits`` of the limit that have to be compared (0: nothing is lost); the
#: first image's place among the images that share its blocks; how many such groups there are; places in a step
RECORD = ("stream", "digits", "offset", "groups", "places")
#: groups that 64 images can lie in
GROUPS = 3
#: words of a record at which the digits of the limit begin, the keys of each group's rounds, and the bytes drawn last
LIMIT, KEYS, DRAWN = 8, 16, 80
WORDS = DRAWN + 16


def draw() -> str:
    """Mark what is sent: lines of `LANES` bytes, one for each place of a record from 0 on, all ones where it is sent."""
    f = Function("draw", record="ptr", count="i64", out="ptr")
    a = f.arguments
    every = f.splat(f.cast("trunc", f.constant(255), "i8"), LANES)
    with f.loop(0, a["count"]) as place:
        line = f.at(a["out"], place, LANES)
        f.store(every, line, 64)
        with f.when(field(f, a["record"], "digits")):
            f.call("lose", a["record"], place, line)
    return lose() + f.text()


def lose() -> str:
    """Clear those bytes of a line of 64 images that a place of a record loses.

    A second digit is only drawn where the first one is that of the limit, and so on: once for 256 bytes that are not clear.
    """
    f = Function("lose", internal=True, record="ptr", place="i64", line="ptr")
    record, line = f.arguments["record"], f.arguments["line"]
    before = f.load(BYTES, line, 64)
    above, equal = _compared(f, f.constant(0))
    f.store(before & above, line, 64)
    undecided = f.variable(BYTES, "")
    f.store(before & equal, undecided, 64)
    with f.when(_any(f, undecided)), f.loop(1, field(f, record, "digits")) as digit, f.when(_any(f, undecided)):
        above, equal = _compared(f, digit)
        left = f.load(BYTES, undecided, 64)
        f.store(f.binary("or", f.load(BYTES, line, 64), left & above), line, 64)
        f.store(left & equal, undecided, 64)
    return f.text()


def field(f: Function, record: Value, name: str) -> Value:
    """A field of a record."""
    return f.load("i64", f.at(record, RECORD.index(name), 8), 8)


def _compared(f: Function, digit: Value) -> tuple[Value, Value]:
    """Draw a digit of a place; where it is above the limit's, and where it is equal to it: ones or 0, 64 lanes."""
    record, place = (f.arguments[name] for name in ("record", "place"))
    counter = (place + 1, digit, f.constant(0), field(f, record, "stream"))
    drawn = f.at(record, DRAWN, 8)
    with f.loop(0, field(f, record, "groups")) as group:
        words = _philox(f, counter, f.at(f.at(record, KEYS, 8), group, 8 * 2 * ROUNDS))
        for number, word in enumerate(words):
            f.store(word, f.at(f.at(drawn, group, TOGETHER), number, 8), 8)
    found = f.load(BYTES, f.at(drawn, field(f, record, "offset")), 1)
    limit = f.load("i64", f.at(f.at(record, LIMIT, 8), digit, 8), 8)
    bound = f.splat(f.cast("trunc", limit, "i8"), LANES)
    above, equal = (f.cast("sext", f.compare(how, found, bound), BYTES) for how in ("ugt", "eq"))
    return above, equal


def _philox(f: Function, counter: tuple[Value, ...], keys: Value) -> list[Value]:
    """The four words of a counter; two keys a round."""
    words = list(counter)
    for number in range(ROUNDS):
        key = [f.load("i64", f.at(keys, 2 * number + i, 8), 8) for i in range(2)]
        low, high = zip(*(_product(f, words[2 * i], MULTIPLIERS[i]) for i in range(2)), strict=True)
        words = [high[1] ^ words[1] ^ key[0], low[1], high[0] ^ words[3] ^ key[1], low[0]]
    return words


def _product(f: Function, word: Value, factor: int) -> tuple[Value, Value]:
    """Lower and upper half of a product of 64 bits."""
    wide = f.cast("zext", word, "i128")
    product = f.emit("i128", f"mul i128 {wide.name}, {factor}")
    upper = f.emit("i128", f"lshr i128 {product.name}, 64")
    return f.cast("trunc", product, "i64"), f.cast("trunc", upper, "i64")


def _any(f: Function, place: Value) -> Value:
    """Which of 64 bytes are not 0, a bit each."""
    return f.cast("bitcast", f.compare("ne", f.load(BYTES, place, 64), f.zero(BYTES)), "i64")
