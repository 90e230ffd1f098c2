"""Compile LLVM IR to machine code and keep it in the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from chipsim.code_cache import CodeCache, cache_directory, processor, target_machine
from chipsim.engine.fast.instructions import TILES, instruction

_SOURCES = (
    "adder_kernel.py",
    "arrive_kernel.py",
    "counting_kernel.py",
    "dot_kernel.py",
    "draw_kernel.py",
    "fire_kernel.py",
    "instructions.py",
    "ir.py",
    "kernels.py",
    "layout.py",
    "lookup.py",
    "lookup_kernel.py",
    "native.py",
    "philox_kernel.py",
    "plan.py",
    "plane_kernel.py",
    "planes.py",
    "product_kernel.py",
    "products.py",
    "registers.py",
    "segments.py",
    "segments_kernel.py",
    "stepping.py",
    "straight.py",
    "tile_kernel.py",
    "tiles.py",
    "../../faults/draws.py",
)
#: of the sources as they are when this process begins: another version may be installed while it runs
_DIGEST = hashlib.sha256(b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)).digest()


@dataclass(frozen=True)
class Target:
    """A processor, as LLVM describes it."""

    cpu: str
    features: str  # "+avx2,-avx512f,..."

    @property
    def registers(self) -> int:
        """How many vector registers there are for partial sums, with some left for the rows."""
        return 24 if {"+avx512bw", "+neon"} & set(self.features.split(",")) else 12

    @property
    def lanes(self) -> int:
        """Bytes of a vector register."""
        features = self.features.split(",")
        return 64 if "+avx512bw" in features else 32 if "+avx2" in features else 16

    @property
    def lookup(self) -> str | None:
        """The instruction of this processor that looks up bytes in a table of sixteen, by its feature."""
        return instruction(self.features)


def host() -> Target:
    """Return this machine's processor."""
    cpu, features = processor()
    tiles = f"+{next(iter(TILES))}"
    if tiles in features.split(",") and not _tiles_granted():
        features = features.replace(tiles, tiles.replace("+", "-"))
    return Target(cpu, features)


def _tiles_granted() -> bool:
    """Ask Linux for the state of tiles, which a process has to: its manual of arch_prctl, ARCH_REQ_XCOMP_PERM."""
    if sys.platform != "linux":
        return False
    arch_prctl, request, tiles = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request, tiles) == 0)


class Code:
    """The code of one program, in this process."""

    def __init__(self, target: Target | None = None, directory: Path | None = None, cached: bool = True) -> None:
        import llvmlite.binding as llvm

        self._llvm = llvm
        self.target = target or host()
        self.cache = CodeCache((directory or cache_directory()) if cached else None)
        self.made = 0  # how many functions were compiled, not found in the cache
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self._machine(2))
        self._symbols: set[str] = set()
        self._begun: dict[str, Future[tuple[bytes, bool]]] = {}
        self._thread = ThreadPoolExecutor(1)  # LLVM works without the interpreter's lock, but not for two at a time

    def begin(self, what: bytes, write: Callable[[str], str], name: str = "", optimise: bool = False) -> None:
        """Start to make a function for which `add` will be called, while this thread does something else."""
        key, symbol = self._names(what, name, optimise)
        if key not in self._symbols and key not in self._begun:
            self._begun[key] = self._thread.submit(self._make, key, symbol, write, optimise)

    def add(self, what: bytes, write: Callable[[str], str], name: str = "", optimise: bool = False) -> int:
        """Add a function and return its address.

        Parameters
        ----------
        what : bytes
            All that the text depends on besides the sources of this package.
        write : callable
            Makes the text; it is given the name of the function.
        name : str
            Of the function; by default it is made from ``what``.
        optimise : bool
            Whether the text goes through LLVM's passes, or to the code generator as it is.
        """
        key, symbol = self._names(what, name, optimise)
        if key not in self._symbols:
            begun = self._begun.pop(key, None)
            code, new = self._make(key, symbol, write, optimise) if begun is None else begun.result()
            self.made += new
            self._engine.add_object_file(self._llvm.ObjectFileRef.from_data(code))
            self._symbols.add(key)
        self._engine.finalize_object()
        return int(self._engine.get_function_address(symbol))

    def _names(self, what: bytes, name: str, optimise: bool) -> tuple[str, str]:
        """Of a function: in the cache, and in the program."""
        key = hashlib.sha256(b"\0".join([self._stamp, repr((name, optimise)).encode(), what])).hexdigest()
        return key, name or f"form_{key[:32]}"

    def _make(self, key: str, symbol: str, write: Callable[[str], str], optimise: bool) -> tuple[bytes, bool]:
        """Code of a function, and whether it was compiled now."""
        code = self.cache.get(key)
        if code is not None:
            return code, False
        code = self._compile(write(symbol), optimise)
        self.cache.put(key, code)
        return code, True

    @cached_property
    def _stamp(self) -> bytes:
        """Whatever changes the code of a text."""
        return _DIGEST + repr((self._llvm.llvm_version_info, self.target)).encode()

    def _machine(self, effort: int) -> Any:
        return target_machine(self.target.cpu, self.target.features, effort)

    def _compile(self, text: str, optimise: bool) -> bytes:
        module = self._llvm.parse_assembly(text)
        machine = self._machine(2 if optimise else 0)
        if optimise:
            options = self._llvm.create_pipeline_tuning_options(speed_level=1)
            options.loop_vectorization = options.slp_vectorization = False  # it is in vectors already
            options.loop_unrolling = False
            passes = self._llvm.create_pass_builder(machine, options)
            passes.getModulePassManager().run(module, passes)
        return bytes(machine.emit_object(module))
