"""The kernels as functions, each compiled when it is first wanted."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from chipsim.engine.fast.dot_kernel import NAMES as DOTS
from chipsim.engine.fast.instructions import TILES
from chipsim.engine.fast.layout import CALLED, CORE
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.planes import WIDTHS

_P, _N = ctypes.c_void_p, ctypes.c_int64
#: those that Python calls
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "run": (_P, _N, _N, _N),
    "tally": (_P, _P, _N, _P),
    "lay": (_P, _N, _P),
    "draw": (_P, _N, _P),
    "count_runs": (_P, _N, _P, _P, _P),
    "weigh": (_N, _N, _P, _P, _P, _P, _P, _P, _P),
    **{f"by_image{bits}": (_N, _N, _P, _P, _P) for bits in (8, 16, 32)},
    "split": (_P, _N, _P, _P, _P, _P, _P),
    **{f"dots_{name}{lost}": (_P, _N, _N, _N) for name in DOTS for lost in ("", "_lost")},
    "encode": (_P, _N, _N, _N, _P, _P, _P),
    "planes": (_P, _N, _N),
    "slices": (_P, _P, _N, _P, _N),
    **{f"add{width}": (_P, _P, _P, _P, _P, _N, _N, _N, _N) for width in WIDTHS},
}


def begin(code: Code, *names: str) -> None:
    """Start to compile kernels that will be wanted."""
    for name in names:
        code.begin(*_of(code, name))


def _of(code: Code, name: str) -> tuple[bytes, Callable[[str], str], str, bool]:
    """What `Code.add` takes."""

    def write(_: str) -> str:
        from chipsim.engine.fast import kernels  # of kept code nobody needs the text

        return kernels.text(name, code.target.lookup)

    return name.encode(), write, name, True


def called(cores: Int, fire: str) -> set[str]:
    """Names of the kernels for what some cores (records of `CORE`) do; ``fire``: what fires."""
    fields = {"pack": "lookup", "bundle": "bundled", "maximum": "maximum"}
    wanted = {kernel for kernel, field in fields.items() if cores[:, CORE.index(field)].any()}
    kinds = {"lookup": "dense", "list": "list", "readout": "read", "stepping": "step", "holding": "hold"}
    kinds |= {"change": "change", "spiking": fire}
    for bits, width in ((16, "narrow"), (32, "wide")):
        own = cores[cores[:, CORE.index(width)] != 0]
        wanted |= {f"{kernel}{bits}" for field, kernel in kinds.items() if own[:, CORE.index(field)].any()}
    short = cores[:, CORE.index("short")] * cores[:, CORE.index("spiking")]
    if fire == "fire" and short.any():
        wanted.add("fire_short")
        if (short == cores[:, CORE.index("wide")] * cores[:, CORE.index("spiking")]).all():
            wanted.discard("fire32")
    return wanted


class Kernels:
    """The kernels for one processor."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._addresses: dict[str, int] = {}
        self._functions: dict[str, Callable[..., None]] = {}
        self._lock = Lock()  # threads may want one that is not there yet

    def __getitem__(self, name: str) -> Callable[..., None]:
        """A kernel of `SIGNATURES`, to be called."""
        if name not in self._functions:
            self._functions[name] = ctypes.CFUNCTYPE(None, *SIGNATURES[name])(self.address(name))
        return self._functions[name]

    def called(self, cores: Int, fire: str, counted: bool, arriving: bool = False) -> Int:
        """Addresses of what `run` calls for some cores (records of `CORE`), in the order of `CALLED`; 0: not called.

        Parameters
        ----------
        fire : str
            ``fire``, or the kernel for spikes that may be lost.
        counted : bool
            There are counts of each image.
        arriving : bool
            Not all that is sent arrives.
        """
        tiled = counted and self._code.target.lookup in TILES
        extra = (("count_runs", counted), ("count_quads", tiled), ("arrive", arriving))
        wanted = {name for name, so in extra if so} | called(cores, fire)
        return np.array([self.address(name) if name in wanted else 0 for name in CALLED], np.int64)

    def address(self, name: str) -> int:
        """Where a kernel is, for other kernels."""
        with self._lock:
            if name not in self._addresses:
                self._addresses[name] = self._code.add(*_of(self._code, name))
        return self._addresses[name]
