"""The law of what the commands print by default."""

from __future__ import annotations

from chipsim.screen import HEIGHT, WIDTH


def on_one_screen(text: str) -> None:
    """At most 40 lines of at most 80 columns, and nothing that a terminal takes for a command."""
    lines = text.splitlines()
    assert (WIDTH, HEIGHT) == (80, 40)
    assert len(lines) <= HEIGHT, text
    assert max(map(len, lines)) <= WIDTH, text
    assert all(line.isprintable() for line in lines), text
