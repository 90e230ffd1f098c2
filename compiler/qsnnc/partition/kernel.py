"""Fill cores in machine code: the loops of `fill`, over flat arrays.

Output positions are numbered; ``tiles[p]`` are the tiles that p reads (-1: none), ``running[p, n]`` the target entries of
its first n neurons, ``size[p]`` its neurons. Slices are written as rows (core, output position, first neuron, last + 1).
``reader[t]`` is the last core that reads tile t; no core before.
"""

from __future__ import annotations

import math

from chipsim.machine_code import in_machine_code


@in_machine_code
def within(running, output, first, last, most):  # type: ignore[no-untyped-def]
    """The end of the most neurons, from ``first`` on and up to ``last``, whose entries stay within ``most``."""
    low, high = first, last
    while low < high:
        middle = (low + high + 1) // 2
        if running[output, middle] - running[output, first] <= most:
            low = middle
        else:
            high = middle - 1
    return low


@in_machine_code
def fresh_axons(tiles, width, reader, output, core):  # type: ignore[no-untyped-def]
    """Axons that an output position adds to a core."""
    more = 0
    for tap in range(tiles.shape[1]):
        tile = tiles[output, tap]
        if tile >= 0 and reader[tile] != core:
            more += width[tile]
    return more


@in_machine_code
def read_by(tiles, reader, output, core):  # type: ignore[no-untyped-def]
    """Note that a core reads the tiles of an output position."""
    for tap in range(tiles.shape[1]):
        tile = tiles[output, tap]
        if tile >= 0:
            reader[tile] = core


@in_machine_code
def cut(order, tiles, width, running, size, most_neurons, most_axons, targets, reader, slices):  # type: ignore[no-untyped-def]
    """Fill core after core, each until columns, axons or target entries are used up.

    Returns
    -------
    tuple of int
        Slices, cores, axons over all cores, and the fewest target entries that a core has left; -1 slices where a neuron
        fits no core.
    """
    count, core, total, fullest = 0, 0, 0, targets
    axons, room, table, first_slice = 0, most_neurons, targets, 0
    for number in range(len(order)):
        output = order[number]
        first = 0
        while first < size[output]:
            more = fresh_axons(tiles, width, reader, output, core)
            last = first
            if room > 0 and axons + more <= most_axons:
                last = within(running, output, first, min(size[output], first + room), table)
            if last > first:
                slices[count, 0], slices[count, 1], slices[count, 2], slices[count, 3] = core, output, first, last
                count += 1
                read_by(tiles, reader, output, core)
                axons += more
                room -= last - first
                table -= running[output, last] - running[output, first]
                fullest = min(fullest, table)
                first = last
            elif count == first_slice:
                return -1, 0, 0, 0
            else:
                total += axons
                core += 1
                axons, room, table, first_slice = 0, most_neurons, targets, count
    if count > first_slice:
        total += axons
        core += 1
    return count, core, total, fullest


@in_machine_code
def spread(axons, tiles, width, running, size, most_neurons, most_axons, targets, reader, done, rate, chosen, slices):  # type: ignore[no-untyped-def]
    """Fill cores where the target table binds, each with an equal share of neurons and a full table.

    A core begins with neurons that drive most axons, as many as leave room in the table for a fair number of the lightest;
    then it takes those whose entries a neuron come closest to what is left of its share.

    Parameters
    ----------
    axons : of each output position
    done, rate, chosen : scratch for each output position: neurons that have a core, entries a neuron of those left, and
        the last core that holds some; zero, anything, -1

    Returns
    -------
    tuple of int
        As `cut`.
    """
    count, core, total, fullest = 0, 0, 0, targets
    while True:
        left, entries, lightest = 0, 0, math.inf
        for output in range(len(size)):
            mine = size[output] - done[output]
            if mine > 0:
                heavy = running[output, size[output]] - running[output, done[output]]
                left += mine
                entries += heavy
                rate[output] = heavy / mine
                lightest = min(lightest, rate[output])
        if left == 0:
            return count, core, total, fullest
        share = min(most_neurons, math.ceil(left / math.ceil(max(1, entries) / targets)))
        held, taken, table, begun = 0, 0, targets, False
        while taken < most_neurons:
            budget = max(0, table if begun else table - int(lightest * share))
            wanted = table / max(1, share - taken)
            best, best_take, best_off = -1, 0, math.inf
            for output in range(len(size)):
                start = done[output]
                if start == size[output] or held + axons[output] > most_axons or chosen[output] == core:
                    continue
                off = abs(rate[output] - wanted) if begun else -rate[output]
                if off >= best_off:
                    continue
                take = within(running, output, start, min(size[output], start + most_neurons - taken), budget) - start
                if take == 0 and not begun and running[output, start + 1] - running[output, start] <= table:
                    take = 1
                if take > 0:
                    best, best_take, best_off = output, take, off
            if best < 0:
                break
            start = done[best]
            slices[count, 0], slices[count, 1], slices[count, 2], slices[count, 3] = core, best, start, start + best_take
            count += 1
            held += fresh_axons(tiles, width, reader, best, core)
            read_by(tiles, reader, best, core)
            table -= running[best, start + best_take] - running[best, start]
            taken += best_take
            done[best] += best_take
            chosen[best] = core
            begun = True
        if not begun:
            return -1, 0, 0, 0
        total += held
        fullest = min(fullest, table)
        core += 1


@in_machine_code
def crossbar(kernel, pattern, row_start, rows, column_start, columns, weights):  # type: ignore[no-untyped-def]
    """Write the weights (axons, neurons) of a core.

    Parameters
    ----------
    kernel : (taps, inputs, outputs)
    pattern : (slices, taps)
        Which tile of the core stands at each tap; -1 in the padding.
    row_start, rows : (tiles + 1,), (axons,)
        Where each tile's axons begin, and the input channel of each axon.
    column_start, columns : (slices + 1,), (neurons,)
        Where each slice's neurons begin, and the output channel of each neuron.
    weights
        Zero; several taps may fall on one axon.
    """
    for piece in range(pattern.shape[0]):
        for tap in range(pattern.shape[1]):
            tile = pattern[piece, tap]
            if tile < 0:
                continue
            for axon in range(row_start[tile], row_start[tile + 1]):
                row = rows[axon]
                for neuron in range(column_start[piece], column_start[piece + 1]):
                    weights[axon, neuron] += kernel[tap, row, columns[neuron]]


@in_machine_code
def add_tiles(tiles, width, held, output):  # type: ignore[no-untyped-def]
    """Count the tiles of an output position in ``held``; returns the axons of those that were not there."""
    more = 0
    for tap in range(tiles.shape[1]):
        tile = tiles[output, tap]
        if tile >= 0:
            if held[tile] == 0:
                more += width[tile]
            held[tile] += 1
    return more


@in_machine_code
def remove_tiles(tiles, width, held, output):  # type: ignore[no-untyped-def]
    """Take back `add_tiles`; returns the axons of the tiles that are not there any more."""
    less = 0
    for tap in range(tiles.shape[1]):
        tile = tiles[output, tap]
        if tile >= 0:
            held[tile] -= 1
            if held[tile] == 0:
                less += width[tile]
    return less


@in_machine_code
def most_beside(tiles, width, size, start, readers, axons, room, limit, budget, held, chosen, near, level_of, found):  # type: ignore[no-untyped-def]
    """Bound the neurons of a core that holds some of an output position, for each output position.

    All sets of output positions are tried that contain it and together read at most ``limit`` axons.

    Parameters
    ----------
    start, readers : (tiles + 1,), (entries,)
        The output positions that read each tile.
    axons : (output positions,)
        What each reads alone.
    room, limit, budget : int
        Neurons and axons of a core; sets to try for an output position, beyond which the bound is ``room``.
    held, chosen : scratch, (tiles,) and (output positions,); zero, -1
    near, level_of : scratch, (output positions,); the others that may be in a set, and the index of each that is
    found : (output positions, 2)
        Takes the bound, 0 where the output position itself reads too much; and 1 where no other can be beside it, else 0.
    """
    count = len(size)
    least = axons[0]
    for output in range(count):
        least = min(least, axons[output])
    for output in range(count):
        found[output, 0], found[output, 1] = 0, 0
        if axons[output] > limit:
            continue
        if axons[output] + least <= limit:  # others far away may be beside it
            found[output, 0] = room
            continue
        # whoever is beside it shares a tile with it
        union = add_tiles(tiles, width, held, output)
        beside = 0
        chosen[output] = output
        for tap in range(tiles.shape[1]):
            tile = tiles[output, tap]
            for k in range(start[tile], start[tile + 1]) if tile >= 0 else range(0):
                other = readers[k]
                if chosen[other] != output:
                    chosen[other] = output
                    more = add_tiles(tiles, width, held, other)
                    remove_tiles(tiles, width, held, other)
                    if union + more <= limit:
                        near[beside] = other
                        beside += 1
        best, tried = min(room, size[output]), 0
        neurons, depth, at = size[output], 0, 0
        while best < room and tried <= budget:
            if at == beside:  # no further one: take back the last
                if depth == 0:
                    break
                depth -= 1
                at = level_of[depth]
                union -= remove_tiles(tiles, width, held, near[at])
                neurons -= size[near[at]]
                at += 1
                continue
            tried += 1
            more = add_tiles(tiles, width, held, near[at])
            if union + more <= limit:
                union += more
                neurons += size[near[at]]
                best = max(best, min(room, neurons))
                level_of[depth] = at
                depth += 1
            else:
                remove_tiles(tiles, width, held, near[at])
            at += 1
        for level in range(depth):
            remove_tiles(tiles, width, held, near[level_of[level]])
        remove_tiles(tiles, width, held, output)
        found[output, 0] = room if tried > budget else best
        found[output, 1] = int(beside == 0)


@in_machine_code
def sources(tile_offset, tile_sources, tiles, tile, index, first_row, row, found):  # type: ignore[no-untyped-def]
    """List the sources of the axons of all cores, but for rows of their crossbars that are left out.

    Parameters
    ----------
    tile_offset, tile_sources : (tiles of the layer + 1,) and (axons of them,)
    tiles, tile : (tiles of the cores,) and (cores + 1,)
        The tiles of each core, and where they begin.
    index : (cores,)
        Which crossbar each core has.
    first_row, row : (crossbars + 1,) and (rows,)
        Where the rows of each crossbar begin, and whether they stay.
    found : (axons of the cores,)
        Takes the sources.

    Returns
    -------
    int
        The number of axons with those that are left out.
    """
    count, whole = 0, 0
    for core in range(len(index)):
        here = first_row[index[core]]
        for number in range(tile[core], tile[core + 1]):
            for k in range(tile_offset[tiles[number]], tile_offset[tiles[number] + 1]):
                if row[here]:
                    found[count] = tile_sources[k]
                    count += 1
                here += 1
        whole += here - first_row[index[core]]
    return whole
