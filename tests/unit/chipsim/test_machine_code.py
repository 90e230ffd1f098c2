"""Functions in machine code: they answer as Python does, and once compiled they need no Numba."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chipsim.machine_code import in_machine_code

STEP = 3


def doubled(value):
    """Called by others."""
    return 2 * value


def sums(table, weights, first, all_of_them):
    """Change an array, and return a number of each kind."""
    count, total = 0, 0.0
    for row in range(first, table.shape[0]):
        for column in range(table.shape[1]):
            if all_of_them or table[row, column] > 0:
                count += STEP
                total += table[row, column] * weights[column]
        table[row, 0] = -doubled(row)
    return count, total


PLAIN_DOUBLED = doubled
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, test_machine_code
print(test_machine_code.machine(np.arange(6).reshape(2, 3), np.ones(3), 0, True), 'numba' in sys.modules)
"""


def machine(*arguments):
    """Call `sums` in machine code."""
    global doubled
    doubled = in_machine_code(PLAIN_DOUBLED)
    try:
        return in_machine_code(sums)(*arguments)
    finally:
        doubled = PLAIN_DOUBLED


@pytest.mark.slow
@pytest.mark.parametrize("turned", [False, True])
def test_it_answers_as_python_does(turned: bool) -> None:
    table = np.random.default_rng(0).integers(-9, 9, (7, 5))
    table = table.T if turned else table
    plain, weights = table.copy(), np.linspace(-1, 1, 7)
    for first, all_of_them in ((0, True), (2, False), (np.int64(1), np.True_)):
        assert machine(table, weights, first, all_of_them) == sums(plain, weights, first, all_of_them)
        assert (table == plain).all()


@pytest.mark.slow
def test_the_second_process_needs_no_numba(tmp_path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said == ["(18, 15.0) True\n", "(18, 15.0) False\n"]


def test_what_a_function_depends_on_names_its_code() -> None:
    def content(step: int, other) -> str:
        code = in_machine_code(sums)
        code.function = type(sums)(sums.__code__, {"STEP": step, "doubled": in_machine_code(other)})
        return code.content()

    def tripled(value):
        return 3 * value

    assert len({content(3, PLAIN_DOUBLED), content(4, PLAIN_DOUBLED), content(3, tripled)}) == 3
    assert content(3, PLAIN_DOUBLED) == content(3, PLAIN_DOUBLED)


def test_other_arguments_are_a_mistake() -> None:
    with pytest.raises(TypeError, match="numbers and arrays, not str"):
        in_machine_code(sums)("text")
