"""Format memory and utilisation for a terminal."""

from __future__ import annotations

from typing import Any

from chipsim.timing.area import LIMITS, MEMORIES, Area, entry_bits, memory_bits


def summary(found: Area) -> list[Any]:
    """Return lines and tables for a terminal."""
    from rich.table import Table

    m = found.mapping
    each, used = memory_bits(m.chip), found.bits.sum(axis=0).tolist()
    memory = Table(
        "memory", title=f"memory of a core of {m.chip.name}, bits", title_justify="left", box=None, pad_edge=False
    )
    for name in ("available", "used on average"):
        memory.add_column(name, justify="right")
    for name, bits in zip(MEMORIES, used, strict=True):
        note = f" ({entry_bits(m.chip)} bits per entry)" if name == "table" else ""
        share = f" ({bits / m.cores / each[name]:.1%})" if name != "fifos" else ""  # they are every packet's
        memory.add_row(name + note, f"{each[name]:,}", f"{bits / m.cores:,.0f}{share}")
    memory.add_row("total", f"{sum(each.values()):,}", f"{sum(used) / m.cores:,.0f}")
    layers = Table(
        "layer", title="mean utilisation of the cores of each layer", title_justify="left", box=None, pad_edge=False
    )
    for name in ("cores", *LIMITS, "bottleneck", "fullest core", "axons per source", "Mbit"):
        layers.add_column(name, justify="right")
    for layer in found.layers:
        shares = (f"{getattr(layer, name):.1%}" for name in LIMITS)
        layers.add_row(
            layer.name, str(layer.cores), *shares, layer.limiting, f"{layer.fullest:.1%}", f"{layer.replication:.2f}",
            f"{layer.bits / 1e6:,.2f}",
        )  # fmt: skip
    line = f"{m.cores} of {m.chip.cores} cores; each source drives {found.replication:.2f} axons on average"
    return [line, "", memory, "", layers]
