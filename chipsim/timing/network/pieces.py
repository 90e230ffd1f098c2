"""Functions that the kernels of the network share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from chipsim.compiled import compiled
from chipsim.timing.network.layout import COORDINATE, FRESH, HEADER, NEVER, PLACE, SERVED, SLEEPER, SOURCE_TURN, Y

#: indices are unsigned: that spares numba the test for one that counts from the end, and a tenth of the time
u = np.uint64


def _lowest_bit(context: Any, bits: Any) -> Any:  # pragma: no cover
    """Number of the lowest bit that is set, of int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


def _prefetch_word(context: Any, array: Any, index: Any) -> Any:  # pragma: no cover
    """Have the line of a word of an array of int64 brought near; any index will do."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.globals.get("llvm.prefetch.p0i8") or ir.Function(
            builder.module, kind, "llvm.prefetch.p0i8"
        )
        builder.call(function, [address, *(number(value) for value in (1, 3, 1))])  # to write, to keep, data
        return context.get_dummy_value()

    return types.void(array, index), code


lowest: Callable[..., Any] = intrinsic(_lowest_bit)
prefetch: Callable[..., Any] = intrinsic(_prefetch_word)


@compiled
def output(routes, width, last, place, goal, here):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Side by which a flit leaves a router: of the table if there is one, else along x first."""
    x = goal & COORDINATE
    y = goal >> Y
    if routes.shape[0]:
        return last if place == goal else np.int64(routes[here, y * width + x])
    here_x = place & COORDINATE
    here_y = place >> Y
    along_y = np.int64(2) + np.int64(y > here_y)
    along_x = np.int64(x < here_x)
    out = last if y == here_y else along_y
    return out if x == here_x else along_x


@compiled
def clear(state, due_routers, width, size, lane):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Empty the network."""
    state[:] = 0
    for r in range(state.shape[0] // size):
        base = r * size
        for i in range(5):
            state[base + i] = NEVER
            state[base + HEADER + i * lane + SLEEPER] = -1
        state[base + SERVED] = FRESH
        state[base + PLACE] = r // width << Y | r % width
    due_routers[:] = 0


@compiled
def enter(offset, ready, wheel, following, cursor, turn_of, stalls):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Enter each source in the wheel, at its first packet."""
    wheel[:] = -1
    stalls[:] = 0
    for s in range(cursor.shape[0]):
        cursor[s] = offset[s]
        turn_of[s] = NEVER
        if offset[s] < offset[s + 1]:
            turn_of[s] = ready[offset[s]]
            slot = turn_of[s] & (SOURCE_TURN - 1)
            following[s] = wheel[slot]
            wheel[slot] = s
