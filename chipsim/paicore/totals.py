"""What a program adds up to."""

from __future__ import annotations

from chipsim.paicore.program import Program


def totals(program: Program) -> dict[str, int]:
    """The ``totals`` of ``mapping.yaml``."""
    return {
        "cores": len(program.cores),
        "cores_bound": sum(layer.bound for layer in program.layers),
        "neurons": sum(core.neurons for core in program.cores),
        "synapses": sum(layer.synapses for layer in program.layers),
        "words": len(program.words),
    }
