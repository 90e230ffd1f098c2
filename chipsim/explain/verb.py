"""The verb ``explain`` of both command lines."""

from __future__ import annotations

from typing import Annotated

import typer

from chipsim import terminal

Code = Annotated[
    str | None, typer.Argument(metavar="[CODE]", help="A code as printed in error[CODE]; without it, all codes.")
]


def explain(code: Code = None) -> None:
    """Explain an error code: what it means, the smallest example, and how to mend it.

    Example: qsnnc explain not-monotone
    """
    from chipsim.explain import explain as page_of
    from chipsim.explain import listing

    if code is None:
        terminal.show(listing())
        return
    page = page_of(code)
    terminal.show(f"{page.code}\n\n{page.text}")
