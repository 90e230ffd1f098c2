"""Which layer or core of a file is asked for."""

from __future__ import annotations

from chipsim.errors import UsageError


def check_selection(layers: list[str], cores: int, layer: str | None, core: int | None) -> None:
    """Refuse a layer or core that a file does not have.

    Raises
    ------
    UsageError
    """
    if layer is not None and layer not in layers:
        text = f"unknown layer {layer!r}; expected {', '.join(layers)}"
        raise UsageError("--layer", text, code="layer-unknown", found=layer, allowed=layers)
    if core is not None and not 0 <= core < cores:
        text = f"unknown core {core}; expected 0 to {cores - 1}"
        raise UsageError("--core", text, code="place-unknown", found=core, allowed=[0, cores - 1])
