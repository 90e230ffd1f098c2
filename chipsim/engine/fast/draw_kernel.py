"""The kernels that draw which spikes are sent: `chipsim.faults.draws.lost` in machine code, 64 images at a time.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11), Philox4x64-10. The 32 bytes of a block
are a digit of 32 images, so that they lie as the images of a row do. How NumPy's generator counts is in
``numpy/random/src/philox/philox.h``: the counter is raised before each block.
"""

from __future__ import annotations

from collections.abc import Callable

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


#: places that are drawn at a time, where products of eight words are
EIGHT = 8
WORD8 = f"<{EIGHT} x i64>"


def draw(*, eight: bool) -> str:
    """Mark what is sent: lines of `LANES` bytes, one for each place of a record from 0 on, all ones where it is sent.

    ``eight``: places are drawn eight at a time.
    """
    f = Function("draw", record="ptr", count="i64", out="ptr")
    a = f.arguments
    every = f.splat(f.cast("trunc", f.constant(255), "i8"), LANES)
    with f.loop(0, a["count"]) as place:
        f.store(every, f.at(a["out"], place, LANES), 64)
    with f.when(field(f, a["record"], "digits")):
        first = f.variable("i64", "0")
        if eight:
            _draw_eights(f, first)
        with f.loop(f.load("i64", first, 8), a["count"]) as left:
            f.call("lose", a["record"], left, f.at(a["out"], left, LANES))
    return settle() + lose() + (lose_eight() if eight else "") + f.text()


def _draw_eights(f: Function, first: Value) -> None:
    """Draw for eight places after eight, as long as there are so many; ``first`` is then the next.

    What their first digits leave undecided waits until there are eight lines of it.
    """
    a = f.arguments
    queue = Queue(f)
    places, undecided = f.variable(f"[{8 * EIGHT} x i8]", ""), f.variable(f"[{LANES * EIGHT} x i8]", "")

    def settled() -> None:
        with f.loop(0, queue.count()) as i:
            line = f.at(a["out"], queue.place(i), LANES)
            f.store(f.binary("or", f.load(BYTES, line, 64), queue.line(i)), line, 64)

    with f.loop(EIGHT - 1, a["count"], EIGHT) as last:
        f.store(last + 1, first, 8)
        begin = last - (EIGHT - 1)
        numbers = f.splat(begin, EIGHT) + Value(f, WORD8, f"<{', '.join(f'i64 {k}' for k in range(EIGHT))}>")
        f.store(numbers, places, 64)
        f.call("lose_eight", a["record"], places, f.constant(0), f.at(a["out"], begin, LANES), undecided)
        with f.loop(0, f.constant(EIGHT)) as i:
            queue.push(a["record"], f.at(undecided, i, LANES), begin + i, begin + i, settled)
    queue.flush(a["record"], settled)


class Queue:
    """Lines whose first digits left something undecided, until there are eight."""

    def __init__(self, f: Function) -> None:
        self.f, self.waiting = f, f.variable("i64", "0")
        self.places, self.owners = (f.variable(f"[{8 * EIGHT} x i8]", "") for _ in range(2))
        self.lines, self.undecided = (f.variable(f"[{LANES * EIGHT} x i8]", "") for _ in range(2))

    def count(self) -> Value:
        """How many there are."""
        return self.f.load("i64", self.waiting, 8)

    def place(self, number: Value) -> Value:
        """Its owner: whatever it was put there with."""
        return self.f.load("i64", self.f.at(self.owners, number, 8), 8)

    def line(self, number: Value) -> Value:
        """What of it is not lost."""
        return self.f.load(BYTES, self.f.at(self.lines, number, LANES), 64)

    def push(self, record: Value, line: Value, place: Value, owner: Value, settled: Callable[[], None]) -> None:
        """Append a line, unless nothing in it is undecided; where there are eight, decide, and do what comes then."""
        f = self.f
        with f.when(_any(f, line)):
            number = self.count()
            f.store(f.load(BYTES, line, 64), f.at(self.lines, number, LANES), 64)
            f.store(place, f.at(self.places, number, 8), 8)
            f.store(owner, f.at(self.owners, number, 8), 8)
            f.store(number + 1, self.waiting, 8)
            with f.when(f.flag("eq", number, EIGHT - 1)):
                self._decide(record, settled)

    def flush(self, record: Value, settled: Callable[[], None]) -> None:
        """Decide what is left."""
        with self.f.when(self.count()):
            self._decide(record, settled)

    def _decide(self, record: Value, settled: Callable[[], None]) -> None:
        f = self.f
        f.call("lose_eight", record, self.places, f.constant(1), self.lines, self.undecided)
        with f.loop(0, self.count()) as i:
            undecided = f.at(self.undecided, i, LANES)
            with f.when(_any(f, undecided)):
                place = f.load("i64", f.at(self.places, i, 8), 8)
                f.call("settle", record, place, f.at(self.lines, i, LANES), undecided, f.constant(2))
        settled()
        f.store(f.constant(0), self.waiting, 8)


def lose() -> str:
    """Clear those bytes of a line of 64 images that a place of a record loses; needs `settle`."""
    f = Function("lose", internal=True, record="ptr", place="i64", line="ptr")
    record, place, line = f.arguments.values()
    found = _drawn(f, record, place, f.constant(0))
    _cleared(f, record, place, line, found, f.variable(BYTES, ""))
    return f.text()


def lose_eight() -> str:
    """Clear those bytes of eight lines that eight places of a record lose by a digit, or that it leaves ``undecided``."""
    f = Function("lose_eight", internal=True, record="ptr", places="ptr", digit="i64", lines="ptr", undecided="ptr")
    record, places, digit, lines, undecided = f.arguments.values()
    drawn = f.variable(f"[{EIGHT * TOGETHER * GROUPS} x i8]", "")
    place, nothing = f.load(WORD8, places, 64), f.zero(WORD8)
    stream, one = f.splat(field(f, record, "stream"), EIGHT), f.splat(f.constant(1), EIGHT)
    counter = (place + one, f.splat(digit, EIGHT), nothing, stream)

    def of_groups(*groups: int) -> None:
        keys = [f.at(record, KEYS + 2 * ROUNDS * group, 8) for group in groups]
        for group, words in zip(groups, _philox_eight(f, counter, keys), strict=True):
            for number, block in enumerate(_turned(f, words)):
                f.store(block, f.at(drawn, TOGETHER * (GROUPS * number + group)), 32)

    of_groups(0, 1)  # side by side: one alone waits for its own products
    with f.when(f.flag("eq", field(f, record, "groups"), GROUPS)):
        of_groups(2)
    offset = field(f, record, "offset")
    more = f.splat(f.cast("trunc", f.constant(0) - f.flag("slt", digit + 1, field(f, record, "digits")), "i8"), LANES)
    with f.loop(0, f.constant(EIGHT)) as number:
        found = f.load(BYTES, f.at(f.at(drawn, number, TOGETHER * GROUPS), offset), 1)
        line = f.at(lines, number, LANES)
        before = f.load(BYTES, line, 64)
        above, equal = _compared(f, record, digit, found)
        f.store(before & above, line, 64)
        f.store(before & equal & more, f.at(undecided, number, LANES), 64)
    return f.text()


def settle() -> str:
    """Set those bytes of a line again that are undecided before the ``first`` digit drawn here, and not lost in the end.

    A second digit is only drawn where the first one is that of the limit, and so on: once for 256 bytes that are not clear.
    """
    f = Function("settle", internal=True, record="ptr", place="i64", line="ptr", undecided="ptr", first="i64")
    record, place, line, undecided, first = f.arguments.values()
    with f.loop(first, field(f, record, "digits")) as digit, f.when(_any(f, undecided)):
        above, equal = _compared(f, record, digit, _drawn(f, record, place, digit))
        left = f.load(BYTES, undecided, 64)
        f.store(f.binary("or", f.load(BYTES, line, 64), left & above), line, 64)
        f.store(left & equal, undecided, 64)
    return f.text()


def _cleared(f: Function, record: Value, place: Value, line: Value, found: Value, undecided: Value) -> None:
    """Clear those bytes of a line that a place loses by what was drawn of its first digit."""
    before = f.load(BYTES, line, 64)
    above, equal = _compared(f, record, f.constant(0), found)
    f.store(before & above, line, 64)
    f.store(before & equal, undecided, 64)
    with f.when(_any(f, undecided)):
        f.call("settle", record, place, line, undecided, f.constant(1))


def field(f: Function, record: Value, name: str) -> Value:
    """A field of a record."""
    return f.load("i64", f.at(record, RECORD.index(name), 8), 8)


def _drawn(f: Function, record: Value, place: Value, digit: Value) -> Value:
    """Draw a digit of a place, 64 lanes."""
    counter = (place + 1, digit, f.constant(0), field(f, record, "stream"))
    drawn = f.at(record, DRAWN, 8)
    with f.loop(0, field(f, record, "groups")) as group:
        words = _philox(f, counter, f.at(f.at(record, KEYS, 8), group, 8 * 2 * ROUNDS))
        for number, word in enumerate(words):
            f.store(word, f.at(f.at(drawn, group, TOGETHER), number, 8), 8)
    return f.load(BYTES, f.at(drawn, field(f, record, "offset")), 1)


def _compared(f: Function, record: Value, digit: Value, found: Value) -> tuple[Value, Value]:
    """Where a digit is above the limit's, and where it is equal to it: ones or 0, 64 lanes."""
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


def _philox_eight(f: Function, counter: tuple[Value, ...], keys: list[Value]) -> list[list[Value]]:
    """The words of eight counters, lane by lane, for some groups of images."""
    found = [list(counter) for _ in keys]
    for number in range(ROUNDS):
        for group, words in enumerate(found):
            key = [f.splat(f.load("i64", f.at(keys[group], 2 * number + i, 8), 8), EIGHT) for i in range(2)]
            low, high = zip(*(_products(f, words[2 * i], MULTIPLIERS[i]) for i in range(2)), strict=True)
            found[group] = [high[1] ^ words[1] ^ key[0], low[1], high[0] ^ words[3] ^ key[1], low[0]]
    return found


def _products(f: Function, words: Value, factor: int) -> tuple[Value, Value]:
    """Lower and upper halves of eight products of 64 bits, from those of halves of the factors."""

    def half(value: Value) -> Value:
        return value & f.splat(f.constant(0xFFFFFFFF), EIGHT)

    def upper(value: Value) -> Value:
        return f.emit(WORD8, f"lshr {WORD8} {value.name}, splat (i64 32)")

    above, below = (f.splat(f.constant(part), EIGHT) for part in (factor >> 32, factor & 0xFFFFFFFF))
    first = half(words) * below
    second = upper(words) * below + upper(first)
    third = half(words) * above + half(second)
    high = upper(words) * above + upper(second) + upper(third)
    low = f.binary("or", f.emit(WORD8, f"shl {WORD8} {third.name}, splat (i64 32)"), half(first))
    return low, high


def _turned(f: Function, words: list[Value]) -> list[Value]:
    """Four words of eight lanes each as eight blocks of four words."""
    one, other = (f.shuffle(a, b, list(range(2 * EIGHT))) for a, b in (words[:2], words[2:]))
    return [f.shuffle(one, other, [lane, EIGHT + lane, 2 * EIGHT + lane, 3 * EIGHT + lane]) for lane in range(EIGHT)]


def _any(f: Function, place: Value) -> Value:
    """Which of 64 bytes are not 0, a bit each."""
    return f.cast("bitcast", f.compare("ne", f.load(BYTES, place, 64), f.zero(BYTES)), "i64")
