"""What a processor does in a second at most, by the code that `chipsim` runs: ``python benchmarks/machine.py``.

Each figure is of one thread and data in its nearest cache, but for bytes, which are copied from memory to memory.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from chipsim.engine.fast import kernels, plan, planes, straight, tile_kernel
from chipsim.engine.fast.instructions import BITS, TILES
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.lookup import lookups
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.merge import make_form
from chipsim.engine.fast.native import Code, host

#: bytes that are copied: more than any cache holds
COPIED = 1 << 28
ROWS, COLUMNS = 256, 64


def best(run: Callable[[], object], times: int = 50) -> float:
    """Seconds of the quickest of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def float_products(threads: int = 1) -> float:
    """Multiply-accumulates a second of a float32 matrix product."""
    a = np.ones((1024, 1024), np.float32)
    with threadpool_limits(limits=threads):
        return 1024**3 / best(lambda: a @ a, 7)


def copied() -> float:
    """Bytes a second from memory to memory."""
    source, target = np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)
    return COPIED / best(lambda: np.copyto(target, source), 5)


def dense(code: Code, bound: int, largest: int) -> float:
    """Multiply-accumulates a second that lookups, products or tiles stand for; 0 without such an instruction.

    Rows have values up to ``bound``, weights are up to ``largest``.
    """
    name = code.target.lookup
    if name is None:
        return 0.0
    form = make_form(np.random.default_rng(0).integers(-largest, largest + 1, (ROWS, COLUMNS)), np.full(ROWS, bound))
    program, kernel = lookups(form, name), f"dense{16 if plan.narrow(form) and name not in TILES else 32}"
    tables = aligned((len(program.tables),), np.uint8)
    tables[:] = program.tables
    packed, out = aligned((program.packed, LANES), np.uint8), aligned((COLUMNS, LANES), np.int32)
    made = code.add(kernel.encode(), lambda _: kernels.text(kernel, name), kernel, optimise=True)
    if name in TILES:
        made = code.add(repr(made).encode(), lambda _: tile_kernel.by_itself(made), "by_itself", optimise=True)
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64)(made)
    arguments = (*map(address, (program.program, tables, packed, out)), COLUMNS)
    return ROWS * COLUMNS * LANES / best(lambda: call(*arguments), 2000)


def added(code: Code) -> float:
    """Additions of bytes a second in code of its own."""
    form = make_form(np.random.default_rng(0).choice([-1, 1], (ROWS, COLUMNS)), np.ones(ROWS, np.int64))
    written = straight.write(form, "form_added", code.target.registers, code.target.lanes)
    kernel = code.add(written.encode(), lambda _: written, "form_added")
    rows, values = LANES * np.arange(ROWS, dtype=np.uint32), aligned((ROWS, LANES), np.uint8)
    out = aligned((COLUMNS, LANES), np.int32)
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_void_p)(kernel)
    arguments = address(values), address(rows), 1, address(out)
    additions = len(re.findall(rf"= (?:add|sub) <{code.target.lanes} x i8>", written))
    return additions * LANES / best(lambda: call(*arguments), 2000)


def bits(code: Code, bound: int, largest: int) -> float:
    """Multiply-accumulates a second that additions of bits stand for; 0 where the processor has too small registers.

    Rows have values up to ``bound``, weights are up to ``largest``.
    """
    name = code.target.lookup
    if name not in BITS:
        return 0.0
    form = make_form(np.random.default_rng(0).integers(-largest, largest + 1, (ROWS, COLUMNS)), np.full(ROWS, bound))
    sums = planes.sums_of(form, planes.lines_of(form))
    assert sums is not None, "a counter holds so few rows"
    program, kernel = sums.program, f"add{sums.program.width}"
    lines = aligned((sums.lines.count, planes.PLANE), np.uint8)
    out = aligned((program.columns * program.stride, planes.PLANE), np.uint8)
    made = code.add(kernel.encode(), lambda _: kernels.text(kernel, name), kernel, optimise=True)
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 4)(made)
    given = (*map(address, (program.words, lines, None, out, None)), program.columns, program.positions)
    return ROWS * COLUMNS * planes.IMAGES / best(lambda: call(*given, planes.PLANE * program.stride, 0), 500)


def limits(threads: int = 1) -> dict[str, float]:
    """What each part of the engine is limited by, in billions a second; float products on so many threads."""
    every = host()
    code = Code(replace(every, features=every.features.replace("+amx-int8", "-amx-int8")))
    found = {
        "float32 multiply-accumulates": float_products(threads) / 1e9,
        "bytes copied from memory to memory": copied() / 1e9,
        "additions of bytes": added(code) / 1e9,
        "multiply-accumulates by lookups, one bit": dense(code, 1, 1) / 1e9,
        "multiply-accumulates by lookups, two bits": dense(code, 3, 7) / 1e9,
        "multiply-accumulates by bits, ternary, one bit": bits(code, 1, 1) / 1e9,
        "multiply-accumulates by bits, 4-bit weights, two bits": bits(code, 3, 7) / 1e9,
        "multiply-accumulates of bytes": dense(code, 255, 127) / 1e9,
    }
    if every.lookup in TILES:
        found["multiply-accumulates by tiles"] = dense(Code(every, cached=False), 255, 127) / 1e9
    return found


def main() -> None:
    """Print the limits."""
    for name, rate in limits().items():
        print(f"{name}: {rate:.0f} G a second")


if __name__ == "__main__":
    main()
