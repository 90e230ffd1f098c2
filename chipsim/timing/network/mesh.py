"""Mesh, packets and the result of their simulation, as values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.chip.routes import LOCAL, WEST
from chipsim.errors import InputError

Int = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]


def within(sizes: Int) -> Int:
    """Return the index of each element within its run, for consecutive runs of these sizes."""
    return np.asarray(np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes))


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A mesh of routers, each with a core on its local side; the host sits at the west side of some.

    Routers are numbered y * width + x, y growing to the south. Terminals, where packets come from and go to, are the cores
    0 .. R-1 with their routers' numbers and the host's ports R .. R+P-1.
    """

    width: int
    height: int
    ports: tuple[tuple[int, int], ...] = ()  # x, y of the routers whose west side is the host's; x is 0
    buffer: int = 4  # flits of each input
    router_cycles: int = 2
    link_cycles: int = 1
    credit_cycles: int = 1
    #: output side for each router and router of destination, uint8 (R, R); None: first along x, then along y
    routes: npt.NDArray[np.uint8] | None = None

    @property
    def routers(self) -> int:
        """R."""
        return self.width * self.height

    @property
    def terminals(self) -> int:
        """R + P: cores, then ports."""
        return self.routers + len(self.ports)

    def router_of(self, terminal: npt.NDArray[np.integer]) -> Int:
        """Router at which each terminal sits."""
        ports = [y * self.width + x for x, y in self.ports]
        at: Int = np.concatenate([np.arange(self.routers), np.array(ports, np.int64)])
        return np.asarray(at[terminal])


def mesh_of(chip: ChipSpec, routes: npt.NDArray[np.uint8] | None = None, *, host: bool = True) -> Mesh:
    """Return the mesh of a chip, with the host at its ports or without a host.

    Raises
    ------
    InputError
        The chip says nothing of its timing, or has a port inside the mesh.
    """
    t = chip.timing
    if t is None:
        raise InputError(f"chip {chip.name!r}", "has no section timing; add one, or base: xbar1152", code="chip-untimed")
    for x, y in chip.ports if host else ():
        if x:
            raise InputError(
                f"chip {chip.name!r}",
                f"port ({x}, {y}) is inside the mesh; timing requires ports in column 0",
                code="chip-untimed",
                found=[x, y],
                allowed="[0, y]",
            )
    ports = chip.ports if host else ()
    return Mesh(*chip.grid, ports, t.buffer_flits, t.router_cycles, t.link_cycles, t.credit_cycles, routes)


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """The routes of multicast packets as trees that fork where the routes to their terminals part.

    A node is a flit in a router: 25 bits, five an output, the lowest of them set where a branch leaves; the nodes behind the
    outputs to the four neighbours; which destination of the tree is the core, which the host's port; the router.
    """

    nodes: Int32  # (nodes, 8)
    root: Int  # (trees + 1,): where each tree's nodes begin, the first at its source
    offset: Int  # (trees + 1,): where its destinations begin
    target: Int32  # (destinations,): terminals, ascending in each tree, none twice
    far: Int  # (destinations,): links from the root

    @property
    def links(self) -> Int:
        """(trees,): links between routers that a packet crosses, all its branches together."""
        return np.asarray(np.diff(self.root) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Packets by the terminal that sends them, each terminal's in the order in which it sends them."""

    offset: Int  # (terminals + 1,): where each terminal's packets begin
    ready: Int  # (packets,): the cycle before which a packet cannot be sent
    target: Int32  # (packets,): terminal; with trees the number of its tree
    trees: Trees | None = None

    def arrivals(self) -> tuple[Int, Int32]:
        """Where each packet's arrivals begin, (packets + 1,), and the terminal of each: as `Flow.ejected` has them."""
        if self.trees is None:
            return np.arange(len(self.target) + 1), self.target
        first, sizes = self.trees.offset[self.target], np.diff(self.trees.offset)[self.target]
        begin = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return begin, self.trees.target[np.repeat(first, sizes) + within(sizes)]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """The times of the packets of a `Traffic`, in its order, and counters of the routers.

    A flit is held by an input from the cycle in which it enters to that of its grant, both included.
    """

    sent: Int  # (packets,): cycle in which its source sent it
    ejected: Int  # (packets,): cycle in which it left the network; with trees (arrivals,), of each of its branches
    load: Int  # (R, 5): flits through each output; LOCAL to the core, WEST of a port's router to the host too
    stalls: Int  # (terminals,): cycles in which a packet was ready and there was no credit
    blocked: Int  # (R, 5): cycles in which a flit that wanted an output could have gone and did not
    queue_peak: Int  # (R, 5): most flits that each input held
    queue_cycles: Int  # (R, 5): flits that each input held, summed over the cycles
    mesh: Mesh

    @property
    def links(self) -> Int:
        """(R, 4): flits through each link between two routers, by the side at which they leave; 0 to the host."""
        found = self.load[:, :LOCAL].copy()
        found[:: self.mesh.width, WEST] = 0
        return found

    @property
    def traversals(self) -> int:
        """Hops between routers of all packets."""
        return int(self.links.sum())

    @property
    def busiest_link(self) -> int:
        """Flits through the busiest link between two routers."""
        return int(self.links.max(initial=0))

    @property
    def end(self) -> int:
        """Cycle of the last ejection; 0 without packets."""
        return int(self.ejected.max(initial=0))
