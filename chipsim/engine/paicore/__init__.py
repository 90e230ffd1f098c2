"""Executing a ``.paicore``: the words of a PAICORE 2.5, by a reference engine and a fast one."""
