"""The words of PAICORE 2.5: each kind with its fields by name.

Positions of fields are facts of the chip, read from the register tables of paicorelib 2.0.0 (``framelib/frame_defs.py``);
``FORMAT.md`` beside this file lists them. Two-word layouts are rows of a core's memory: low word first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.paicore.fields import Field, Int, Layout, Sign, Words

# header of a frame: bits 63..60
CONFIG_REGISTERS, CONFIG_TABLE, CONFIG_MEMORY, CONFIG_INPUT = 0, 1, 2, 3
WORK_DATA, WORK_POTENTIAL = 8, 10  # bit 60 of these two is bit 7 of the slot
SYNC, INIT, COMPLETE = 12, 13, 14

#: words behind the header of a CONFIG1 frame, entries of a CONFIG2 frame
REGISTER_WORDS, TABLE_ENTRIES = 3, 256
#: rows that one step of the start address of a CONFIG3 frame stands for
START_ROWS = 8
#: registers hold the width of a number as this code
WIDTH_CODE = {1: 0, 2: 1, 4: 2, 8: 3}
WIDTHS = (1, 2, 4, 8)
#: weights of a compressed row, by their bits, and where their 16-bit indices begin in the low word
CSC_LANES = {1: 7, 2: 7, 4: 6, 8: 5}
CSC_SHIFT = {1: 16, 2: 16, 4: 32, 8: 48}
#: directions of ``global_send`` and ``global_receive``: (dx, dy) to bit; the receiver sets the bit of the way back
DIRECTIONS = {(1, 1): 5, (-1, -1): 4, (1, 0): 3, (-1, 0): 2, (0, 1): 1, (0, -1): 0}
#: bit of ``global_send`` of a core that takes part
PARTICIPANT = 6
#: byte k of a potential that is sent arrives at axon + LANE * k
LANE = 8


def _field(name: str, word: int, lowest: int, bits: int, sign: Sign = "unsigned") -> Field:
    return Field(name, ((word, lowest, bits),), sign)


ROUTE = (
    _field("z", 0, 54, 6, "magnitude"),
    _field("x", 0, 48, 6, "magnitude"),
    _field("y", 0, 42, 6, "magnitude"),
    _field("copies_z", 0, 36, 6, "magnitude"),
    _field("copies_x", 0, 30, 6, "magnitude"),
    _field("copies_y", 0, 24, 6, "magnitude"),
)

#: first word of a CONFIG frame; ``count`` words follow it
HEADER = Layout(
    "header",
    1,
    (
        _field("header", 0, 60, 4),
        *ROUTE,
        _field("package_type", 0, 23, 1),
        _field("start", 0, 14, 9),
        _field("count", 0, 0, 14),
    ),
)

#: a spike, a value or a byte of a potential
WORK = Layout(
    "work",
    1,
    (
        _field("kind", 0, 61, 3),  # 4: data, 5: a byte of a potential
        *ROUTE,
        Field("slot", ((0, 17, 7), (0, 60, 1))),
        _field("axon", 0, 8, 9),
        _field("data", 0, 0, 8),
    ),
)

#: SYNC: steps to run; COMPLETE: the thread that has finished; INIT: 0
CONTROL = Layout("control", 1, (_field("header", 0, 60, 4), *ROUTE, _field("number", 0, 0, 24)))

REGISTERS = Layout(
    "registers",
    REGISTER_WORDS,
    (
        _field("snn_ann", 0, 63, 1),
        _field("max_pooling", 0, 62, 1),
        _field("add_potential", 0, 61, 1),
        _field("zero_output", 0, 60, 1),
        _field("input_sign", 0, 59, 1),
        _field("input_width", 0, 57, 2),
        _field("output_sign", 0, 56, 1),
        _field("output_width", 0, 54, 2),
        _field("weight_sign", 0, 53, 1),
        _field("weight_width", 0, 51, 2),
        _field("lcn", 0, 47, 4),
        _field("target_lcn", 0, 43, 4),
        _field("axon_skew", 0, 27, 16, "signed"),
        _field("neuron_number", 0, 14, 13),
        _field("test_core_z", 0, 8, 6, "magnitude"),
        _field("test_core_x", 0, 2, 6, "magnitude"),
        Field("test_core_y", ((1, 60, 4), (0, 0, 2)), "magnitude"),
        _field("global_send", 1, 53, 7),
        _field("csc_accelerate", 1, 52, 1),
        _field("global_receive", 1, 46, 6),
        _field("thread_number", 1, 36, 10),
        _field("busy_cycle", 1, 24, 12),
        _field("delay_cycle", 1, 8, 16),
        _field("width_cycle", 1, 0, 8),
        _field("tick_start", 2, 48, 16),
        _field("tick_duration", 2, 16, 32),
        _field("tick_initial", 2, 0, 16),
    ),
)

#: an entry of the activation table
TABLE = Layout("table", 1, (_field("threshold", 0, 8, 32, "signed"), _field("value", 0, 0, 8)))

#: first row of a neuron record
PART1 = Layout(
    "part1",
    2,
    (
        _field("potential", 0, 0, 32, "signed"),
        _field("full", 0, 32, 1),
        _field("folded", 0, 33, 1),
        _field("output_potential", 0, 34, 1),
        _field("weight_end", 0, 35, 12),
        _field("weight_start", 0, 47, 12),
        Field("skew", ((0, 59, 5), (1, 0, 11))),
        _field("copies_y", 1, 11, 6, "magnitude"),
        _field("copies_x", 1, 17, 6, "magnitude"),
        _field("copies_z", 1, 23, 6, "magnitude"),
        _field("y", 1, 29, 6, "magnitude"),
        _field("x", 1, 35, 6, "magnitude"),
        _field("z", 1, 41, 6, "magnitude"),
        _field("axon", 1, 47, 9),
        _field("tick_relative", 1, 56, 8),
    ),
)

#: second row of a full record: the parameters, which half records after it share
PART2 = Layout(
    "part2",
    2,
    (
        _field("initial", 0, 0, 12, "signed"),
        _field("compressed", 0, 12, 1),
        _field("leak", 0, 13, 20, "signed"),
        _field("leak_tau", 0, 33, 6, "signed"),
        _field("leak_add_mode", 0, 39, 1),
        _field("leak_multi_mode", 0, 40, 1),
        _field("leak_multi_input", 0, 41, 1),
        _field("leak_multi_sequence", 0, 42, 1),
        _field("lateral_inhibition", 0, 43, 1),
        Field("threshold", ((0, 44, 20), (1, 0, 12)), "signed"),
        _field("negative_threshold", 1, 12, 32, "signed"),
        _field("floor", 1, 45, 1),  # negative threshold: 0 fires, 1 is a floor
        _field("ceiling", 1, 44, 1),  # positive threshold: 0 fires, 1 is a ceiling
        _field("reset", 1, 46, 16, "signed"),
        _field("reset_mode", 1, 62, 2),  # 0: to ``reset``, 1: less the threshold, 2: none
    ),
)

#: the fold row of a folded record
FOLD = Layout(
    "fold",
    2,
    (
        _field("number", 0, 0, 29),
        _field("axon_y", 0, 29, 11),
        _field("axon_x", 0, 40, 11),
        _field("axon_xy", 0, 51, 11),
        Field("skew_y", ((0, 62, 2), (1, 0, 9))),
        _field("skew_x", 1, 9, 11),
        _field("skew_xy", 1, 20, 11),
        _field("range_y", 1, 31, 11),
        _field("range_x", 1, 42, 11),
        _field("range_xy", 1, 53, 11),
    ),
)

#: four potentials of a folded record
POTENTIALS = Layout("potentials", 2, tuple(_field(f"potential_{k}", k // 2, 32 * (k % 2), 32, "signed") for k in range(4)))


def pack_dense(weights: Int, bits: int) -> Words:
    """Weight rows of a vector, weight k at bit k * bits of the rows.

    Parameters
    ----------
    weights : ndarray, int64, (n,)
        Two's complement of ``bits``, or for one bit 0 and 1.

    Returns
    -------
    ndarray, uint64, (ceil(n * bits / 128), 2)
    """
    lanes = 64 // bits
    padded = np.zeros(-(-len(weights) // (2 * lanes)) * 2 * lanes, np.uint64)
    padded[: len(weights)] = (weights & ((1 << bits) - 1)).astype(np.uint64)
    shifts = (np.arange(lanes) * bits).astype(np.uint64)
    return np.asarray(np.bitwise_or.reduce(padded.reshape(-1, lanes) << shifts, axis=1).reshape(-1, 2))


def unpack_dense(rows: Words, bits: int, signed: bool) -> Int:
    """Weights of dense rows, int64 (rows * 128 / bits,)."""
    shifts = (np.arange(64 // bits) * bits).astype(np.uint64)
    raw = (rows.reshape(-1, 1) >> shifts) & np.uint64((1 << bits) - 1)
    return _signed(raw.reshape(-1).astype(np.int64), bits, signed)


def pack_csc(index: Int, weights: Int, bits: int) -> Words:
    """Compressed weight rows: pairs of a bit address and a weight that is not zero.

    Parameters
    ----------
    index, weights : ndarray, int64, (n,)
        Index 0 .. 65,535: the address of the input's lowest bit, relative to the record's skew.

    Returns
    -------
    ndarray, uint64, (ceil(n / lanes), 2)
    """
    lanes = CSC_LANES[bits]
    count = -(-len(weights) // lanes)
    values, at = np.zeros((count, lanes), np.uint64), np.zeros((count, lanes), np.uint64)
    values.reshape(-1)[: len(weights)] = (weights & ((1 << bits) - 1)).astype(np.uint64)
    at.reshape(-1)[: len(index)] = index.astype(np.uint64)
    low = np.bitwise_or.reduce(values << (np.arange(lanes) * bits).astype(np.uint64), axis=1)
    shifts = (CSC_SHIFT[bits] + np.arange(lanes - 4) * 16).astype(np.uint64)
    low |= np.bitwise_or.reduce(at[:, : lanes - 4] << shifts, axis=1)
    high = np.bitwise_or.reduce(at[:, lanes - 4 :] << (np.arange(4) * 16).astype(np.uint64), axis=1)
    return np.stack([low, high], axis=1)


def unpack_csc(rows: Words, bits: int, signed: bool) -> tuple[Int, Int]:
    """Indices and weights of compressed rows, both int64 (rows * lanes,); a weight of 0 is an empty lane."""
    lanes = CSC_LANES[bits]
    low, high = rows[:, :1], rows[:, 1:]
    raw = (low >> (np.arange(lanes) * bits).astype(np.uint64)) & np.uint64((1 << bits) - 1)
    shifts = (CSC_SHIFT[bits] + np.arange(lanes - 4) * 16).astype(np.uint64)
    first = (low >> shifts) & np.uint64(0xFFFF)
    rest = (high >> (np.arange(4) * 16).astype(np.uint64)) & np.uint64(0xFFFF)
    index = np.concatenate([first, rest], axis=1).reshape(-1).astype(np.int64)
    return index, _signed(raw.reshape(-1).astype(np.int64), bits, signed)


def _signed(raw: Int, bits: int, signed: bool) -> Int:
    half = 1 << (bits - 1)
    return np.asarray((raw ^ half) - half) if signed else raw


def work_words(address: npt.ArrayLike, data: npt.ArrayLike, route: dict[str, int]) -> Words:
    """Data frames for bit addresses of an input map, uint64 (n,): slot = address // 512, axon = address % 512."""
    at = np.asarray(address, np.int64)
    return WORK.pack({"kind": WORK_DATA >> 1, "slot": at // 512, "axon": at % 512, "data": data, **route})[..., 0]
