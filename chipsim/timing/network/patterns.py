"""Generate traffic for a mesh: synthetic patterns, or packets listed in a file."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from chipsim import paths
from chipsim.errors import InputError, UsageError
from chipsim.timing.network.mesh import Int, Mesh, Traffic

PATTERNS = ("uniform", "all-pairs", "transpose", "complement")
COLUMNS = ("source_x", "source_y", "destination_x", "destination_y", "cycle")
#: packets of one run: 28 bytes each
MOST_PACKETS = 1 << 26
_LATEST = 1 << 56
#: of a file of packets: some 8 million of them
MOST_BYTES = 128 << 20
#: random numbers that are drawn at a time
DRAWN = 1 << 22


def uniform(mesh: Mesh, rate: float, cycles: int, seed: int) -> Traffic:
    """Create a packet at each node with probability ``rate`` per cycle, to a uniformly random other node."""
    nodes = mesh.routers
    check_count(rate * nodes * cycles if nodes > 1 else 0)
    rng = np.random.default_rng(seed)
    ready = [_creations(rng, rate, cycles if nodes > 1 else 0) for _ in range(nodes)]
    numbers = np.array([len(times) for times in ready])
    source = np.repeat(np.arange(nodes), numbers)
    target = rng.integers(0, max(nodes - 1, 1), len(source))
    target += target >= source
    return _of_cores(mesh, numbers, np.concatenate(ready), target)


def all_pairs(mesh: Mesh, rate: float) -> Traffic:
    """One packet for each pair: node s sends to s + 1, s + 2, ... and around to s - 1, so that no two nodes begin alike."""
    nodes = mesh.routers
    check_count(nodes * (nodes - 1))
    if rate and (nodes - 1) / rate >= _LATEST:
        raise UsageError(
            "--rate", f"is {rate:g}: the last packet would be created after 2^56 cycles; allowed: 0, or a higher rate",
            code="option-value", found=rate,
        )  # fmt: skip
    step = np.arange(1, nodes)
    target = (np.arange(nodes)[:, None] + step) % nodes
    return _of_cores(mesh, np.full(nodes, nodes - 1), np.tile(_paced(nodes - 1, rate), nodes), target.ravel())


def transpose(mesh: Mesh) -> Traffic:
    """(x, y) sends to (y, x), the diagonal nothing."""
    if mesh.width != mesh.height:
        raise UsageError(
            "--traffic",
            f"transpose needs as many columns as rows; the mesh is {mesh.width}x{mesh.height}",
            code="option-value",
        )
    y, x = np.divmod(np.arange(mesh.routers), mesh.width)
    return _permutation(mesh, x * mesh.width + y)


def complement(mesh: Mesh) -> Traffic:
    """(x, y) sends to (width - 1 - x, height - 1 - y); with powers of two, all bits turned. A middle node sends nothing."""
    return _permutation(mesh, mesh.routers - 1 - np.arange(mesh.routers))


def from_file(mesh: Mesh, path: str) -> Traffic:
    """Read packets from a CSV file with the columns ``source_x,source_y,destination_x,destination_y,cycle``.

    A header with these names may stand on top; the cycle may be left out and is 0 then. A packet is created in its cycle;
    a source sends its own by cycle, those of one cycle in the order of the file.

    Raises
    ------
    InputError
        The file cannot be read, holds no packets, or a line says something else; the error names the line.
    """
    numbers = array("q", (number for row in _rows(mesh, path) for number in row))  # 24 bytes a packet, not 200
    rows = np.array(numbers, np.int64).reshape(-1, 3)
    if not len(rows):
        raise InputError(path, f"holds no packets; expected: lines of {','.join(COLUMNS)}", code="network-file")
    rows = rows[np.lexsort((rows[:, 2], rows[:, 0]))]
    return _of_cores(mesh, np.bincount(rows[:, 0], minlength=mesh.routers), rows[:, 2], rows[:, 1])


def one_at_a_time(traffic: Traffic, alone: Int) -> Traffic:
    """Make each packet ready when the previous one has left; ``alone`` is the time that each takes alone."""
    return replace(traffic, ready=np.cumsum(alone) - alone)


def _rows(mesh: Mesh, path: str) -> Iterator[tuple[int, int, int]]:
    """Source, target and cycle of each line."""
    try:
        text = paths.read(path, MOST_BYTES, "network-file").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(path, "is not UTF-8 text", code="network-file") from None
    lines = csv.reader(io.StringIO(text, newline=None))
    try:
        for row in lines:
            cells = [cell.strip() for cell in row]
            if not any(cells) or cells[0].startswith("#"):
                continue
            if tuple(cells) in (COLUMNS, COLUMNS[:4]):
                continue
            yield _packet(mesh, f"{path} line {lines.line_num}", cells)
    except csv.Error as error:
        raise InputError(f"{path} line {lines.line_num}", f"is not CSV: {error}", code="network-file") from None


def _packet(mesh: Mesh, where: str, cells: list[str]) -> tuple[int, int, int]:
    if len(cells) not in (4, 5) or not all(cell.isascii() and cell.isdecimal() and len(cell) < 20 for cell in cells):
        raise InputError(
            where,
            f"has {','.join(cells)[:60]!r}; expected: the whole numbers {','.join(COLUMNS)} (cycle may be left out)",
            code="network-file",
        )
    source_x, source_y, x, y, cycle = [int(cell) for cell in [*cells, "0"][:5]]
    for name, (at_x, at_y) in (("source", (source_x, source_y)), ("destination", (x, y))):
        if at_x >= mesh.width or at_y >= mesh.height:
            raise InputError(
                where,
                f"{name} ({at_x}, {at_y}) is not on the mesh; allowed: x below {mesh.width}, y below {mesh.height}",
                code="network-file",
                found=[at_x, at_y],
                allowed=[mesh.width, mesh.height],
            )
    if cycle >= _LATEST:
        raise InputError(where, f"cycle {cycle} is too late; allowed: below 2^56", code="network-file", found=cycle)
    return source_y * mesh.width + source_x, y * mesh.width + x, cycle


def check_count(packets: float) -> None:
    """Refuse more packets than fit in memory."""
    if packets > MOST_PACKETS:
        raise UsageError(
            "--traffic",
            f"has {packets:,.0f} packets; allowed: {MOST_PACKETS:,}. Use a smaller mesh or fewer packets",
            code="network-size",
            found=packets,
            allowed=MOST_PACKETS,
        )


def _creations(rng: np.random.Generator, rate: float, cycles: int) -> Int:
    """Cycles in which a node creates a packet; drawn some at a time, as there may be many more cycles than packets."""
    parts = [np.zeros(0, np.int64)]
    for first in range(0, cycles, DRAWN):
        parts.append(first + np.flatnonzero(rng.random(min(DRAWN, cycles - first)) < rate))
    return np.concatenate(parts)


def _paced(packets: int, rate: float) -> Int:
    """Cycles in which a source creates its packets: 1 / rate apart, on average."""
    return np.floor(np.arange(packets) / rate).astype(np.int64) if rate else np.zeros(packets, np.int64)


def _permutation(mesh: Mesh, target: Int) -> Traffic:
    moves = target != np.arange(mesh.routers)
    return _of_cores(mesh, moves.astype(np.int64), np.zeros(moves.sum(), np.int64), target[moves])


def _of_cores(mesh: Mesh, numbers: Int, ready: Int, target: Int) -> Traffic:
    """Traffic of the cores alone; the host's ports send nothing."""
    numbers = np.concatenate([[0], numbers, np.zeros(len(mesh.ports), np.int64)])
    return Traffic(np.cumsum(numbers).astype(np.int64), ready.astype(np.int64), target.astype(np.int32))
