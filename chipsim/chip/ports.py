"""Assign a port of the host to each core."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.chip.spec import ChipSpec


def assign_ports(
    chip: ChipSpec, position: npt.NDArray[np.integer], entries: npt.NDArray[np.integer]
) -> npt.NDArray[np.int32]:
    """Give each core the port through which the host reaches it.

    A port takes in one packet a cycle, so their loads are kept even: cores choose in the order of their entries, largest
    first, the nearest port that still has room for them, else the one with the least load.

    Parameters
    ----------
    position : ndarray, int, (cores, 2)
        x, y of each core.
    entries : ndarray, int, (cores,)
        Entries of the host's target table that lead to each core.

    Returns
    -------
    ndarray, int32, (cores,)
        Index into ``chip.ports``.
    """
    ports = np.array(chip.ports)
    away = np.abs(position[:, None, :] - ports[None]).sum(axis=2)
    chosen = np.asarray(away.argmin(axis=1), np.int32)
    room = -(-int(entries.sum()) // len(ports))
    load = np.zeros(len(ports), np.int64)
    for core in np.argsort(-entries, kind="stable") if len(ports) > 1 else ():
        fits = load + entries[core] <= room
        best = np.where(fits, away[core], np.iinfo(np.int64).max).argmin() if fits.any() else load.argmin()
        chosen[core] = best
        load[best] += entries[core]
    return np.asarray(chosen)


def nearest_port(chip: ChipSpec, position: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Return the port by which the potentials of a core leave: the nearest, or the first of several."""
    away = np.abs(position[:, None, :] - np.array(chip.ports)[None]).sum(axis=2)
    return np.asarray(away.argmin(axis=1), np.int32)
