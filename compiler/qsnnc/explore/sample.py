"""Sample a space evenly: Sobol points or a Latin hypercube, from scipy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

Method = Literal["sobol", "lhs"]
#: points that are drawn at most for each one that is asked for: others are equal to one before, or break a rule
DRAWS = 64


def draw(values: Sequence[Sequence[Any]], count: int, method: Method, seed: int) -> Iterator[tuple[Any, ...]]:
    """Yield distinct points of a space, many more than ``count`` if as many are taken.

    Parameters
    ----------
    values : sequence of sequences
        Values of each key. A coordinate u of a sample, 0 <= u < 1, stands for the value number floor(u n) of n.
    """
    import numpy as np
    from scipy.stats import qmc

    size = 1 << (count - 1).bit_length()  # Sobol points are balanced in powers of two
    engine: Any
    if method == "sobol":
        engine = qmc.Sobol(len(values), scramble=True, rng=np.random.default_rng(seed))
    else:
        engine = qmc.LatinHypercube(len(values), rng=np.random.default_rng(seed))
    sizes = np.array([len(each) for each in values])
    seen: set[tuple[int, ...]] = set()
    for _ in range(DRAWS):
        numbers = (engine.random(size if method == "sobol" else count) * sizes).astype(np.int64)
        for row in np.minimum(numbers, sizes - 1).tolist():
            if tuple(row) not in seen:
                seen.add(tuple(row))
                yield tuple(each[at] for each, at in zip(values, row, strict=True))
