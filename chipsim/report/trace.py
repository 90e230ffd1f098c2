"""Write the trace of a frame as a Perfetto trace or a value change dump, by the file's suffix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chipsim.errors import UsageError
from chipsim.timing.history import History

if TYPE_CHECKING:
    from collections.abc import Callable

PERFETTO = ("perfetto-trace", "pftrace")
SUFFIXES = (*PERFETTO, "vcd")
#: packets that a Perfetto trace shows one by one, unless told otherwise
PACKETS = 5000


def form(target: str) -> str:
    """Return ``perfetto`` or ``vcd``, by the file's suffix; Perfetto on standard output."""
    found = PERFETTO[0] if target == "-" else target.rpartition(".")[2].lower() if "." in target else ""
    if found not in SUFFIXES:
        raise UsageError(
            "--output",
            f"{target!r} does not end in .{', .'.join(SUFFIXES)}",
            code="option-value",
            found=found,
            allowed=SUFFIXES,
        )
    return "vcd" if found == "vcd" else "perfetto"


def writer(target: str, packets: int | None = None) -> Callable[[History], bytes]:
    """Return the function that turns a history into the file's content.

    Parameters
    ----------
    target : str
        The file, whose suffix says which format.
    packets : int, optional
        Packets that a Perfetto trace shows one by one, at even distances in each tick, `PACKETS` by default; a value change
        dump counts each in its cycle and shows none.

    Raises
    ------
    UsageError
        The suffix is none of ours, ``packets`` is negative or for a dump, or the library for it cannot be loaded.
    """
    kind = form(target)
    if packets is not None and kind == "vcd":
        raise UsageError("--packets", "applies to Perfetto traces only; a .vcd contains all packets", code="option-unused")
    most = PACKETS if packets is None else packets
    if most < 0:
        raise UsageError("--packets", f"is {packets}; allowed: >= 0", code="option-value", found=packets, allowed=">= 0")
    try:
        if kind == "vcd":
            from chipsim.report import trace_vcd

            return trace_vcd.write
        from chipsim.report import trace_perfetto
    except Exception as error:  # noqa: BLE001  # protobuf, where it is too old for perfetto, has an error of its own
        package = "pyvcd" if kind == "vcd" else "perfetto"
        raise UsageError(
            "trace",
            f"{package} cannot be loaded ({error}); install it with pip install 'qsnnc[trace]'",
            code="library-missing",
        ) from None
    return lambda history: trace_perfetto.write(history, most)
