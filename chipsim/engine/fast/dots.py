"""Lay out the encoder's blocks of pixels for `dot_kernel`, where the processor has instructions for their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.dot_kernel import BLOCK, VALUE, WAYS, Way
from chipsim.engine.fast.instructions import DOTS, TILES
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.memory import aligned
from chipsim.engine.fast.merge import Form
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.pixels import Graded, pixel_slots
from chipsim.engine.fast.plane_tables import PlaneTables
from chipsim.engine.fast.planes import planes_of
from chipsim.engine.fast.products import largest_weight, products_of
from chipsim.engine.fast.tables import Tables
from chipsim.mapping import Mapping

#: largest weight of a byte, and that of which two products with pixels fit 16 bits; and sums that 32 bits hold once more as
#: large
BYTE, SHORT, LARGEST = 127, 64, 1 << 30
#: the largest number of 16 bits
MOST = (1 << 15) - 1
#: rows up to which this is quicker than tiles, most of whose rows would be empty, and than products of bytes in 16 bits
FEW = 64


@dataclass(frozen=True, slots=True, eq=False)
class DotTables:
    """Records and weights of `dot_kernel`."""

    slots: int  # pixels, filled up
    blocks: Int  # (blocks, fields of BLOCK)
    rows: npt.NDArray[np.uint32]  # as many as are multiplied at a time after others, as the bytes before each pixel's
    weights: npt.NDArray[np.signedinteger]  # form by form, some columns after others, step by step
    bias: npt.NDArray[np.int32]  # (columns,): where sums begin
    of_column: npt.NDArray[np.uint32]  # (columns + 1,): first value of each
    records: npt.NDArray[np.uint32]  # (values, fields of VALUE)
    thresholds: npt.NDArray[np.signedinteger]  # what sums are to be beyond, in 16 or 32 bits
    sources: npt.NDArray[np.int64]  # (thresholds,): of the encoder
    steps: int  # of a block, at most
    way: str  # one of `WAYS`

    def kernel(self, *, losing: bool) -> str:
        """What executes it, where spikes are lost and where they are not."""
        return f"dots_{self.way}{8 * self.thresholds.itemsize}{'_lost' * losing}"


def dots(m: Mapping, tables: Tables, g: Graded, planes: PlaneTables | None, code: Code) -> DotTables | None:
    """Lay out the encoder; None where the processor or its weights do not allow it, or another way is quicker."""
    name, slots = code.target.lookup, pixel_slots(m)
    which = _way(g.forms, name)
    if which is None or LANES * slots >= 1 << 32:
        return None
    way = WAYS[which]
    columns = np.array([block.weights.shape[1] for block in g.blocks])
    begin = np.cumsum(columns) - columns
    column = begin[g.block] + g.column
    bias, thresholds = _thresholds(g, column, int(columns.sum()), centred=which != "pairs")
    weights = [_weights(form, way) for form in g.forms]
    size = np.array([each.nbytes for each in weights])
    steps = np.array([-(-len(block.pixels) // way.rows) for block in g.blocks])
    pixels = [np.resize(block.pixels, way.rows * many) for block, many in zip(g.blocks, steps.tolist(), strict=True)]
    record = [way.rows * (np.cumsum(steps) - steps), steps, (np.cumsum(size) - size)[g.form], begin, columns]
    assert len(record) == len(BLOCK)
    slot = tables.slot[g.value]
    none = np.zeros(len(slot), np.int64)
    first, many = (none, none) if planes is None else (planes.first[g.value], planes_of(g.size))
    values = np.stack([slot, g.first, g.size, first, many], axis=1)
    assert values.shape[1] == len(VALUE)
    laid = aligned((sum(each.size for each in weights),), weights[0].dtype)
    np.concatenate([each.reshape(-1) for each in weights], out=laid)
    return DotTables(
        slots=slots,
        blocks=np.stack(record, axis=1),
        rows=(LANES * np.concatenate(pixels)).astype(np.uint32),
        weights=laid,
        bias=np.append(-bias, np.zeros(way.columns, np.int64)).astype(np.int32),
        of_column=np.searchsorted(column, np.arange(int(columns.sum()) + 1)).astype(np.uint32),
        records=values.astype(np.uint32),
        thresholds=thresholds,
        sources=g.source.astype(np.int64),
        steps=int(steps.max()),
        way=which,
    )


def _way(forms: list[Form], name: str | None) -> str | None:
    """Which of `WAYS` forms of pixels take on a processor; None: another is quicker, or they take none."""
    rows = max(len(form.matrix) for form in forms)
    weight, most = max(map(largest_weight, forms)), max(form.largest for form in forms)
    if most >= LARGEST:
        return None
    if name in DOTS:
        return "quads" if weight <= BYTE and (name not in TILES or rows <= FEW) else None
    if name != "avx2":
        return None
    if weight <= SHORT and most < MOST:
        return "pairs"
    return "wide" if rows <= FEW or all(products_of(form, name).wide for form in forms) else None


def _thresholds(g: Graded, column: Int, columns: int, *, centred: bool) -> tuple[Int, npt.NDArray[np.signedinteger]]:
    """Middles of columns, and what a sum less its column's middle is to be beyond; in 16 bits, if that tells all apart.

    A number of 32 bits, or the nearest of 16, is beyond the same thresholds of 16 bits. Sums that are not ``centred`` fit
    16 bits, and have no middle.
    """
    owner, never = np.repeat(column, g.size), np.repeat(g.largest[g.block], g.size) < g.threshold
    least, most = np.full(columns, LARGEST), np.full(columns, -LARGEST)
    np.minimum.at(least, owner[~never], g.threshold[~never])
    np.maximum.at(most, owner[~never], g.threshold[~never])
    middle = np.where((most >= least) & centred, (least + most) // 2, 0)
    beyond = np.where(never, 1 << 40, g.threshold - 1 - middle[owner])
    reach = beyond[~never]
    if reach.min(initial=0) >= -MOST - 1 and reach.max(initial=0) < MOST:
        return middle, np.minimum(beyond, MOST).astype(np.int16)
    return middle, np.minimum(beyond, (1 << 31) - 1).astype(np.int32)


def _weights(form: Form, way: Way) -> npt.NDArray[np.signedinteger]:
    """Weights of some columns after others, step by step, each column's side by side; filled up with zeros."""
    rows, columns = form.matrix.shape
    kind = np.dtype(f"i{way.weights // way.rows // 8}")
    filled = np.zeros((-(-rows // way.rows) * way.rows, -(-columns // way.columns) * way.columns), kind)
    filled[:rows, :columns] = form.matrix
    grouped = filled.reshape(-1, way.rows, filled.shape[1] // way.columns, way.columns)
    return np.ascontiguousarray(grouped.transpose(2, 0, 3, 1))
