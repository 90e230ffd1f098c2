"""Instructions on registers of 512 bits, which AVX2 has for 256: it does a half after the other.

They narrow and add up within 16 bytes, so that the halves of a result are those of the whole.
"""

from __future__ import annotations

from chipsim.engine.fast.instructions import MASKS
from chipsim.engine.fast.ir import Function, Value

#: AVX-512's name, AVX2's, and bits of the elements that are taken and given
_INSTRUCTIONS = {
    "packssdw": ("packssdw.512", "packssdw", 32, 16),
    "packsswb": ("packsswb.512", "packsswb", 16, 8),
    "packuswb": ("packuswb.512", "packuswb", 16, 8),
    "psadbw": ("psad.bw.512", "psad.bw", 8, 64),
    "pmaddubsw": ("pmaddubs.w.512", "pmadd.ub.sw", 8, 16),
    "pmaddwd": ("pmaddw.d.512", "pmadd.wd", 16, 32),
}


def vector(bits: int, size: int = 512) -> str:
    """The type of a register of so many bits, with elements of ``bits``."""
    return f"<{size // bits} x i{bits}>"


def declared(lookup: str | None) -> list[str]:
    """Declare all of them, for a processor."""
    size = _size(lookup)
    return [
        f"declare {vector(given, size)} {_symbol(name, size)}({vector(taken, size)}, {vector(taken, size)})"
        for name, (_, _, taken, given) in _INSTRUCTIONS.items()
    ]


def apply(f: Function, lookup: str | None, name: str, one: Value, other: Value) -> Value:
    """Do an instruction on two registers of 512 bits."""
    size, (_, _, taken, given) = _size(lookup), _INSTRUCTIONS[name]
    one, other = (f.cast("bitcast", value, vector(taken)) for value in (one, other))
    lanes, kind = size // taken, vector(taken, size)
    parts = []
    for first in range(0, 512 // taken, lanes):
        a, b = (f.shuffle(value, value, list(range(first, first + lanes))) for value in (one, other))
        call = f"call {vector(given, size)} {_symbol(name, size)}({kind} {a.name}, {kind} {b.name})"
        parts.append(f.emit(vector(given, size), call))
    return parts[0] if len(parts) == 1 else f.shuffle(parts[0], parts[1], list(range(512 // given)))


def _size(lookup: str | None) -> int:
    return 512 if lookup in MASKS else 256


def _symbol(name: str, size: int) -> str:
    wide, narrow, _, _ = _INSTRUCTIONS[name]
    return f"@llvm.x86.avx512.{wide}" if size == 512 else f"@llvm.x86.avx2.{narrow}"
