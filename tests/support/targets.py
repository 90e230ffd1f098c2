"""Processors that this one can stand for: those whose instructions it has too."""

from __future__ import annotations

from chipsim.engine.fast.native import Target, host

#: by the feature that brings them
FEATURES = {
    "ssse3": "+ssse3,-avx",
    "avx2": "+avx2,+bmi2,-avx512f",
    "avx512bw": "+bmi2,+avx512f,+avx512bw",
    "avx512vnni": "+bmi2,+avx512f,+avx512bw,+avx512vnni",
    "amx-int8": "+bmi2,+avx512f,+avx512bw,+avx512vnni,+amx-tile,+amx-int8",
    "neon": "",
}


def targets(*names: str) -> list[Target]:
    """Those of some features that this processor has; by default of all."""
    return [
        Target("x86-64", features) if name != "neon" else Target("", "+neon")
        for name, features in FEATURES.items()
        if name in (names or FEATURES) and f"+{name}" in host().features.split(",")
    ]
