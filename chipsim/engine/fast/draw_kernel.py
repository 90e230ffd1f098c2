"""The kernels that draw which spikes are sent: `chipsim.faults.draws.lost` in machine code, 64 images at a time, a bit each.

The images of a line are 64 in a row, which share all blocks, or the end of one such group and the beginning of the next.
What the first digit leaves undecided takes the second one, for which the lines of four places share a block.
"""

from __future__ import annotations

from chipsim.engine.fast import philox_kernel
from chipsim.engine.fast.instructions import BITS
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES
from chipsim.engine.fast.philox_kernel import ROUNDS
from chipsim.faults.draws import FIRST, SHARING, TURN

#: fields of a record of what is drawn, uint64: ``digits`` of the limit that have to be compared (0: nothing is lost); the
#: ``group`` that a line begins in, and its place there; places in a step
RECORD = ("digits", "group", "offset", "places")
#: words of a record at which these begin: the limit's digits, of which the first has a word of ones or zeros for each bit;
#: the keys of the rounds; the counter of the block of a later digit that was made last, and that block
LIMIT, KEYS = len(RECORD), 16
LAST = KEYS + 2 * ROUNDS
SIZE = LAST + 8

#: lines that are drawn for together, at most
LINES = 256
DEPOSIT = "declare i64 @llvm.x86.bmi.pdep.64(i64, i64)"
TURNS = "\n".join(f"declare i64 @llvm.{name}.i64(i64, i64, i64)" for name in ("fshl", "fshr"))


def draw(lookup: str | None) -> str:
    """Mark what is sent: lines of `LANES` bytes, one for each place of a record from 0 on, all ones where it is sent."""
    f = Function("draw", record="ptr", count="i64", out="ptr")
    record, count, out = f.arguments.values()
    lines, places = (f.variable(f"[{8 * LINES} x i8]", "") for _ in range(2))
    drawn = field(f, record, "digits")
    with f.loop(0, count, LINES) as first:
        many = f.smallest(count - first, f.constant(LINES))
        with f.loop(0, f.constant(LINES)) as i:
            f.store(first + i, f.at(places, i, 8), 8)
            f.store(f.mask(f.flag("slt", i, many)), f.at(lines, i, 8), 8)
        with f.when(drawn):
            f.call("lose_lines", record, places, lines, many)
        with f.loop(0, many) as i:
            f.store(as_bytes(f, f.load("i64", f.at(lines, i, 8), 8), "sext"), f.at(out, first + i, LANES), 64)
    return lose_lines(lookup) + f.text()


def as_bytes(f: Function, bits: Value, how: str) -> Value:
    """A bit for each of 64 images as bytes: 1 (``zext``) or all ones (``sext``) where it is set."""
    return f.cast(how, f.cast("bitcast", bits, f"<{LANES} x i1>"), BYTES)


def field(f: Function, record: Value, name: str) -> Value:
    """A field of a record."""
    return f.load("i64", f.at(record, RECORD.index(name), 8), 8)


def _lose() -> str:
    """Write ``lose``, and what it calls: clear those spikes of a line that a place of a record loses."""
    f = Function("lose", internal=True, record="ptr", place="i64", line="ptr")
    record, place, line = f.arguments.values()
    kept, nothing, offset = f.variable("i64", "0"), f.constant(0), field(f, record, "offset")
    turned, begun = _turned(f, "fshl", f.load("i64", line, 8), offset), f.constant(-1) << offset
    with f.loop(0, f.constant(2)) as part:
        spikes = turned & (begun ^ f.mask(part))  # those in the first group, or in the next
        with f.when(spikes):
            group = field(f, record, "group") + part
            words = philox_kernel.one(f, (place + 1, nothing, nothing, group), f.at(record, KEYS, 8))
            above, equal = _compared(f, record, words)
            f.store(f.load("i64", kept, 8) | (spikes & above), kept, 8)
            with f.when(spikes & equal):
                f.call("settle", record, place, group, spikes, equal, kept)
    f.store(_turned(f, "fshr", f.load("i64", kept, 8), offset), line, 8)
    return "\n".join([TURNS, _settle(), _look(), f.text()])


def lose_lines(lookup: str | None) -> str:
    """Write ``lose_lines``, and what it calls: clear what is lost of a list of at most `LINES` lines and their places."""
    f = Function("lose_lines", internal=True, record="ptr", places="ptr", lines="ptr", count="i64")
    record, places, lines, count = f.arguments.values()
    if lookup not in BITS:
        with f.loop(0, count) as i:
            f.call("lose", record, f.load("i64", f.at(places, i, 8), 8), f.at(lines, i, 8))
        return _lose() + f.text()
    offset, group = field(f, record, "offset"), field(f, record, "group")
    with f.when(f.flag("eq", offset, 0)):
        f.call("lose_together", record, group, places, lines, count)
    with f.when(offset):
        own = [f.variable(f"[{8 * LINES} x i8]", "") for _ in range(2)]  # of each group
        begun = f.constant(-1) << offset
        with f.loop(0, count) as i:
            turned = _turned(f, "fshl", f.load("i64", f.at(lines, i, 8), 8), offset)
            for part, mask in zip(own, (begun, begun ^ -1), strict=True):
                f.store(turned & mask, f.at(part, i, 8), 8)
        for number, part in enumerate(own):
            f.call("lose_together", record, group + number, places, part, count)
        with f.loop(0, count) as i:
            one, other = (f.load("i64", f.at(part, i, 8), 8) for part in own)
            f.store(_turned(f, "fshr", one | other, offset), f.at(lines, i, 8), 8)
    return "\n".join([TURNS, DEPOSIT, _settle(), _look(), _lose_together(BITS[lookup] // 4), f.text()])


def _turned(f: Function, how: str, bits: Value, by: Value) -> Value:
    """Bits turned to the left (``fshl``) or to the right (``fshr``)."""
    return f.emit("i64", f"call i64 @llvm.{how}.i64(i64 {bits.name}, i64 {bits.name}, i64 {by.name})")


def _compared(f: Function, record: Value, words: list[Value]) -> tuple[Value, Value]:
    """Images whose first digit, a bit in each word, is above the limit's; and where it is equal, if another follows."""

    def in_lanes(value: Value) -> Value:
        return value if words[0].type == value.type else f.splat(value, words[0].lanes)

    above, equal = in_lanes(f.constant(0)), in_lanes(f.constant(-1))
    for number, word in enumerate(words):
        limit = in_lanes(f.load("i64", f.at(record, LIMIT + number, 8), 8))
        above |= equal & word & (limit ^ -1)
        equal &= word ^ limit ^ -1
    return above, equal & in_lanes(f.mask(f.flag("sgt", field(f, record, "digits"), 1)))


def _lose_together(side: int) -> str:
    """Clear what is lost of lines of one group of images, drawing for some lines or blocks ``side`` by side."""
    f = Function("lose_together", True, record="ptr", group="i64", places="ptr", lines="ptr", count="i64")
    together = _Together(f, side)
    together.collect()
    together.first_digit()
    together.list_blocks()
    together.second_digit()
    together.decide()
    return f.text()


class _Together:
    """The steps of ``lose_together``, and what they hand on: arrays with an entry for each line."""

    def __init__(self, f: Function, side: int) -> None:
        self.f, self.side, self.kind = f, side, f"<{side} x i64>"
        self.record, self.group, self.given_places, self.given, self.all = f.arguments.values()
        # lines that have spikes, their places, and which of the given ones they are
        entries = LINES + side
        self.lines, self.places, self.number = (f.variable(f"[{8 * entries} x i8]", "") for _ in range(3))
        self.many = f.variable("i64", "0")
        # spikes that the first digit keeps; images in which it is the limit's; where the masks are
        self.kept, self.equal, self.index = (f.variable(f"[{8 * LINES} x i8]", "") for _ in range(3))
        self.blocks, self.listed = f.variable(f"[{8 * LINES} x i8]", ""), f.variable("i64", "0")
        # of the words of each block, after one that is none: a bit for each byte that is above the limit's, or the same
        self.masks = {how: f.at(f.variable(f"[{SHARING * LINES + 64} x i8]", ""), 64 - SHARING) for how in ("ugt", "eq")}

    def collect(self) -> None:
        """Collect the lines that have spikes."""
        f = self.f
        with f.loop(0, self.all) as i:
            many, line = f.load("i64", self.many, 8), f.load("i64", f.at(self.given, i, 8), 8)
            f.store(line, f.at(self.lines, many, 8), 8)
            f.store(f.load("i64", f.at(self.given_places, i, 8), 8), f.at(self.places, many, 8), 8)
            f.store(i, f.at(self.number, many, 8), 8)
            f.store(many + f.flag("ne", line, 0), self.many, 8)
        self.count = f.load("i64", self.many, 8)

    def first_digit(self) -> None:
        """Draw the first digit of all lines."""
        f = self.f
        with f.loop(0, self.count, self.side) as i:
            above, same = _compared(f, self.record, self._drawn(f.load(self.kind, f.at(self.places, i, 8), 64), 0))
            f.store(f.load(self.kind, f.at(self.lines, i, 8), 64) & above, f.at(self.kept, i, 8), 64)
            f.store(same, f.at(self.equal, i, 8), 64)

    def list_blocks(self) -> None:
        """List the blocks of the second digit that have to be made: once, where lines in a row share one."""
        f, newest = self.f, self.f.variable("i64", "-1")
        with f.loop(0, self.count) as i:
            place = f.load("i64", f.at(self.places, i, 8), 8)
            before, many = f.load("i64", newest, 8), f.load("i64", self.listed, 8)
            block = place >> SHARING.bit_length() - 1
            waits = f.flag("ne", f.load("i64", f.at(self.lines, i, 8), 8) & f.load("i64", f.at(self.equal, i, 8), 8), 0)
            other = waits & f.flag("ne", block, before)
            f.store(block, f.at(self.blocks, many, 8), 8)
            f.store(before ^ ((before ^ block) & f.mask(other)), newest, 8)
            f.store(many + other, self.listed, 8)
            f.store((many + other) * SHARING + (place & (SHARING - 1)), f.at(self.index, i, 8), 8)

    def second_digit(self) -> None:
        """Draw the second digit, and compare it."""
        f, side = self.f, self.side
        limit = f.splat(f.cast("trunc", f.load("i64", f.at(self.record, LIMIT + FIRST, 8), 8), "i8"), 8 * side)
        with f.loop(0, f.load("i64", self.listed, 8), side) as i:
            words = self._drawn(f.load(self.kind, f.at(self.blocks, i, 8), 64), 1)
            found = [f.cast("bitcast", word, limit.type) for word in words]
            for how, masks in self.masks.items():
                bits = [f.cast("bitcast", f.compare(how, each, limit), f"<{side} x i8>") for each in found]
                one, other = (f.shuffle(bits[two], bits[two + 1], list(range(2 * side))) for two in (0, 2))
                of_blocks = f.shuffle(one, other, [side * word + block for block in range(side) for word in range(SHARING)])
                f.store(of_blocks, f.at(f.at(masks, SHARING), i, SHARING), SHARING)

    def decide(self) -> None:
        """Clear what is lost; what is still undecided, or takes another turn at the second digit, is settled by itself."""
        f, left = self.f, self.f.variable("i64", "0")
        more = f.mask(f.flag("sgt", field(f, self.record, "digits"), 2))
        with f.loop(0, self.count) as i:
            line = f.at(self.given, f.load("i64", f.at(self.number, i, 8), 8), 8)
            spikes, kept, equal, index = (
                f.load("i64", f.at(array, i, 8), 8) for array in (self.lines, self.kept, self.equal, self.index)
            )
            above, same = (
                _deposited(f, f.cast("zext", f.load("i8", f.at(masks, index), 1), "i64"), equal)
                for masks in self.masks.values()
            )
            late = equal ^ _deposited(f, f.constant((1 << TURN) - 1), equal)
            f.store(kept | (spikes & above), line, 8)
            with f.when(spikes & ((same & more) | late)):
                f.store(kept, left, 8)
                place = f.load("i64", f.at(self.places, i, 8), 8)
                f.call("settle", self.record, place, self.group, spikes, equal, left)
                f.store(f.load("i64", left, 8), line, 8)

    def _drawn(self, numbers: Value, digit: int) -> list[Value]:
        """The four words of blocks of a digit, of places or of some that share a block."""
        f = self.f
        group, keys = f.splat(self.group, self.side), f.at(self.record, KEYS, 8)
        return philox_kernel.many(f, numbers + 1, f.constant(digit), group, keys)


def _deposited(f: Function, bits: Value, places: Value) -> Value:
    """The lowest bits, each where the next bit of others is set."""
    return f.emit("i64", f"call i64 @llvm.x86.bmi.pdep.64(i64 {bits.name}, i64 {places.name})")


def _settle() -> str:
    """Decide what the first digit leaves undecided, digit by digit: a spike that is not lost is set in ``kept``."""
    f = Function("settle", True, record="ptr", place="i64", group="i64", spikes="i64", equal="i64", kept="ptr")
    record, place, group, spikes, equal, kept = f.arguments.values()
    left, above = f.variable("i64", equal.name), f.variable("i64", "0")
    with f.loop(1, field(f, record, "digits")) as digit, f.when(f.load("i64", left, 8) & spikes):
        images = f.load("i64", left, 8)
        f.call("look", record, place, digit, group, images, images & spikes, above, left)
        f.store(f.load("i64", kept, 8) | f.load("i64", above, 8), kept, 8)
        # of all images, also those without a spike: they take turns at the next digit
        with f.when(f.load("i64", left, 8)), f.when(f.flag("slt", digit + 1, field(f, record, "digits"))):
            f.call("look", record, place, digit, group, images, images, above, left)
    return f.text()


def _look() -> str:
    """Compare a later digit of ``some`` of the ``images`` whose digits so far are the limit's: above it, or the same."""
    names = ("images", "some")
    given = {"record": "ptr", "place": "i64", "digit": "i64", "group": "i64", **dict.fromkeys(names, "i64")}
    f = Function("look", True, **given, above="ptr", same="ptr")
    record, place, digit, group, images, some, above, same = f.arguments.values()
    block, word = place >> SHARING.bit_length() - 1, place & (SHARING - 1)
    limit = f.load("i64", f.at(f.at(record, LIMIT + FIRST - 1, 8), digit, 8), 8)
    left = f.variable("i64", some.name)
    for found in (above, same):
        f.store(f.constant(0), found, 8)
    with f.loop(0, f.ones(some)):
        rest = f.load("i64", left, 8)
        image = rest & (f.constant(0) - rest)
        f.store(rest ^ image, left, 8)
        rank = f.ones(images & (image - 1))
        counter = (block + 1, digit, rank >> TURN.bit_length() - 1, group)
        made = [f.at(record, LAST + i, 8) for i in range(4)]
        other = [f.load("i64", place_of, 8) ^ word_of for place_of, word_of in zip(made, counter, strict=True)]
        held = f.at(record, LAST + 4, 8)
        with f.when(other[0] | other[1] | other[2] | other[3]):
            for number, value in enumerate(philox_kernel.one(f, counter, f.at(record, KEYS, 8))):
                f.store(value, f.at(held, number, 8), 8)
            for place_of, word_of in zip(made, counter, strict=True):
                f.store(word_of, place_of, 8)
        byte = f.load("i8", f.at(held, word * 8 + (rank & (TURN - 1))), 1)
        drawn = f.cast("zext", byte, "i64")
        for how, found in (("ugt", above), ("eq", same)):
            mine = image & f.mask(f.flag(how, drawn, limit))
            f.store(f.load("i64", found, 8) | mine, found, 8)
    return f.text()
