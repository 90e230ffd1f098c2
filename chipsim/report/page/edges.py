"""Who sends to whom, as the page shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.report.page.packing import packed

Int = npt.NDArray[np.integer[Any]]


def edges(sender: Int, receiver: Int, core_layer: Int) -> dict[str, Any]:
    """Return pairs of cores (-1: the host) and of populations (0: the host's), each with the inputs that join the two.

    Parameters
    ----------
    sender, receiver : ndarray of int, (inputs,)
        The core, or -1, that each input of a core comes from, and the core that it belongs to.
    core_layer : ndarray of int, (cores,)
    """
    many = len(core_layer) + 1
    keys, inputs = np.unique((sender + 1).astype(np.int64) * many + receiver, return_counts=True)
    pairs = np.stack([keys // many - 1, keys % many], axis=1)
    population = np.append(core_layer + 1, 0)  # index -1 is the host
    joined, index = np.unique(population[pairs], axis=0, return_inverse=True)
    sums = np.bincount(index.reshape(-1), inputs).astype(np.int64)
    return {
        "core_edges": {
            "from": packed(pairs[:, 0], "int32", delta=True),
            "to": packed(pairs[:, 1], "int32", delta=True),
            "axons": packed(inputs, "int32"),
        },
        "edges": [[*map(int, pair), int(count)] for pair, count in zip(joined, sums, strict=True)],
    }
