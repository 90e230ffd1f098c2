"""The kernels that every mapping shares: cores from latch to fire, the encoder's levels, the counters.

Everything is done for 64 images at a time: a row of any table has 64 lanes, one per image. The tables are those of
`chipsim.engine.fast.tables`, by the names that stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from chipsim.engine.fast import (
    arrive_kernel,
    counting_kernel,
    dot_kernel,
    draw_kernel,
    fire_kernel,
    lookup_kernel,
    plane_kernel,
    product_kernel,
    stepping,
)
from chipsim.engine.fast.instructions import MASKS, TILES
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import (
    ARRIVAL,
    BYTES,
    CALLED,
    CONTEXT,
    CORE,
    KEPT,
    LANES,
    transposed,
)
from chipsim.engine.fast.plan import STRIDE
from chipsim.engine.fast.tile_kernel import CONFIGURING, configured

DECLARED = (
    "declare i64 @llvm.smin.i64(i64, i64)",
    "declare <64 x i8> @llvm.umax.v64i8(<64 x i8>, <64 x i8>)",
    "declare i16 @llvm.vector.reduce.add.v64i16(<64 x i16>)",
    "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
    "declare i64 @llvm.ctpop.i64(i64)",
    "declare i64 @llvm.cttz.i64(i64, i1)",
)


def text(name: str, lookup: str | None) -> str:
    """Return a kernel as LLVM IR; ``lookup`` is the instruction that looks up bytes, if there is one.

    Each is compiled by itself, when it is first wanted: a mapping needs about ten of them.
    """
    return "\n".join([*DECLARED, "", _writers(lookup)[name]()])


def _run(lookup: str | None) -> str:
    """Cores begin .. end: latch their rows, integrate, fire or read out, and count by image where asked for.

    A core does one step after another, ``steps`` of them, each with a context of its own: its program and its potentials
    stay near the processor. Cores that share code of their own are added up some at a time, where there is one step. Rows
    are taken from ``taken``: the values, or where some is lost on the way what arrives at the core.
    """
    f = Function("run", contexts="ptr", begin="i64", end="i64", steps="i64")
    if lookup not in TILES:
        _run_cores(f, lookup)
        return f.text()
    with configured(f):
        _run_cores(f, lookup)
    return "\n".join([*CONFIGURING, f.text()])


def _run_cores(f: Function, lookup: str | None) -> None:
    a = f.arguments
    single = f.flag("eq", a["steps"], 1)
    start, ready = f.variable("i64", "0"), f.variable("i64", "0")  # cores that are added up: start .. ready
    with _every(f) as (step, number):
        context = f.at(a["contexts"], step, 8 * len(CONTEXT))
        c = {name: f.load("ptr", f.at(context, i, 8), 8) for i, name in enumerate(CONTEXT)}
        kernel = {name: f.at(c["kernels"], i, 8) for i, name in enumerate(CALLED)}

        def call(name: str, *arguments: Value, kernel: dict[str, Value] = kernel) -> None:
            f.call(f.load("ptr", kernel[name], 8), *arguments)

        noisy, losing = (f.cast("ptrtoint", c[name], "i64") for name in ("sent", "places"))
        quiet = f.flag("eq", noisy, 0) & f.flag("eq", losing, 0)
        kept = tuple(c[name] for name in KEPT)
        record = f.at(c["cores"], number, 8 * len(CORE))
        core = {name: f.load("i64", f.at(record, i, 8), 8) for i, name in enumerate(CORE)}
        taken = f.at(c["row_offset"], core["row"], 4)
        with f.when(core["bundled"]):
            call("bundle", f.at(c["lists"], core["bundled"], 4), c["values"])
        with f.when(f.cast("ptrtoint", c["arrivals"], "i64")):
            arrival = f.at(c["arrivals"], number, 8 * len(ARRIVAL))
            names = ("entries", "drawing", "step", "values", "mask", "taken", "latched", "counted", "arrived")
            call("arrive", arrival, *(c[name] for name in names), core["rows"])
        with f.when(f.flag("sge", number, f.load("i64", ready, 8))):
            together = (f.smallest(core["together"], a["end"] - number) - 1) * single + 1
            f.store(number, start, 8)
            f.store((number + together) * single, ready, 8)  # of several steps each core is added up by itself
            with f.when(core["code"]):
                f.call(f.cast("inttoptr", core["code"], "ptr"), c["taken"], taken, together, c["accumulators"])
        first = core["base"] + (number - f.load("i64", start, 8)) * core["accumulators"]
        dense = f.flag("ne", core["lookup"], 0) & f.flag("ne", core["unit"], 0)
        if lookup:
            with f.when(dense):
                packed = f.at(c["row_offset"], core["pack"], 4)
                call("pack", f.at(c["lists"], core["lookup"], 4), c["taken"], packed, f.at(c["rows"], 1, LANES))
        with f.when(core["maximum"]):
            given_rows = (f.at(c["lists"], core["maximum"], 4), c["values"], taken)
            fired = (f.at(c["fires"], core["fire"], 16), core["fires"], c["values"], c["mask"], c["totals"], c["thresholds"])
            call("maximum", *given_rows, *fired)
        with f.when(core["list"]), f.loop(0, core["rows"]) as r:  # a list goes over its rows many times
            f.store(f.load(BYTES, f.at(c["taken"], f.index(taken, r)), 64), f.at(c["rows"], r + 1, LANES), 64)
        _fetch(f, c, number + 1, a["end"])
        fires = f.at(c["fires"], core["fire"], 16)
        for bits, kind in ((16, "narrow"), (32, "wide")):
            with f.when(core[kind]):
                accumulators = f.at(c["accumulators"], first, LANES * bits // 8)
                if lookup:
                    with f.when(dense):
                        program, tables = f.at(c["lists"], core["lookup"], 4), f.at(c["tables"], core["tables"])
                        packed = f.at(c["rows"], 1, LANES)  # row 0 is the lists' zeros
                        call(f"dense{bits}", program, tables, packed, accumulators, core["accumulators"])
                with f.when(core["list"]):
                    program = f.at(c["lists"], core["list"], 4)
                    call(f"list{bits}", program, c["rows"], accumulators, core["accumulators"])
                with f.when(core["change"]):
                    program = f.at(c["lists"], core["change"], 4)
                    more = f.at(accumulators, core["accumulators"], LANES * bits // 8)
                    call(f"change{bits}", program, c["latched"], accumulators, more)
                with f.when(core["spiking"]):
                    place = (accumulators, c["values"], c["mask"], c["totals"])
                    short = core["short"] if bits == 32 and lookup in TILES else f.constant(0)
                    for name, mine in ((f"fire{bits}", 0), ("fire_short", 1)):
                        with f.when(quiet & f.flag("eq", short, mine)):
                            call(name, fires, core["fires"], *place, c["thresholds"])
                    with f.when(noisy):
                        call(f"fire_sent{bits}", fires, core["fires"], *place, c["thresholds"], c["sent"])
                    with f.when(losing):
                        call(f"fire_lost{bits}", fires, core["fires"], *place, c["thresholds"], c["drawing"], c["places"])
                with f.when(core["readout"]):
                    call(f"read{bits}", fires, core["fires"], accumulators, c["potentials"])
                with f.when(core["stepping"]):
                    given = (record, accumulators, c["values"], c["mask"], c["totals"], c["thresholds"])
                    call(f"step{bits}", fires, core["fires"], *given, c["sent"], *kept)
                with f.when(core["holding"]):
                    call(f"hold{bits}", fires, core["fires"], record, accumulators, c["potentials"], *kept)
        with f.when(f.cast("ptrtoint", c["core_spikes"], "i64")):
            spikes, sops = (f.at(c[name], core["core"], 4 * LANES) for name in ("core_spikes", "core_sops"))
            with f.when(core["spiking"] + core["stepping"]):
                call("count_runs", c["spike_runs"], number, c["values"], spikes, c["no_counts"])
            rest, of_events, quads, row = (f.load("i64", f.at(f.at(c["row_counts"], number, 32), i, 8), 8) for i in range(4))
            events = f.at(c["core_events"], row, 4 * LANES)
            call("count_runs", c["row_runs"], number, c["counted"], sops, events)
            for weights, out in ((rest, sops), (of_events, events)):
                with f.when(weights):
                    call("count_quads", f.at(c["rows"], 1, LANES), f.cast("inttoptr", weights, "ptr"), quads, out)


@contextmanager
def _every(f: Function) -> Iterator[tuple[Value, Value]]:
    """Go over units, of each over all steps, and in a step over its members: what is packed and added up is theirs."""
    a = f.arguments
    cores = f.load("ptr", f.at(a["contexts"], CONTEXT.index("cores"), 8), 8)
    with f.loop(a["begin"], a["end"]) as lead:
        unit = f.load("i64", f.at(f.at(cores, lead, 8 * len(CORE)), CORE.index("unit"), 8), 8)
        with f.loop(0, a["steps"] * f.flag("ne", unit, 0)) as step, f.loop(lead, lead + unit) as number:
            yield step, number


def _fetch(f: Function, c: dict[str, Value], number: Value, end: Value) -> None:
    """Bring the rows of the next core near, if it packs them: they lie scattered, and seldom in a near cache."""
    with f.when(f.flag("slt", number, end)):
        record = f.at(c["cores"], number, 8 * len(CORE))
        fields = ("pack", "packed", "lookup", "unit")
        row, rows, lookup, unit = (f.load("i64", f.at(record, CORE.index(name), 8), 8) for name in fields)
        taken = f.at(c["row_offset"], row, 4)
        with f.when(f.flag("ne", lookup, 0) & f.flag("ne", unit, 0)), f.loop(0, rows) as r:
            f.prefetch(f.at(c["taken"], f.index(taken, r)))


def _bundle() -> str:
    """Add up the parts of bundles: see `tables`."""
    f = Function("bundle", program="ptr", values="ptr")
    a = f.arguments
    cursor = f.variable("i64", "1")
    with f.loop(0, f.index(a["program"], 0)):
        at = f.load("i64", cursor, 8)
        out, count = (f.index(a["program"], at + i) for i in range(2))
        total, end = f.variable(BYTES, "zeroinitializer"), at + 2 + count
        with f.loop(at + 2, end) as i:
            f.add_to(total, f.load(BYTES, f.at(a["values"], f.index(a["program"], i)), 64))
        f.store(f.load(BYTES, total, 64), f.at(a["values"], out), 64)
        f.store(end, cursor, 8)
    return f.text()


def _list(bits: int) -> str:
    """Walk the program of `plan.lists`."""
    f = Function(f"list{bits}", program="ptr", rows="ptr", accumulators="ptr", count="i64")
    a = f.arguments
    wide = f"<64 x i{bits}>"
    size = LANES * bits // 8
    with f.loop(0, a["count"]) as j:
        f.store(f.zero(wide), f.at(a["accumulators"], j, size), 64)
    _walk(f, a["program"], a["rows"], a["accumulators"], bits)
    return f.text()


def _change(bits: int) -> str:
    """Neurons whose weights differ from those of the shared matrix: its accumulators, and a list of the differences.

    The program: how many neurons there are, the accumulator of each, and a program of `plan`.
    """
    f = Function(f"change{bits}", program="ptr", rows="ptr", shared="ptr", accumulators="ptr")
    a = f.arguments
    kind, size = f"<64 x i{bits}>", LANES * bits // 8
    neurons = f.index(a["program"], 0)
    with f.loop(0, neurons) as n:
        taken = f.load(kind, f.at(a["shared"], f.index(a["program"], n + 1), size), 64)
        f.store(taken, f.at(a["accumulators"], n, size), 64)
    _walk(f, f.at(a["program"], neurons + 1, 4), a["rows"], a["accumulators"], bits)
    return f.text()


def _walk(f: Function, program: Value, rows: Value, accumulators: Value, bits: int) -> None:
    """Add up the rows of a program of `plan.lists`."""
    wide, size = f"<64 x i{bits}>", LANES * bits // 8
    cursor = f.variable("i64", "1")
    with f.loop(0, f.index(program, 0)):
        at = f.load("i64", cursor, 8)
        adds, subs, accumulator, factor = (f.index(program, at + i) for i in range(4))
        total = f.variable(BYTES, "zeroinitializer")
        middle = at + 4 + adds * STRIDE
        end = middle + subs * STRIDE
        for start, stop, sign in ((at + 4, middle, 1), (middle, end, -1)):
            with f.loop(start, stop, STRIDE) as i:
                taken = [f.load(BYTES, f.at(rows, f.index(program, i + s)), 64) for s in range(STRIDE)]
                part = (taken[0] + taken[1]) + (taken[2] + taken[3])
                before = f.load(BYTES, total, 64)
                f.store(before + part if sign > 0 else before - part, total, 64)
        scaled = f.cast("sext", f.load(BYTES, total, 64), wide) * f.splat(f.cast("trunc", factor, f"i{bits}"), LANES)
        f.add_to(f.at(accumulators, accumulator, size), scaled)
        f.store(end, cursor, 8)


def _encode() -> str:
    """Levels of up to 16 images (images, features) as bytes, features by images, at images 16 * group of the 64.

    A level is how many thresholds of its feature ``value ^ sign`` reaches, compared as float32. Thresholds lie level by
    level, features filled up to a multiple of 64, and so are those of ``images``.
    """
    f = Function(
        "encode", images="ptr", count="i64", features="i64", levels="i64", thresholds="ptr", signs="ptr", out="ptr"
    )  # fmt: skip
    a = f.arguments
    scratch = f.variable("[1024 x i8]", "")
    with f.loop(0, a["features"], 64) as first:
        with f.loop(0, f.constant(64), 16) as part:
            feature = first + part
            sign = f.load("<16 x i32>", f.at(a["signs"], feature, 4), 4)
            with f.loop(0, a["count"]) as image:
                place = f.at(a["images"], image * a["features"] + feature, 4)
                x = f.cast("bitcast", f.load("<16 x i32>", place, 4) ^ sign, "<16 x float>")
                level = f.variable("<16 x i32>", "zeroinitializer")
                with f.loop(0, a["levels"]) as i:
                    bound = f.load("<16 x float>", f.at(a["thresholds"], a["features"] * i + feature, 4), 4)
                    f.add_to(level, f.cast("zext", f.compare("oge", x, bound), "<16 x i32>"))
                byte = f.cast("trunc", f.load("<16 x i32>", level, 64), "<16 x i8>")
                f.store(byte, f.at(scratch, image * 64 + part), 16)
        f.call("turn", scratch, f.at(a["out"], first, LANES))
    return _turn() + f.text()


def _turn() -> str:
    """Store 16 images of 64 features, bytes, as 64 features of 16 images, ``LANES`` bytes apart."""
    f = Function("turn", internal=True, images="ptr", out="ptr")
    a = f.arguments
    lines = [f.load(BYTES, f.at(a["images"], 64 * i), 64) for i in range(16)]
    for part, line in enumerate(transposed(f, lines)):
        for lane in range(4):
            piece = f.shuffle(line, line, list(range(16 * lane, 16 * lane + 16)))
            f.store(piece, f.at(a["out"], 16 * lane + part, LANES), 16)
    return f.text()


def _lay() -> str:
    """Store 64 images of bytes, ``width`` of them, a multiple of 64, as rows of 64 images."""
    f = Function("lay", images="ptr", width="i64", out="ptr")
    a = f.arguments
    scratch = f.variable("[1024 x i8]", "")
    with f.loop(0, a["width"], LANES) as first, f.loop(0, f.constant(LANES), 16) as group:
        with f.loop(0, f.constant(16)) as image:
            line = f.at(f.at(a["images"], a["width"] * (group + image)), first)
            f.store(f.load(BYTES, line, 64), f.at(scratch, image, LANES), 64)
        f.call("turn", scratch, f.at(f.at(a["out"], first, LANES), group))
    return _turn() + f.text()


def _writers(lookup: str | None) -> dict[str, Callable[[], str]]:
    """What writes each kernel."""
    found: dict[str, Callable[[], str]] = {
        "run": lambda: _run(lookup),
        "lay": _lay,
        "bundle": _bundle,
        "maximum": fire_kernel.maximum,
        "encode": _encode,
        **{f"by_image{bits}": partial(counting_kernel.by_image, bits) for bits in (8, 16, 32)},
        "weigh": counting_kernel.weigh,
        "tally": counting_kernel.tally,
        "split": lambda: fire_kernel.fire("split", 8, masks=lookup in MASKS),
        "count_runs": counting_kernel.count_runs,
        "count_quads": lambda: product_kernel.count_quads(str(lookup)),
        **{f"dots_{name}": partial(dot_kernel.dots, lookup, name) for name in dot_kernel.NAMES},
        **{f"dots_{name}_lost": partial(dot_kernel.dots, lookup, name, losing=True) for name in dot_kernel.NAMES},
        "draw": lambda: draw_kernel.draw(lookup),
        "arrive": lambda: arrive_kernel.arrive(lookup),
        "pack": lambda: lookup_kernel.pack(lookup),
        "fire_short": lambda: fire_kernel.fire_wide("fire_short", 16, lookup),
    }
    return found | plane_kernel.kernels(lookup) | _of_width(16, lookup) | _of_width(32, lookup)


def _of_width(bits: int, lookup: str | None) -> dict[str, Callable[[], str]]:
    """What writes the kernels for accumulators of so many bits."""
    return {
        f"dense{bits}": lambda: lookup_kernel.dense(bits, lookup),
        f"list{bits}": lambda: _list(bits),
        f"change{bits}": lambda: _change(bits),
        f"fire{bits}": (
            (lambda: fire_kernel.fire_wide("fire32", 32, lookup))
            if bits == 32 and lookup in TILES
            else (lambda: fire_kernel.fire(f"fire{bits}", bits, masks=lookup in MASKS))
        ),
        f"fire_sent{bits}": lambda: fire_kernel.fire(f"fire_sent{bits}", bits, sent=True),
        f"fire_lost{bits}": lambda: fire_kernel.fire_lost(f"fire_lost{bits}", bits, lookup),
        f"read{bits}": lambda: fire_kernel.read(bits),
        f"step{bits}": lambda: stepping.step(bits),
        f"hold{bits}": lambda: stepping.hold(bits),
    }
