"""Instructions on vectors that are larger than a register: part after part, as large as the instruction takes.

What narrows or adds up does so within 16 bytes, so that the parts of a result are those of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from chipsim.engine.fast.instructions import MASKS
from chipsim.engine.fast.ir import Function, Value

#: what narrows 512 bits, or adds up their bytes: AVX-512's name, AVX2's, and bits of the elements that are taken and given
_NARROWING = {
    "packssdw": ("packssdw.512", "packssdw", 32, 16),
    "packsswb": ("packsswb.512", "packsswb", 16, 8),
    "packuswb": ("packuswb.512", "packuswb", 16, 8),
    "psadbw": ("psad.bw.512", "psad.bw", 8, 64),
}


def vector(bits: int, size: int = 512) -> str:
    """The type of a vector of ``size`` bits, with elements of ``bits``."""
    return f"<{size // bits} x i{bits}>"


def called(f: Function, intrinsic: str, result: str, lanes: int, *values: Value) -> Value:
    """An instruction of so many lanes on vectors of as many or more."""
    parts = zip(*(_parts_of(f, value, lanes) for value in values), strict=True)
    calls = (", ".join(f"{each.type} {each.name}" for each in part) for part in parts)
    return whole_of(f, [f.emit(result, f"call {result} @{intrinsic}({given})") for given in calls])


def _parts_of(f: Function, value: Value, lanes: int) -> list[Value]:
    """A vector in parts."""
    every = value.lanes
    if lanes == every:
        return [value]
    return [f.shuffle(value, value, list(range(start, start + lanes))) for start in range(0, every, lanes)]


def whole_of(f: Function, parts: Sequence[Value]) -> Value:
    """Parts joined to one vector."""
    parts = list(parts)
    while len(parts) > 1:
        both = list(range(2 * parts[0].lanes))
        parts = [f.shuffle(a, b, both) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def declared(lookup: str | None) -> list[str]:
    """Declare what narrows, for a processor."""
    size = _size(lookup)
    return [
        f"declare {vector(given, size)} @{_intrinsic(name, size)}({vector(taken, size)}, {vector(taken, size)})"
        for name, (_, _, taken, given) in _NARROWING.items()
    ]


def narrowed(f: Function, lookup: str | None, name: str, one: Value, other: Value) -> Value:
    """Narrow two vectors of 512 bits to one, or add up bytes."""
    size, (_, _, taken, given) = _size(lookup), _NARROWING[name]
    return called(f, _intrinsic(name, size), vector(given, size), size // taken, one, other)


def _size(lookup: str | None) -> int:
    return 512 if lookup in MASKS else 256


def _intrinsic(name: str, size: int) -> str:
    wide, half, _, _ = _NARROWING[name]
    return f"llvm.x86.avx512.{wide}" if size == 512 else f"llvm.x86.avx2.{half}"
