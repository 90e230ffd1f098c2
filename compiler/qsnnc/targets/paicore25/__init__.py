"""PAICORE 2.5: layout, allocation, routes and words."""

from qsnnc.targets.paicore25.compile import CODINGS, Outcome, check_coding, compile_network

__all__ = ["CODINGS", "Outcome", "check_coding", "compile_network"]
