"""Which layer or core of a file is asked for."""

from __future__ import annotations

from chipsim.errors import UsageError


def check_selection(layers: list[str], cores: int, layer: str | None, core: int | None) -> None:
    """Refuse a layer or core that a file has not.

    Raises
    ------
    UsageError
    """
    if layer is not None and layer not in layers:
        text = f"{layer!r} is no layer; allowed: {', '.join(layers)}"
        raise UsageError("--layer", text, code="layer-unknown", found=layer, allowed=layers)
    if core is not None and not 0 <= core < cores:
        text = f"{core} is no core; allowed: 0 to {cores - 1}"
        raise UsageError("--core", text, code="core-unknown", found=core, allowed=[0, cores - 1])
