"""Seconds that each stage of a compilation takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stages:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    tell: Callable[[str], None] = lambda _: None  # is told what is being done
    deflate: bool = False  # whether to begin with the file before it is complete

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and put its name on what it raises."""
        self.tell(name)
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            error.add_note(f"in stage {name}")
            raise
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
