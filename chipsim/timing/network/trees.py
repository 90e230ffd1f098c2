"""Build the trees of multicast packets, and time each packet as if it were alone.

A tree grows from the ways of its destinations: a way that goes on as an earlier one did shares its nodes, and where it parts
a branch begins. So each destination is reached by the way that a packet to it alone would take, with or without a table of
routes. Ways from one router first along x, then along y never meet again once they have parted; ways of a table may, and
then a link is crossed by both branches.
"""

from __future__ import annotations

import numpy as np

from chipsim.chip.routes import LOCAL, WEST
from chipsim.compiled import compiled
from chipsim.errors import InputError
from chipsim.timing.network.layout import NODE_WORDS, TO_CORE, TO_HOST, TO_ROUTER, TO_SIDE, Y, beyond, ends
from chipsim.timing.network.mesh import Flow, Int, Int32, Mesh, Traffic, Trees, within
from chipsim.timing.network.pieces import output


def grow(mesh: Mesh, root: Int, offset: Int, target: Int32) -> Trees:
    """Return the trees from routers to sets of terminals.

    Parameters
    ----------
    root : ndarray, int64, (trees,)
        Router in which each begins.
    offset, target : ndarray, int64 (trees + 1,) and int32
        The terminals of each, ascending, none twice, at least one.

    Raises
    ------
    InputError
        The table of routes leads nowhere.
    """
    routes = np.zeros((0, 0), np.uint8) if mesh.routes is None else np.ascontiguousarray(mesh.routes)
    _, _, place_of = ends(mesh)
    steps = beyond(mesh, 1).reshape(-1, 4)[:, 1].copy()
    nodes, begin, far, lost = _grow(
        root.astype(np.int64), offset.astype(np.int64), target.astype(np.int32), mesh.routers, mesh.width, routes,
        place_of, steps,
    )  # fmt: skip
    if lost >= 0:
        raise InputError(
            "network",
            f"a packet to terminal {lost} never arrives: the routing table does not lead there",
            code="network-routes",
        )
    return Trees(nodes, begin, offset.astype(np.int64), target.astype(np.int32), far)


def plant(mesh: Mesh, packet: Int, root: Int, target: Int) -> tuple[Int, Int, Trees]:
    """Return the trees of some packets, each distinct one once.

    Parameters
    ----------
    packet : ndarray, int64, (entries,)
        Any number of the packet to which an entry belongs.
    root : ndarray, int64, (entries,)
        Router in which that packet begins, the same for all of its entries.
    target : ndarray, int64, (entries,)
        A terminal to which it goes; it may stand there twice, and is reached once.

    Returns
    -------
    packets, number, trees : ndarray, ndarray, Trees
        Each packet once, ascending, and the number of its tree.
    """
    terminals = mesh.terminals
    pairs, first = np.unique(packet * terminals + target, return_index=True)
    sender, members = np.divmod(pairs, terminals)
    root = root[first]
    begin = np.flatnonzero(np.diff(sender, prepend=-1))
    senders, sizes = sender[begin], np.diff(begin, append=len(sender))
    # sets that are the same have the same sums of random words; that they are is checked below
    words = np.random.default_rng(0).integers(0, 1 << 63, (2, terminals), dtype=np.int64)
    sums = (np.add.reduceat(word[members], begin) if len(begin) else begin for word in words)
    keys = np.stack([root[begin], sizes, *sums])
    order = np.lexsort(keys)
    new = np.ones(len(order), bool)
    new[1:] = (keys[:, order[1:]] != keys[:, order[:-1]]).any(axis=0)
    example, number = order[new], np.empty(len(order), np.int64)
    number[order] = np.cumsum(new) - 1
    offset = np.concatenate([[0], np.cumsum(sizes[example])]).astype(np.int64)
    found = members[np.repeat(begin[example], sizes[example]) + within(sizes[example])].astype(np.int32)
    assert (found[np.repeat(offset[number], sizes) + within(sizes)] == members).all(), "two sets look alike"
    return senders, number, grow(mesh, root[begin[example]], offset, found)


def forked(mesh: Mesh, traffic: Traffic) -> Traffic:
    """Merge the packets that a terminal creates in the same cycle into one multicast packet."""
    source = np.repeat(np.arange(mesh.terminals), np.diff(traffic.offset))
    new = (np.diff(source, prepend=-1) != 0) | (np.diff(traffic.ready, prepend=-1) != 0)
    _, number, trees = plant(mesh, np.cumsum(new), mesh.router_of(source), traffic.target.astype(np.int64))
    begin = np.flatnonzero(new)
    offset = np.searchsorted(begin, traffic.offset).astype(np.int64)
    return Traffic(offset, traffic.ready[begin], number.astype(np.int32), trees)


def alone(mesh: Mesh, traffic: Traffic) -> Flow:
    """Return what `ideal` returns, for multicast packets."""
    trees = traffic.trees
    assert trees is not None
    packets = len(traffic.ready)
    begin, _ = traffic.arrivals()
    sent, used = np.empty(packets, np.int64), np.zeros(len(trees.root) - 1, np.int64)
    ejected, load = np.empty(begin[-1], np.int64), np.zeros((mesh.routers, 5), np.int64)
    each = mesh.router_cycles + mesh.link_cycles
    _alone(
        traffic.offset, traffic.ready, traffic.target, begin, trees.nodes, trees.root, trees.offset, trees.far,
        2 + mesh.router_cycles, each, sent, used, ejected, load,
    )  # fmt: skip
    none = np.zeros((mesh.routers, 5), np.int64)
    return Flow(sent, ejected, load, np.zeros(mesh.terminals, np.int64), none, none, none, mesh)


@compiled
def _grow(  # type: ignore[no-untyped-def]  # pragma: no cover
    root, offset, target, routers, width, routes, place_of, steps
):  # fmt: skip
    """Nodes, where each tree's begin, links to each destination, and -1 or a terminal that no way leads to."""
    trees = len(root)
    nodes = np.zeros((max(1024, 8 * trees), NODE_WORDS), np.int32)
    begin = np.zeros(trees + 1, np.int64)
    far = np.zeros(len(target), np.int64)
    count = 0
    for tree in range(trees):
        begin[tree] = count
        for d in range(offset[tree], offset[tree + 1]):
            here = root[tree]
            node = begin[tree]
            goal = place_of[target[d]]
            leaves = np.int64(LOCAL) if target[d] < routers else np.int64(WEST)
            fresh = node == count  # the root, or a node that a branch has just begun
            while True:
                if fresh:
                    if count == len(nodes):
                        more = np.zeros((2 * count, NODE_WORDS), np.int32)
                        more[:count] = nodes
                        nodes = more
                    nodes[count, TO_ROUTER] = here
                    count += 1
                    fresh = False
                x = here % width
                y = here // width
                place = (y << Y) + x
                out = output(routes, width, leaves, place, goal, here)
                if out > LOCAL or far[d] > routers:
                    return nodes, begin, far, np.int64(target[d])
                nodes[node, 0] |= 1 << (5 * out)
                if place == goal:
                    nodes[node, TO_CORE if out == LOCAL else TO_HOST] = d - offset[tree]
                    break
                if out == LOCAL or (x == width - 1, x == 0, y == 0, y == routers // width - 1)[out]:
                    return nodes, begin, far, np.int64(target[d])
                here += steps[out]
                far[d] += 1
                if nodes[node, TO_SIDE + out] == 0:  # no branch leads to the first root
                    nodes[node, TO_SIDE + out] = count
                    fresh = True
                node = np.int64(nodes[node, TO_SIDE + out])
    begin[trees] = count
    return nodes[:count].copy(), begin, far, np.int64(-1)


@compiled
def _alone(  # type: ignore[no-untyped-def]  # pragma: no cover
    offset, ready, target, begin, nodes, root, first, far, least, each, sent, used, ejected, load
):  # fmt: skip
    """Times of each packet and its branches; the loads of each tree as often as it is used."""
    for terminal in range(len(offset) - 1):
        time = np.int64(-1)
        for packet in range(offset[terminal], offset[terminal + 1]):
            time = max(time + 1, ready[packet])
            sent[packet] = time
            tree = target[packet]
            used[tree] += 1
            for d in range(begin[packet + 1] - begin[packet]):
                ejected[begin[packet] + d] = time + least + each * far[first[tree] + d]
    for tree in range(len(used)):
        for node in range(root[tree], root[tree + 1]) if used[tree] else range(0):
            for out in range(5):
                if nodes[node, 0] >> (5 * out) & 1:
                    load[nodes[node, TO_ROUTER], out] += used[tree]
