"""What configuration words leave in the cores: registers, activation table and the 4,096 rows of each.

Nothing here knows layers. `load` reads a stream of words as the chip would, `records` a core's memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chipsim.paicore import words as w
from chipsim.paicore.fields import Int, Words

ROWS = 4096


class WordError(ValueError):
    """Configuration words that the chip does not take; ``word`` is the number of the word at fault."""

    def __init__(self, text: str, word: int | None = None) -> None:
        super().__init__(text if word is None else f"word {word}: {text}")
        self.word = word


@dataclass(frozen=True, slots=True, eq=False)
class CoreMemory:
    """A configured core."""

    x: int
    y: int
    registers: dict[str, int]
    rows: Words  # (4096, 2)
    table: Words  # (256,)
    written: int  # rows from 0 that the words set
    table_set: bool


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A neuron record: parameters, and the neurons (one a position of its fold) that share them and a weight vector."""

    row: int  # of Part 1
    rows: int  # Part 1, Part 2 if full, fold row and potentials
    part1: dict[str, int]
    part2: dict[str, int]  # its own, or those of the last full record
    part2_row: int
    fold: dict[str, int] | None
    offset: Int  # (n,) lowest input bit that index 0 of the weights means, for each neuron
    address: Int  # (n,) bit address in the input map of the destination
    initial: Int  # (n,) potentials as the words set them

    @property
    def neurons(self) -> int:
        """Positions of the fold, or 1."""
        return len(self.offset)


def frames(words: Words) -> Iterable[tuple[int, dict[str, int], Words]]:
    """Split configuration words into frames.

    Yields
    ------
    tuple
        Number of the header's word, the header's fields and the words behind it.

    Raises
    ------
    WordError
        A header that is none of CONFIG1 to CONFIG3, or a frame cut short.
    """
    at = 0
    while at < len(words):
        header = w.HEADER.one(words[at : at + 1])
        if header["header"] > w.CONFIG_MEMORY or header["package_type"]:
            raise WordError("is no header of a configuration frame", at)
        stop = at + 1 + header["count"]
        if not header["count"] or stop > len(words):
            raise WordError(f"announces {header['count']} words; {len(words) - at - 1} follow", at)
        yield at, header, words[at + 1 : stop]
        at = stop


def load(words: Words) -> list[CoreMemory]:
    """Execute configuration words.

    Parameters
    ----------
    words : ndarray, uint64, (W,)

    Returns
    -------
    list of CoreMemory
        In the order of their first words.

    Raises
    ------
    WordError
    """
    registers: dict[tuple[int, int], Words] = {}
    rows: dict[tuple[int, int], Words] = {}
    tables: dict[tuple[int, int], Words] = {}
    written: dict[tuple[int, int], int] = {}
    for at, header, payload in frames(words):
        if header["copies_x"] or header["copies_y"] or header["copies_z"]:
            raise WordError("configures several cores at once; here each has frames of its own", at)
        place = (header["x"] + header["z"], header["y"] + header["z"])
        if header["header"] == w.CONFIG_REGISTERS:
            if header["start"] or len(payload) != w.REGISTER_WORDS:
                raise WordError(f"configures {len(payload)} registers words; allowed: {w.REGISTER_WORDS} from 0", at)
            if place in registers:
                raise WordError(f"configures core {place} again; allowed: once, before its other frames", at)
            registers[place] = payload
            rows[place] = np.zeros((ROWS, 2), np.uint64)
            tables[place] = np.zeros(w.TABLE_ENTRIES, np.uint64)
            written[place] = 0
            continue
        if place not in registers:
            raise WordError(f"writes into core {place}, which no CONFIG1 frame came before", at)
        start = header["start"] * (w.START_ROWS if header["header"] == w.CONFIG_MEMORY else 1)
        if header["header"] == w.CONFIG_TABLE:
            if start or len(payload) != w.TABLE_ENTRIES:
                raise WordError(f"writes {len(payload)} entries of a table; allowed: {w.TABLE_ENTRIES} from 0", at)
            tables[place] = payload
            continue
        if len(payload) % 2 or start + len(payload) // 2 > ROWS:
            raise WordError(f"writes {len(payload)} words from row {start}; allowed: whole rows up to {ROWS}", at)
        rows[place][start : start + len(payload) // 2] = payload.reshape(-1, 2)
        written[place] = max(written[place], start + len(payload) // 2)
    return [
        CoreMemory(x, y, w.REGISTERS.one(registers[x, y]), rows[x, y], tables[x, y], written[x, y], bool(tables[x, y].any()))
        for x, y in registers
    ]


def records(core: CoreMemory) -> list[Record]:
    """Neuron records of a core, from row 0 to ``neuron_number``.

    Raises
    ------
    WordError
        A record that goes beyond ``neuron_number``, a half record before any full one, or an impossible fold.
    """
    end = core.registers["neuron_number"]
    if end > ROWS:
        raise WordError(f"neuron_number is {end}; allowed: at most {ROWS}")
    found: list[Record] = []
    part2: dict[str, int] | None = None
    part2_row = -1
    row = 0
    while row < end:
        first = row
        part1 = w.PART1.one(core.rows[row])
        row += 1
        if part1["full"]:
            _within(row + 1, end, first)
            part2, part2_row = w.PART2.one(core.rows[row]), row
            row += 1
        if part2 is None:
            raise WordError(f"row {first} begins a half record, and no full one came before")
        offset, step = np.zeros(1, np.int64), np.zeros(1, np.int64)
        initial = np.array([part1["potential"]], np.int64)
        fold = None
        if part1["folded"]:
            _within(row + 1, end, first)
            fold = w.FOLD.one(core.rows[row])
            stored = -(-(fold["number"] - 1) // 4)
            _within(row + 1 + stored, end, first)
            offset = transitions(fold, "skew", first)
            step = transitions(fold, "axon", first)
            values = w.POTENTIALS.unpack(core.rows[row + 1 : row + 1 + stored])
            rest = np.stack(list(values.values()), axis=1).reshape(-1)[: fold["number"] - 1]
            initial = np.concatenate([initial, rest])
            row += 1 + stored
        address = (part1["tick_relative"] * 512 + part1["axon"] + step) % (256 * 512)
        found.append(Record(first, row - first, part1, part2, part2_row, fold, offset + part1["skew"], address, initial))
    return found


def _within(stop: int, end: int, first: int) -> None:
    if stop > end:
        raise WordError(f"the record of row {first} goes beyond row {end - 1}, the last that neuron_number allows")


def transitions(fold: dict[str, int], of: str, row: int = 0) -> Int:
    """Where the neurons of a fold read or send to, relative to the first.

    Steps are increments from one neuron to the next, not strides: Y from one to the next, X where Y begins anew, XY where
    X does.

    Returns
    -------
    ndarray, int64, (number,)
    """
    y, x, xy = fold["range_y"], fold["range_x"], fold["range_xy"]
    if not 1 <= fold["number"] <= y * x * xy:
        raise WordError(f"the fold of row {row} has {fold['number']} neurons in {y} * {x} * {xy} positions")
    at = np.arange(1, fold["number"], dtype=np.int64)
    step = np.full(len(at), fold[f"{of}_y"], np.int64)
    step[at % y == 0] = fold[f"{of}_x"]
    step[at % (y * x) == 0] = fold[f"{of}_xy"]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(step)])


def weights(core: CoreMemory, start: int, end: int, compressed: bool) -> tuple[Int, Int]:
    """A weight vector: input elements, relative to a neuron's first, and weights that are not zero.

    Parameters
    ----------
    start, end : int
        First and last row; none where ``end`` is before ``start``.

    Returns
    -------
    element, weight : ndarray, int64, (n,)
        ``element`` counts inputs of ``input_width`` bits; the same may stand there twice, and both count.

    Raises
    ------
    WordError
        A compressed index that is no whole number of inputs.
    """
    bits, width = w.WIDTHS[core.registers["weight_width"]], w.WIDTHS[core.registers["input_width"]]
    signed = bool(core.registers["weight_sign"])
    if end < start:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows = core.rows[start : end + 1]
    if compressed:
        index, value = w.unpack_csc(rows, bits, signed)
    else:
        value = w.unpack_dense(rows, bits, signed)
        index = np.arange(len(value), dtype=np.int64) * width
    there = value != 0
    index, value = index[there], value[there]
    if (index % width).any():
        raise WordError(f"weights of rows {start} to {end} have an index that is no multiple of {width} bits")
    return index // width, value
