"""Go through all axons once, in machine code: NumPy would make, and touch, many arrays of that length."""

from __future__ import annotations

from chipsim.machine_code import in_machine_code


@in_machine_code
def count_pairs(sender_of, source, offset, rates, held, ends, sums):  # type: ignore[no-untyped-def]
    """Count the axons of each pair of connected cores, and how often their sources fire; returns how many pairs there are.

    Parameters
    ----------
    sender_of : (sources,)
        0: the host, else 1 + the core.
    source, offset : (axons,) and (cores + 1,)
        The source of each axon, and where the axons of each core begin.
    rates : (sources,)
        How often each source fires; empty: once.
    held : (2, cores + 1)
        Scratch, 0.
    ends, sums : (2, axons)
        Take the sender, as in ``sender_of``, and the receiver of each pair; and its axons, and how often they fire.
    """
    found = 0
    for core in range(len(offset) - 1):
        first = found
        for k in range(offset[core], offset[core + 1]):
            sender = sender_of[source[k]]
            if held[0, sender] == 0.0:
                ends[0, found], ends[1, found] = sender, core
                found += 1
            held[0, sender] += 1.0
            held[1, sender] += rates[source[k]] if len(rates) else 1.0
        for pair in range(first, found):
            for which in range(2):
                sums[which, pair] = held[which, ends[0, pair]]
                held[which, ends[0, pair]] = 0.0
    return found


@in_machine_code
def by_source(source, offset, due, fires, place, axon, delay):  # type: ignore[no-untyped-def]
    """List the axons of each source in ascending order, and by how many ticks its spikes are delayed.

    Parameters
    ----------
    source, offset : (axons,) and (cores + 1,)
        The source of each axon, and where the axons of each core begin.
    due, fires : (cores,) and (sources,)
        The ticks of the cores, and those in which the sources send.
    place : (sources,)
        Where the axons of each source begin; changed.
    axon, delay : (axons,)
        Take the result.
    """
    for core in range(len(offset) - 1):
        for k in range(offset[core], offset[core + 1]):
            here = place[source[k]]
            place[source[k]] = here + 1
            axon[here] = k
            delay[here] = due[core] - fires[source[k]]
