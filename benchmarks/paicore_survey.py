"""Which networks fit a PAICORE 2.5, and on how many cores: ``python benchmarks/paicore_survey.py FILE.onnx ...``.

A row a file: cores and their lower bound with thermometer code, with value code and where the compiler chooses (``auto``),
and seconds of the last. A network that does not fit has its first violation instead, and how many there are.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from qsnnc import check
from qsnnc.compilation import Compilation, FailedCompilation
from qsnnc.errors import QsnncError


def cell(found: Compilation | FailedCompilation) -> str:
    """Cores and bound, or what is in the way."""
    if isinstance(found, Compilation):
        return f"{found.cores} ({found.cores_bound})"
    first, more = found.violations[0], len(found.violations) - 1
    return f"{first.layer}: {first.limit} {first.found:,} of {first.allowed:,}" + (f"; {more} more" if more else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="FILE.onnx")
    options = parser.parse_args()
    print("| network | largest level | thermometer | value | auto | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for path in options.models:
        cells, levels = [], ""
        for code in ("thermometer", "value", "auto"):
            start = time.perf_counter()
            try:
                found = check(path, "paicore25", code=code)
            except QsnncError as error:
                cells.append(str(error.code))
                continue
            levels = f"{max(population.levels for population in (found.graph.encoder, *found.graph.layers)):,}"
            cells.append(cell(found))
        print(f"| {path.stem} | {levels} | {' | '.join(cells)} | {time.perf_counter() - start:.1f} |", flush=True)


if __name__ == "__main__":
    main()
