"""The kernels of neurons that keep their potentials from step to step (chipsim/mapping/dynamics.py)."""

from __future__ import annotations

from collections.abc import Callable

from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, CORE, KEPT, LANES, LONGS, WORDS, add_total, fire_record


def step(bits: int) -> str:
    """One step of neurons that keep their potentials: integrate, compare, reset (chipsim/mapping/dynamics.py).

    Each threshold has a potential of its own, in the same order. ``amount`` is what a spike subtracts, and where it sets
    the potential (``keep`` is 0, else -1) the negative of that: after a spike it is (potential & keep) - amount.
    """
    names = ("accumulators", "values", "mask", "totals", "thresholds", "sent", *KEPT)
    f = Function(f"step{bits}", False, fires="ptr", count="i64", record="ptr", **dict.fromkeys(names, "ptr"))
    a = f.arguments
    mask = f.load(BYTES, a["mask"], 64)
    noisy = f.cast("ptrtoint", a["sent"], "i64")
    keep = f.splat(f.cast("trunc", _field(f, "keep"), "i32"), LANES)
    integrate = _integrator(f, bits)
    with f.loop(0, a["count"]) as i:
        accumulator, value, first, many = fire_record(f, a["fires"], i)
        fired = f.variable(BYTES, "zeroinitializer")
        with f.loop(first, first + many) as t:
            potential = integrate(accumulator, t)
            reached = f.compare("sge", potential, _constant(f, "thresholds", t))
            after = (potential & keep) - _constant(f, "amount", t)
            left = f.emit(WORDS, f"select <64 x i1> {reached.name}, {WORDS} {after.name}, {WORDS} {potential.name}")
            f.store(left, f.at(a["state"], t, 4 * LANES), 64)
            spike = f.variable(BYTES, "")
            f.store(f.cast("zext", reached, BYTES), spike, 64)
            with f.when(noisy):  # a spike that is lost resets its neuron all the same
                f.store(f.load(BYTES, spike, 64) & f.load(BYTES, f.at(a["sent"], t, LANES), 64), spike, 64)
            f.add_to(fired, f.load(BYTES, spike, 64))
        result = f.load(BYTES, fired, 64)
        f.store(result, f.at(a["values"], value, LANES), 64)
        add_total(f, a["totals"], value, result & mask)
    return f.text()


def hold(bits: int) -> str:
    """One step of potentials that are kept and read out: record (accumulator, output, number of the potential)."""
    names = ("accumulators", "potentials", *KEPT)
    f = Function(f"hold{bits}", False, fires="ptr", count="i64", record="ptr", **dict.fromkeys(names, "ptr"))
    a = f.arguments
    integrate = _integrator(f, bits)
    with f.loop(0, a["count"]) as i:
        accumulator, output, number, _ = fire_record(f, a["fires"], i)
        potential = integrate(accumulator, number)
        f.store(potential, f.at(a["state"], number, 4 * LANES), 64)
        f.store(potential, f.at(a["potentials"], output, 4 * LANES), 64)
    return f.text()


def _integrator(f: Function, bits: int) -> Callable[[Value, Value], Value]:
    """Return what emits the potential of a neuron after a step's input, from its accumulator and its number."""
    a = f.arguments
    step = f.load("i64", a["step"], 8)
    fraction, shift = (f.splat(f.cast("trunc", _field(f, name), "i32"), LANES) for name in ("fraction", "shift"))
    multiply = _field(f, "multiply")
    factor, places = (f.splat(_field(f, name), LANES) for name in ("factor", "places"))

    def emit(accumulator: Value, number: Value) -> Value:
        left = f.variable(WORDS, "")
        f.store(_constant(f, "start", number), left, 64)
        with f.when(step):
            f.store(f.load(WORDS, f.at(a["state"], number, 4 * LANES), 64), left, 64)
        with f.when(multiply):  # k * potential may take more than 32 bits
            wide = f.cast("sext", f.load(WORDS, left, 64), LONGS) * factor
            f.store(f.cast("trunc", f.binary("ashr", wide, places), WORDS), left, 64)
        leaked = f.binary("ashr", f.load(WORDS, left, 64), shift)
        total = f.load(f"<64 x i{bits}>", f.at(a["accumulators"], accumulator, LANES * bits // 8), 64)
        wide_total = total if bits == 32 else f.cast("sext", total, WORDS)
        return leaked + (wide_total << fraction) + _constant(f, "bias", number)

    return emit


def _field(f: Function, name: str) -> Value:
    """A field of the record of the function's core."""
    return f.load("i64", f.at(f.arguments["record"], CORE.index(name), 8), 8)


def _constant(f: Function, table: str, number: Value) -> Value:
    """An int32 of a neuron, for all images."""
    return f.splat(f.load("i32", f.at(f.arguments[table], number, 4), 4), LANES)
