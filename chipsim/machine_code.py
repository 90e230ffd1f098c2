"""Functions that Numba compiles once a machine: kept code runs without importing Numba.

Numba compiles a function for the types of its first arguments. Its code is kept in the user's cache, and the next process
loads it with LLVM alone: importing Numba takes longer than compiling a small network.

Such a function is plain loops over numbers and arrays: it makes no objects, raises nothing, and what it calls is a function
of this kind too. Arrays are passed as Numba's own functions pass them to each other: two pointers that are unused here, the
items, the bytes of an item, data, lengths and strides; the result is stored through a pointer.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from chipsim.code_cache import CodeCache, cache_directory, processor, target_machine

#: options of numba's `njit`: no reference counts, no array expressions, no entries from Python and C
OPTIONS: dict[str, Any] = {
    "error_model": "numpy", "no_rewrites": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True, "_nrt": False,
}  # fmt: skip
#: types of numbers that are passed, in C
NUMBERS = {"int64": ctypes.c_int64, "float64": ctypes.c_double, "bool": ctypes.c_uint8}
#: types of results, as `struct` spells them
RESULTS = {"int64": "q", "float64": "d"}
#: what a function of Numba's answers: a result, or none
ANSWERS = (0, -2)

_lock = threading.RLock()  # LLVM compiles for one thread at a time
_loaded: list[Any] = []  # engines own the code that they loaded


@dataclass(frozen=True, slots=True)
class Entry:
    """Loaded code for some types of arguments."""

    call: Callable[..., int]
    result: struct.Struct

    def answer(self, arguments: tuple[Any, ...]) -> Any:
        """Call it: returns a number, a tuple of several, or None."""
        flat: list[Any] = []
        for value in arguments:
            if isinstance(value, np.ndarray):
                data = value.__array_interface__["data"][0]
                flat += [None, None, value.size, value.itemsize, data, *value.shape, *value.strides]
            else:
                flat.append(value.item() if isinstance(value, np.generic) else value)
        found, error = ctypes.create_string_buffer(self.result.size or 8), ctypes.c_void_p()
        answer = self.call(found, ctypes.byref(error), *flat)
        assert answer in ANSWERS, f"machine code answered {answer}"
        values = self.result.unpack_from(found)
        return values if len(values) > 1 else values[0] if values else None


class MachineCode:
    """A Python function that is called as machine code."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self._entries: dict[tuple[str, ...], Entry] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Call it; arrays may be changed."""
        kinds = tuple(map(_kind, arguments))
        entry = self._entries.get(kinds)
        if entry is None:
            with _lock:
                entry = self._entries[kinds] = _entry(self, kinds)
        return entry.answer(arguments)

    @cached_property
    def dispatcher(self) -> Any:
        """Numba's form of the function, which those that Numba compiles can call."""
        from numba import njit

        known = dict(self.function.__globals__)
        for name in self.function.__code__.co_names:
            if isinstance(known.get(name), MachineCode):
                known[name] = known[name].dispatcher
        return njit(**OPTIONS)(FunctionType(self.function.__code__, known, self.function.__name__))

    def content(self) -> str:
        """Everything that the function's code depends on: its instructions, constants, and what it calls."""
        code, parts = self.function.__code__, []
        for name in code.co_names:
            value = self.function.__globals__.get(name)
            if isinstance(value, MachineCode):
                parts.append(value.content())
            elif isinstance(value, int | float | np.generic):
                parts.append(f"{name} = {value!r}")
        assert not any(isinstance(constant, CodeType) for constant in code.co_consts), "a function in a function"
        facts = code.co_code, code.co_names, code.co_varnames, code.co_argcount, code.co_consts
        return f"{code.co_name} {facts!r} ({'; '.join(parts)})"


def _kind(value: Any) -> str:
    """The type of an argument: ``int64``, or for arrays such as ``int64 2 C``."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name} {value.ndim} {'C' if value.flags.c_contiguous else 'A'}"
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | np.integer):
        return "int64"
    if isinstance(value, float | np.floating):
        return "float64"
    raise TypeError(f"machine code takes numbers and arrays, not {type(value).__name__}")


def _entry(code: MachineCode, kinds: tuple[str, ...]) -> Entry:
    """Load the code for some types of arguments, compiled before or now."""
    import llvmlite.binding as llvm

    cpu, features = processor()
    machine = target_machine(cpu, features, 3)
    facts = version("numba"), llvm.llvm_version_info, sys.version_info[:2], cpu, features, OPTIONS, kinds, code.content()
    key, cache = hashlib.sha256(repr(facts).encode()).hexdigest(), CodeCache(cache_directory())
    kept = cache.get(key)
    if kept is None:
        kept = _compiled(llvm, code, kinds, machine)
        cache.put(key, kept)
    symbol, result, content = kept.split(b"\n", 2)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(content))
    engine.finalize_object()
    _loaded.append(engine)
    passed = [one for kind in kinds for one in _passed(kind)]
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *passed)
    return Entry(call(engine.get_function_address(symbol.decode())), struct.Struct(result.decode()))


def _passed(kind: str) -> list[Any]:
    """The C types of what is passed for an argument."""
    if kind in NUMBERS:
        return [NUMBERS[kind]]
    pointer, whole, dimensions = ctypes.c_void_p, ctypes.c_int64, int(kind.split()[1])
    return [pointer, pointer, whole, whole, pointer, *[whole] * 2 * dimensions]


def _compiled(llvm: Any, code: MachineCode, kinds: tuple[str, ...], machine: Any) -> bytes:
    """The name of the function, the letters of its result in `struct`, and the object file: three parts, one a line."""
    import numba

    types: Any = numba.types

    def numba_type(kind: str) -> Any:
        name, *shape = kind.split()
        number = numba.from_dtype(np.dtype(name))
        return types.Array(number, int(shape[0]), shape[1]) if shape else number

    signature = tuple(map(numba_type, kinds))
    code.dispatcher.compile(signature)
    found = code.dispatcher.overloads[signature]
    returned = found.signature.return_type
    many = [] if returned == types.none else list(returned) if isinstance(returned, types.BaseTuple) else [returned]
    letters = "".join(RESULTS[str(types.unliteral(one))] for one in many)
    content = machine.emit_object(llvm.parse_assembly(code.dispatcher.inspect_llvm(signature)))
    return b"\n".join([found.fndesc.llvm_func_name.encode(), letters.encode(), bytes(content)])


def in_machine_code(function: Callable[..., Any]) -> MachineCode:
    """Compile a function with Numba on its first call on this machine, to code that releases the interpreter's lock."""
    assert isinstance(function, FunctionType)
    return MachineCode(function)
