"""How many examples a law draws."""

from __future__ import annotations

from hypothesis import is_hypothesis_test, settings

#: where hypothesis keeps the settings that ``@settings`` gave a test; it offers no public way to read them
OWN = "_hypothesis_internal_use_settings"


def draw_at_most(test: object, most: int) -> None:
    """Lower the number of examples of a property test; other tests stay as they are."""
    law = getattr(test, "__func__", test)
    if is_hypothesis_test(law):
        own = getattr(law, OWN, None) or settings()
        setattr(law, OWN, settings(own, max_examples=min(own.max_examples, most)))
