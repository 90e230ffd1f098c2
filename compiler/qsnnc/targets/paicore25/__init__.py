"""PAICORE 2.5: layout, allocation, routes and words."""

from qsnnc.targets.paicore25.compile import Outcome, compile_network

__all__ = ["Outcome", "compile_network"]
