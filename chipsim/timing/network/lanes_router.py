"""One cycle of a router for `LANES` networks at once, as vector instructions for `lanes_kernel`.

The networks are the same mesh under traffic of their own, an image each; lane j of every vector belongs to network j. A
router reads what its neighbours granted in the cycle before (`OUT`, `POPPED`, one set for even and one for odd cycles) and
writes what it grants itself, so routers are worked off in any order.

A flit is 16 bits: y (6), x (6), `TO_HOST`, `OF_HOST`, `FLIT`; 0 is none. A FIFO's flits lie in its slots, the head in the
first. ``HIST`` has a bit for each of the last cycles in which a flit was granted its way into the FIFO: the bit that has
moved up by link_cycles enters, by link_cycles + router_cycles - 1 may be granted. ``RETURNING`` does the same for credits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from chipsim.chip.routes import EAST, LOCAL, NORTH, SOUTH, WEST

#: networks that are simulated together, and slots of each FIFO
LANES, SLOTS = 32, 4
#: fields of a flit
X, TO_HOST, OF_HOST, FLIT = 6, 1 << 12, 1 << 13, 1 << 14
X_MASK, Y_MASK = 0o7700, 0o77
#: vectors of a router. For each of its inputs `INPUT` vectors one behind the other, so that one at which nothing happens is
#: not touched: slots, flits, those that may go, `HIST`, those that have entered, most that have, sum over the cycles. For
#: each output `OUTPUT` vectors: inputs after the one served last, credits, `RETURNING`, cycles that it was blocked. By
#: parity of the cycle flits to the four neighbours, a bit for each input that was popped; what its core and its port send
INPUT, SLOT, HELD, MAY, HIST, ENTERED, PEAK, CYCLES = 10, 0, 4, 5, 6, 7, 8, 9
OUTPUT, TURN, CREDITS, RETURNING, BLOCKED = 4, 50, 51, 52, 53
OUT, POPPED, INJECTED, VECTORS = 70, 78, 80, 82
OPPOSITE = (WEST, EAST, SOUTH, NORTH)
#: inputs from which a flit goes on to a neighbour, along x first, then along y
ONWARD = {
    EAST: (WEST, LOCAL),
    WEST: (EAST, LOCAL),
    NORTH: (EAST, WEST, SOUTH, LOCAL),
    SOUTH: (EAST, WEST, NORTH, LOCAL),
}
#: result, two numbers. Bits 0 to 3 of the first: a flit goes to that neighbour; from `LIVE` on inputs that hold flits, from
#: `SPENT` on outputs whose credits are not all there, from `TO_CORE` on lanes in which a flit that is not `OF_HOST` leaves
#: to the core. Of the second: lanes in which one leaves to the host, and from `WAIT` on those in which one waits
LIVE, SPENT, TO_CORE, WAIT = 4, 9, 14, 32

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_I16, LANES)
_PAIR: Any = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]


class _Branch:
    """Values behind an instruction that may have been passed over."""

    def __init__(self, b: ir.IRBuilder) -> None:
        self.b, self.before, self.inside = b, b.block, b.block

    def merge(self, values: list[tuple[Any, Any]]) -> list[Any]:
        """Of each pair the first where it was passed over, else the second."""
        found = []
        for otherwise, value in values:
            phi = self.b.phi(value.type)
            phi.add_incoming(otherwise, self.before)
            phi.add_incoming(value, self.inside)
            found.append(phi)
        return found


class _Code:
    """Writes instructions on vectors of 16-bit lanes; masks are 0 or -1 in each lane."""

    def __init__(self, builder: ir.IRBuilder, data: Any, *, counts: bool = True) -> None:
        self.b, self.counts = builder, counts
        self.data = builder.bitcast(data, _I16.as_pointer())

    def constant(self, value: int) -> Any:
        return ir.Constant(_VECTOR, [value] * LANES)

    def splat(self, value: Any) -> Any:
        """All lanes of an int64."""
        one = self.b.insert_element(ir.Constant(_VECTOR, ir.Undefined), self.b.trunc(value, _I16), _I32(0))
        none = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
        return self.b.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), none)

    def _at(self, base: Any, vector: int) -> Any:
        index = self.b.add(base, _I64(vector * LANES))
        return self.b.bitcast(self.b.gep(self.data, [index]), _VECTOR.as_pointer())

    def load(self, base: Any, vector: int) -> Any:
        return self.b.load(self._at(base, vector), align=32)

    def store(self, value: Any, base: Any, vector: int) -> None:
        self.b.store(value, self._at(base, vector), align=32)

    def is_(self, how: str, a: Any, b: Any) -> Any:
        return self.b.sext(self.b.icmp_signed(how, a, b), _VECTOR)

    def some(self, a: Any) -> Any:
        return self.is_("!=", a, self.constant(0))

    def any_of(self, values: list[Any]) -> Any:
        found = values[0]
        for value in values[1:]:
            found = self.b.or_(found, value)
        return found

    def choose(self, mask: Any, a: Any, b: Any) -> Any:
        return self.b.select(self.b.icmp_signed("!=", mask, self.constant(0)), a, b)

    def anywhere(self, a: Any) -> Any:
        """Whether a lane is not 0."""
        whole = ir.IntType(16 * LANES)
        return self.b.icmp_signed("!=", self.b.bitcast(a, whole), whole(0))

    @contextmanager
    def only(self, condition: Any) -> Iterator[_Branch]:
        """What is written inside is executed under a condition."""
        branch = _Branch(self.b)
        with self.b.if_then(condition):
            yield branch
            branch.inside = self.b.block

    def bits(self, a: Any) -> Any:
        """A bit for each lane that is not 0, int64."""
        return self.b.zext(self.b.bitcast(self.b.icmp_signed("!=", a, self.constant(0)), ir.IntType(LANES)), _I64)


def _stepping(*, counts: bool) -> Callable[..., Any]:  # pragma: no cover
    """Write `step`, which keeps `ENTERED`, `PEAK`, `CYCLES` and `BLOCKED`, or what is the same without these."""

    def build(
        typing: Any, state: Any, own: Any, east: Any, west: Any, north: Any, south: Any, live: Any, x: Any, y: Any, now: Any,
        link: Any, router: Any, credit: Any, port: Any,
    ) -> Any:  # fmt: skip
        """One cycle of a router: its base and its neighbours', what is live, place, parity, delays, -1 with the port."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            writer = _Code(builder, data, counts=counts)
            found = _router(writer, arguments[1], tuple(arguments[2:6]), *arguments[6:])
            return context.make_tuple(builder, signature.return_type, found)

        given = (state, own, east, west, north, south, live, x, y, now, link, router, credit, port)
        return _PAIR(*given), code

    return build


def _router(  # pragma: no cover
    c: _Code, own: Any, near: tuple[Any, ...], live: Any, x: Any, y: Any, now: Any,
    link: Any, router: Any, credit: Any, port: Any,
) -> Any:  # fmt: skip
    """Write one router's cycle. Inputs and outputs at which nothing happens in any lane, two of three, are passed over."""
    b = c.b
    before = b.xor(now, _I64(1))
    delays = _Delays(c, link, router, credit)
    back = b.mul(before, _I64(4 * LANES))  # to the sets of the cycle before
    x_v, y_v = c.splat(b.shl(x, _I64(X))), c.splat(y)
    edge = c.splat(b.select(b.icmp_signed("==", x, _I64(0)), _I64(-1), _I64(0)))
    zero = c.constant(0)
    #: what asks for each output, a bit an input; which of the inputs' heads are of cores; their heads
    asking, cores, heads = [zero] * 5, zero, []
    for i in range(5):
        with c.only(_bit(b, live, i)) as branch:
            sent = c.load(b.add(near[i], back), OUT + OPPOSITE[i]) if i < LOCAL else None
            head = _take(c, own, i, sent, delays)
            asked, core = _ask(c, i, head, x_v, y_v)
            values = [(zero, head), (cores, b.or_(cores, core))]
            values += [(asking[o], b.or_(asking[o], bits)) for o, bits in asked.items()]
        head, cores, *grown = branch.merge(values)
        heads.append(head)
        for o, bits in zip(asked, grown, strict=True):
            asking[o] = bits

    own_popped = c.load(b.add(own, b.mul(before, _I64(LANES))), POPPED)
    result: Any = _I64(0)
    popped = zero
    leave = {LOCAL: zero, WEST: zero}
    for o in range(5):
        with c.only(b.or_(_bit(b, live, 5 + o), c.anywhere(asking[o]))) as branch:
            if o == LOCAL:
                returned = b.lshr(own_popped, c.constant(LOCAL))
            else:
                theirs = c.load(b.add(near[o], b.mul(before, _I64(LANES))), POPPED)
                returned = b.lshr(theirs, c.constant(OPPOSITE[o]))
            if o == WEST:  # those of the port's packets
                returned = b.or_(returned, b.and_(b.lshr(own_popped, c.constant(WEST)), edge))
            win, credits = _grant(c, own, o, asking[o], returned, delays, edge)
            gone = b.and_(win, b.and_(cores, edge) if o == WEST else cores)
            goes: Any = _I64(0)
            if o != LOCAL:
                on = b.and_(win, b.not_(edge)) if o == WEST else win
                credits = b.add(credits, c.some(on))
                out = c.any_of([b.and_(heads[i], c.some(b.and_(on, c.constant(1 << i)))) for i in ONWARD[o]])
                c.store(out, b.add(own, b.mul(now, _I64(4 * LANES))), OUT + o)
                goes = b.shl(b.zext(c.anywhere(out), _I64), _I64(o))
            c.store(credits, own, CREDITS + o * OUTPUT)
            short = b.zext(c.anywhere(b.xor(credits, c.constant(SLOTS))), _I64)
            bits = b.or_(result, b.or_(goes, b.shl(short, _I64(SPENT + o))))
            values = [(popped, b.or_(popped, win)), (result, bits), (zero, gone)]
        popped, result, leave[o] = branch.merge(values)
    c.store(popped, b.add(own, b.mul(now, _I64(LANES))), POPPED)

    waits = zero
    not_port = b.not_(c.splat(port))
    for i in range(5):
        with c.only(_bit(b, live, i)) as branch:
            waiting, holds = _leave(c, own, i, c.some(b.and_(popped, c.constant(1 << i))))
            wait = b.or_(waits, b.and_(waiting, not_port) if i == WEST else waiting)
            bits = b.or_(result, b.shl(b.zext(c.anywhere(holds), _I64), _I64(LIVE + i)))
        waits, result = branch.merge([(waits, wait), (result, bits)])
    result = b.or_(result, b.shl(c.bits(leave[LOCAL]), _I64(TO_CORE)))
    return result, b.or_(c.bits(leave[WEST]), b.shl(c.bits(waits), _I64(WAIT)))


def _bit(b: ir.IRBuilder, bits: Any, number: int) -> Any:  # pragma: no cover
    return b.trunc(b.lshr(bits, _I64(number)), ir.IntType(1))


class _Delays:  # pragma: no cover
    """The delays of the mesh in all lanes."""

    def __init__(self, c: _Code, link: Any, router: Any, credit: Any) -> None:
        b, one = c.b, c.constant(1)
        self.link = c.splat(link)
        self.due = c.splat(b.sub(b.add(link, router), _I64(1)))
        self.credit = c.splat(b.sub(credit, _I64(1)))
        self.keep, self.keep_credit = (b.sub(b.shl(one, b.add(bits, one)), one) for bits in (self.due, self.credit))
        self.entered = b.shl(one, self.link)


def _take(c: _Code, own: Any, i: int, sent: Any, delays: _Delays) -> Any:  # pragma: no cover
    """Take in what was sent to an input; return its head, where it may go."""
    b, one, zero = c.b, c.constant(1), c.constant(0)
    hist = b.shl(c.load(own, HIST + i * INPUT), one)
    flit = come = zero
    if sent is not None:
        flit, come = sent, c.some(sent)
        hist = b.sub(hist, come)
    if i in (WEST, LOCAL):
        place = INJECTED + (i == LOCAL)
        mine = c.load(own, place)
        c.store(zero, own, place)
        there = c.some(mine)
        flit, come = b.or_(flit, mine), b.or_(come, there)
        hist = b.or_(hist, b.and_(there, delays.entered))
    hist = b.and_(hist, delays.keep)
    c.store(hist, own, HIST + i * INPUT)
    count = c.load(own, HELD + i * INPUT)
    slots = [b.or_(c.load(own, SLOT + i * INPUT + k), b.and_(flit, c.is_("==", count, c.constant(k)))) for k in range(SLOTS)]
    for k, slot in enumerate(slots):
        c.store(slot, own, SLOT + i * INPUT + k)
    c.store(b.sub(count, come), own, HELD + i * INPUT)
    may = b.add(c.load(own, MAY + i * INPUT), b.lshr(hist, delays.due))
    c.store(may, own, MAY + i * INPUT)
    if c.counts:
        inside = b.add(c.load(own, ENTERED + i * INPUT), b.and_(b.lshr(hist, delays.link), one))
        c.store(inside, own, ENTERED + i * INPUT)
        peak = c.load(own, PEAK + i * INPUT)
        c.store(b.select(b.icmp_signed(">", inside, peak), inside, peak), own, PEAK + i * INPUT)
        c.store(b.add(c.load(own, CYCLES + i * INPUT), inside), own, CYCLES + i * INPUT)
    return b.and_(slots[0], c.is_(">", may, zero))


def _ask(c: _Code, i: int, head: Any, x: Any, y: Any) -> tuple[dict[int, Any], Any]:  # pragma: no cover
    """The outputs that a head asks for, and whether it is a core's, as the input's bit."""
    b, bit = c.b, c.constant(1 << i)
    column = there = c.some(head)
    goal_y = b.and_(head, c.constant(Y_MASK))
    ask: dict[int, Any] = {}
    if i in (EAST, WEST, LOCAL):
        goal_x = b.and_(head, c.constant(X_MASK))
        right, left = c.is_(">", goal_x, x), b.and_(there, c.is_(">", x, goal_x))
        if i != EAST:
            ask[EAST] = right
        if i != WEST:
            ask[WEST] = left
        column = b.and_(there, b.not_(b.or_(right, left)))
    south, north = c.is_(">", goal_y, y), c.is_(">", y, goal_y)
    if i != SOUTH:
        ask[SOUTH] = b.and_(column, south)
    if i != NORTH:
        ask[NORTH] = b.and_(column, north)
    here = b.and_(column, b.not_(b.or_(south, north)))
    out = b.and_(here, c.some(b.and_(head, c.constant(TO_HOST))))
    ask[LOCAL] = b.and_(here, b.not_(out))
    ask[WEST] = b.or_(ask[WEST], out) if WEST in ask else out
    core = c.is_("==", b.and_(head, c.constant(OF_HOST)), c.constant(0))
    return {o: b.and_(asked, bit) for o, asked in ask.items()}, b.and_(core, bit)


def _grant(
    c: _Code, own: Any, o: int, asking: Any, returned: Any, delays: _Delays, edge: Any
) -> tuple[Any, Any]:  # pragma: no cover
    """The input that an output serves, as a bit, and the output's credits before it does."""
    b, one, zero = c.b, c.constant(1), c.constant(0)
    returning = b.or_(b.shl(c.load(own, RETURNING + o * OUTPUT), one), b.and_(returned, one))
    returning = b.and_(returning, delays.keep_credit)
    c.store(returning, own, RETURNING + o * OUTPUT)
    credits = b.add(c.load(own, CREDITS + o * OUTPUT), b.lshr(returning, delays.credit))
    turn = c.load(own, TURN + o * OUTPUT)
    later = b.and_(asking, turn)
    those = b.or_(later, b.and_(asking, c.is_("==", later, zero)))
    win = b.and_(those, b.sub(zero, those))
    if o != LOCAL:
        free = c.is_(">", credits, zero)
        win = b.and_(win, b.or_(free, edge) if o == WEST else free)
    if c.counts:
        c.store(b.sub(c.load(own, BLOCKED + o * OUTPUT), c.is_("!=", asking, win)), own, BLOCKED + o * OUTPUT)
    c.store(c.choose(c.some(win), b.not_(b.xor(win, b.sub(win, one))), turn), own, TURN + o * OUTPUT)
    return win, credits


def _leave(c: _Code, own: Any, i: int, gone: Any) -> tuple[Any, Any]:  # pragma: no cover
    """Take out of an input what was granted; return the flits that still might go, and those that are held."""
    b = c.b
    slots = [c.load(own, SLOT + i * INPUT + k) for k in range(SLOTS)] + [c.constant(0)]
    for k in range(SLOTS):
        c.store(c.choose(gone, slots[k + 1], slots[k]), own, SLOT + i * INPUT + k)
    found = []
    for what in (MAY, HELD, ENTERED) if c.counts else (MAY, HELD):
        found.append(b.add(c.load(own, what + i * INPUT), gone))
        c.store(found[-1], own, what + i * INPUT)
    return found[0], found[1]


def _ready(
    context: Any, state: Any, base: Any, side: Any, due: Any, stalls: Any, at: Any, t: Any
) -> Any:  # pragma: no cover
    """Lanes in which a source may send in cycle t; counts a stall in those where it lacks only the credit."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, waiting, stalled = (
            context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 3, 4)
        )
        c, w, s = _Code(builder, data), _Code(builder, waiting), _Code(builder, stalled)
        b = builder
        base, side, at, t = (arguments[k] for k in (1, 2, 5, 6))
        credits = c.load(b.add(base, b.mul(side, _I64(OUTPUT * LANES))), CREDITS)
        wants = b.not_(c.is_(">", w.load(at, 0), c.splat(t)))
        free = c.is_(">", credits, c.constant(0))
        s.store(b.sub(s.load(at, 0), b.and_(wants, b.not_(free))), at, 0)
        return c.bits(b.and_(wants, free))

    return types.int64(state, base, side, due, stalls, at, t), code


step: Callable[..., Any] = intrinsic(_stepping(counts=True))
step_only: Callable[..., Any] = intrinsic(_stepping(counts=False))
ready_lanes: Callable[..., Any] = intrinsic(_ready)
