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
    """Draw for eight places after eight, as long as there are so many; ``first`` is then the next."""
    a = f.arguments

    def sent(place: Value, bits: Value) -> None:
        line = f.at(a["out"], place, LANES)
        f.store(f.binary("or", f.load(BYTES, line, 64), as_bytes(f, bits, "sext")), line, 64)

    later = Queue(f, a["record"], 1, sent)
    queue = Queue(f, a["record"], 0, sent, later)
    with f.loop(EIGHT - 1, a["count"], EIGHT) as last, f.loop(0, f.constant(EIGHT)) as i:
        place = last - (EIGHT - 1) + i
        f.store(f.zero(BYTES), f.at(a["out"], place, LANES), 64)
        queue.push(f.constant(-1), place, place)
        f.store(last + 1, first, 8)
    queue.flush()
    later.flush()


def as_bytes(f: Function, bits: Value, how: str) -> Value:
    """A bit for each of 64 images as bytes: 1 (``zext``) or all ones (``sext``) where it is set."""
    return f.cast(how, f.cast("bitcast", bits, f"<{LANES} x i1>"), BYTES)


class Queue:
    """Spikes of 64 images, a bit each, that wait until there are eight lines of them to draw a digit for."""

    def __init__(
        self,
        f: Function,
        record: Value,
        digit: int,
        sent: Callable[[Value, Value], None],
        later: Queue | None = None,
    ) -> None:
        """Begin an empty queue.

        Parameters
        ----------
        sent : callable
            Given the owner of a line and which of its spikes are not lost: those that are clear by now.
        later : Queue, optional
            Where the others wait for the next digit; by default they are settled one by one.
        """
        self.f, self.record, self.digit, self.sent, self.later = f, record, digit, sent, later
        self.waiting = f.variable("i64", "0")
        self.places, self.owners, self.lines, self.undecided = (f.variable(f"[{8 * EIGHT} x i8]", "") for _ in range(4))

    def push(self, bits: Value, place: Value, owner: Value) -> None:
        """Append a line, if it has a spike; where there are eight, draw."""
        f = self.f
        with f.when(bits):
            number = f.load("i64", self.waiting, 8)
            for value, entries in ((bits, self.lines), (place, self.places), (owner, self.owners)):
                f.store(value, f.at(entries, number, 8), 8)
            f.store(number + 1, self.waiting, 8)
            with f.when(f.flag("eq", number, EIGHT - 1)):
                self._draw()

    def flush(self) -> None:
        """Draw for what is left."""
        with self.f.when(self.f.load("i64", self.waiting, 8)):
            self._draw()

    def _draw(self) -> None:
        f, record = self.f, self.record
        f.call("lose_eight", record, self.places, f.constant(self.digit), self.lines, self.undecided)
        with f.loop(0, f.load("i64", self.waiting, 8)) as i:
            place, owner, undecided = (
                f.load("i64", f.at(entries, i, 8), 8) for entries in (self.places, self.owners, self.undecided)
            )
            if self.later is not None:
                self.later.push(undecided, place, owner)
            else:
                with f.when(undecided):
                    f.call("settle_bits", record, place, f.at(self.lines, i, 8), undecided)
            self.sent(owner, f.load("i64", f.at(self.lines, i, 8), 8))
        f.store(f.constant(0), self.waiting, 8)


def lose() -> str:
    """Clear those bytes of a line of 64 images that a place of a record loses; needs `settle`."""
    f = Function("lose", internal=True, record="ptr", place="i64", line="ptr")
    record, place, line = f.arguments.values()
    found = _drawn(f, record, place, f.constant(0))
    _cleared(f, record, place, line, found, f.variable(BYTES, ""))
    return f.text()


def lose_eight() -> str:
    """Clear those of eight lines, a bit for each of 64 images, that eight places of a record lose by a digit.

    Those that it leaves ``undecided``, if there is another, are cleared too. With `_settle_bits`, which decides them.
    """
    f = Function("lose_eight", internal=True, record="ptr", places="ptr", digit="i64", lines="ptr", undecided="ptr")
    record, places, digit, lines, undecided = f.arguments.values()
    place, nothing = f.load(WORD8, places, 64), f.zero(WORD8)
    stream, one = f.splat(field(f, record, "stream"), EIGHT), f.splat(f.constant(1), EIGHT)
    counter = (place + one, f.splat(digit, EIGHT), nothing, stream)
    more = f.constant(0) - f.flag("slt", digit + 1, field(f, record, "digits"))

    def of_groups(*groups: int) -> list[list[Value]]:
        keys = [f.at(record, KEYS + 2 * ROUNDS * group, 8) for group in groups]
        return [_turned(f, words) for words in _philox_eight(f, counter, digit, keys)]

    def decided(number: Value | int, found: Value) -> None:
        line = f.at(lines, number, 8)
        before = f.load("i64", line, 8)
        above, equal = _bits(f, record, digit, found)
        f.store(before & above, line, 8)
        f.store(before & equal & more, f.at(undecided, number, 8), 8)

    blocks = of_groups(0, 1)  # side by side: one alone waits for its own products
    offset = field(f, record, "offset")
    with f.when(f.flag("eq", offset, 0)):
        for place_of, (one_block, other) in enumerate(zip(*blocks, strict=True)):
            decided(place_of, f.cast("bitcast", f.shuffle(one_block, other, list(range(8))), BYTES))
    with f.when(offset):
        drawn = f.variable(f"[{EIGHT * TOGETHER * GROUPS} x i8]", "")

        def put(group: int, found: list[Value]) -> None:
            for number, block in enumerate(found):
                f.store(block, f.at(drawn, TOGETHER * (GROUPS * number + group)), 32)

        for group, found in enumerate(blocks):
            put(group, found)
        with f.when(f.flag("eq", field(f, record, "groups"), GROUPS)):
            put(GROUPS - 1, *of_groups(GROUPS - 1))
        with f.loop(0, f.constant(EIGHT)) as number:
            decided(number, f.load(BYTES, f.at(f.at(drawn, number, TOGETHER * GROUPS), offset), 1))
    return _settle_bits() + f.text()


def _settle_bits() -> str:
    """Set those of a line again that two digits left undecided, and that are not lost in the end."""
    f = Function("settle_bits", internal=True, record="ptr", place="i64", line="ptr", undecided="i64")
    record, place, line, undecided = f.arguments.values()
    left = f.variable("i64", "0")
    f.store(undecided, left, 8)
    with f.loop(2, field(f, record, "digits")) as digit, f.when(f.load("i64", left, 8)):
        above, equal = _bits(f, record, digit, _drawn(f, record, place, digit))
        still = f.load("i64", left, 8)
        f.store(f.binary("or", f.load("i64", line, 8), still & above), line, 8)
        f.store(still & equal, left, 8)
    return f.text()


def settle() -> str:
    """Set those bytes of a line again that are undecided after the first digit, and are not lost in the end.

    A second digit is only drawn where the first one is that of the limit, and so on: once for 256 bytes that are not clear.
    """
    f = Function("settle", internal=True, record="ptr", place="i64", line="ptr", undecided="ptr")
    record, place, line, undecided = f.arguments.values()
    with f.loop(1, field(f, record, "digits")) as digit, f.when(_any(f, undecided)):
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
        f.call("settle", record, place, line, undecided)


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


def _bits(f: Function, record: Value, digit: Value, found: Value) -> tuple[Value, Value]:
    """Where a digit is above the limit's, and where it is equal to it: a bit for each of 64 images."""
    above, equal = (f.cast("bitcast", each, "i64") for each in _flags(f, record, digit, found))
    return above, equal


def _compared(f: Function, record: Value, digit: Value, found: Value) -> tuple[Value, Value]:
    """The same as ones or 0, 64 lanes."""
    above, equal = (f.cast("sext", each, BYTES) for each in _flags(f, record, digit, found))
    return above, equal


def _flags(f: Function, record: Value, digit: Value, found: Value) -> list[Value]:
    limit = f.load("i64", f.at(f.at(record, LIMIT, 8), digit, 8), 8)
    bound = f.splat(f.cast("trunc", limit, "i8"), LANES)
    return [f.compare(how, found, bound) for how in ("ugt", "eq")]


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


def _philox_eight(f: Function, counter: tuple[Value, ...], digit: Value, keys: list[Value]) -> list[list[Value]]:
    """The words of eight counters, lane by lane, for some groups of images, whose first keys are the same.

    A counter's third word is 0, so that the first word of the second round is the same in all: its ``digit`` with the key.
    """

    def splat(value: Value) -> Value:
        return f.splat(value, EIGHT)

    first, *middle = range(ROUNDS)
    found = []
    alike = _product(f, digit ^ f.load("i64", keys[0], 8), MULTIPLIERS[0])
    for key in keys:
        own = [splat(f.load("i64", f.at(key, first + i, 8), 8)) for i in range(2)]
        lower, upper = _products(f, counter[0], MULTIPLIERS[0])
        found.append([counter[1] ^ own[0], f.zero(WORD8), upper ^ counter[3] ^ own[1], lower])
    for number in middle:
        for group, words in enumerate(found):
            own = [splat(f.load("i64", f.at(keys[group], 2 * number + i, 8), 8)) for i in range(2)]
            low, high = _products(f, words[0], MULTIPLIERS[0]) if number > 1 else (splat(alike[0]), splat(alike[1]))
            other_low, other_high = _products(f, words[2], MULTIPLIERS[1])
            found[group] = [other_high ^ words[1] ^ own[0], other_low, high ^ words[3] ^ own[1], low]
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
