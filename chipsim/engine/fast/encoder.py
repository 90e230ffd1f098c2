"""Split the encoder: onnxruntime computes the linear part, thresholds replace the elementwise end.

``encoder.onnx`` ends in a chain of operators that act on each element alone and never fall (or never rise): scale, batch
norm, round, clip and the like. Each of them is monotone in floating point too, because rounding is. So the level of a
feature is how many thresholds its input reaches, and a threshold is found by bisection over all finite float32 numbers, on
onnxruntime's own chain with optimisation off, at one place of each channel. What is found is then tried at every feature's
own place: at and just below every threshold, at other batch sizes, and at the ends of the number line. Where that fails the
search is made at every place; where it fails again, or the chain has an operator that is not on the list, the whole
encoder is run.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim import onnx_runtime
from chipsim.engine.fast.exact import quick_session
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.pixels import Block, Operator, blocks, operator
from chipsim.engine.host import Host, session
from chipsim.errors import MappingError
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import NO_LEVEL
from chipsim.monotone import is_monotone

Floats = npt.NDArray[np.float32]

#: images that onnxruntime is given at a time: its result then stays near the processor
AT_ONCE = 16
#: thresholds that are worth the search
MOST = 1 << 23
#: what the search depends on
_SOURCES = ("encoder.py", "exact.py", "pixels.py", "../host.py", "../../monotone.py")


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """The encoder's levels as thresholds on an output of onnxruntime.

    The level of feature j is how many of ``thresholds[:, j]`` the graded tensor's element, its sign flipped where
    ``signs[j]`` says so, reaches.
    """

    linear: Callable[[], Any]  # the session that makes the graded tensor; None where the images are it
    quick: Callable[[], Any]  # the same bits sooner, on images that are pixels; None where that is not proved
    source: str
    tensor: str
    shape: tuple[int, ...]  # of the graded tensor, one image
    single: bool  # the model takes one image only
    thresholds: Floats  # (levels, features filled up)
    signs: npt.NDArray[np.uint32]  # (features filled up,): the sign bit or 0
    integers: tuple[list[Block], float] | None = None  # of pixels; see `pixels`
    whole: Encoder | None = None  # where the chain was cut: the encoder as it is, for what is not a finite number

    @property
    def split(self) -> bool:
        """Whether the encoder was split."""
        return self.whole is not None


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Where an encoder is cut, and the thresholds behind the cut."""

    tensor: str
    shape: tuple[int, ...]  # of one image
    part: bytes | None  # the model before the cut; None: the images are the tensor
    thresholds: Floats  # (levels, features)
    signs: npt.NDArray[np.uint32]  # (features,)
    operator: Operator | None  # what the part is in integers


def find_encoder(m: Mapping, host: Host, features: int, code: Code | None = None) -> Encoder:
    """Split the encoder if the split is proved bit-exact; otherwise run it whole.

    Parameters
    ----------
    features : int
        How many there are, filled up.
    code : Code, optional
        Where what was found is kept beside the code, for the same encoder on the same machine.
    """
    levels, count = m.encoder.levels, m.encoder_neurons // m.encoder.levels
    signs = np.zeros(features, np.uint32)
    whole = np.full((levels, features), np.nan, np.float32)
    whole[:, :count] = np.arange(1, levels + 1, dtype=np.float32)[:, None]
    if m.encoder_onnx is None or m.input.code == "computed":
        return Encoder(_nothing, _nothing, m.input.name, "", m.input.shape, False, whole, signs)
    single = host.encoder.get_inputs()[0].shape[0] == 1
    given = Encoder(lambda: host.encoder, _nothing, m.input.name, "levels", m.encoder.shape, single, whole, signs)
    if levels * count > MOST or m.input.dtype != "float32":
        return given
    try:
        split = _search(m, single) if code is None else _kept(m, single, code)
        return given if split is None else _encoder(m, given, split)
    except Exception:  # noqa: BLE001  # a part that onnxruntime does not take alone, whatever it raises: run the whole
        return given


def _nothing() -> None:
    return None


def _encoder(m: Mapping, whole: Encoder, split: Split) -> Encoder:
    """The encoder that is cut; sessions are only made where it does not run in integers."""
    thresholds, signs = np.full_like(whole.thresholds, np.nan), np.zeros_like(whole.signs)
    thresholds[:, : split.thresholds.shape[1]], signs[: len(split.signs)] = split.thresholds, split.signs
    linear = quick = _nothing
    if (part := split.part) is not None:
        linear = cache(partial(session, part, "encoder.onnx"))
        if not whole.single:
            quick = cache(lambda: quick_session(part, m.input.name, linear(), m.input.shape))
    integers = None if split.operator is None else blocks(split.operator, m.input.shape)
    return Encoder(linear, quick, m.input.name, split.tensor, split.shape, whole.single, thresholds, signs, integers, whole)


def _kept(m: Mapping, single: bool, code: Code) -> Split | None:
    """What `_search` found before with the same sources, libraries and processor; or what it finds."""
    assert m.encoder_onnx is not None
    sources = [(Path(__file__).parent / name).read_bytes() for name in _SOURCES]
    programs = sys.version_info, np.__version__, onnx_runtime.load().__version__, code.target
    about = repr((programs, m.input.name, m.input.shape, m.encoder.shape, m.encoder.levels, single)).encode()
    key = hashlib.sha256(b"\0".join([*sources, about, m.encoder_onnx])).hexdigest()
    content = code.cache.get(key)
    if content is not None:
        known: Split | None = pickle.loads(content)  # the directory is the user's own, as for code
        return known
    found = _search(m, single)
    code.cache.put(key, pickle.dumps(found))
    return found


def _search(m: Mapping, single: bool) -> Split | None:
    assert m.encoder_onnx is not None
    import onnx

    proto = onnx.load_model_from_string(m.encoder_onnx)
    levels, count = m.encoder.levels, m.encoder_neurons // m.encoder.levels
    for tensor in _cuts(proto.graph, m.input.name):
        part = None if tensor == m.input.name else _part(proto, [m.input.name], [tensor])
        shape: tuple[int, ...] = (1, *m.input.shape)
        if part is not None:
            linear = session(part, "encoder.onnx")
            if linear.get_outputs()[0].type != "tensor(float)":
                continue
            shape = linear.run([tensor], {m.input.name: np.zeros(shape, np.float32)})[0].shape
        if shape[0] != 1 or math.prod(shape) != count:
            continue
        end = session(_part(proto, [tensor], ["levels"], shape), "encoder.onnx")
        chain = _chain(end, tensor, shape, levels, single)
        found = _by_channel(end, tensor, shape, levels, single)
        if found is None or not _holds(chain, *found):
            found = _thresholds(chain, levels, count)
            if not _holds(chain, *found):
                return None
        op = None if part is None else operator(onnx.load_model_from_string(part).graph, m.input.name)
        return Split(tensor, shape[1:], part, *found, op)
    return None


def _cuts(graph: Any, source: str) -> list[str]:
    """Tensors on the chain before ``levels``, the earliest first."""
    made = {name: node for node in graph.node for name in node.output}
    known = {tensor.name: tensor for tensor in graph.initializer}
    constant = set(known)
    for node in graph.node:  # in order: what has only constant inputs is constant
        if all(name in constant or not name for name in node.input) and node.op_type != "RandomNormal":
            constant.update(node.output)
    path, tensor = ["levels"], "levels"
    while tensor in made and _monotone(made[tensor], constant, known):
        tensor = next(name for name in made[tensor].input if name and name not in constant)
        path.append(tensor)
    return [name for name in reversed(path) if name != "levels"]


def _monotone(node: Any, constant: set[str], known: dict[str, Any]) -> bool:
    """Whether the float32 results of a node are in the order of what varies; ``known`` are initializers."""
    from onnx import helper, numpy_helper

    if len(node.output) != 1 or node.domain not in ("", "ai.onnx"):
        return False

    def value(position: int) -> npt.NDArray[Any] | None:
        tensor = known.get(node.input[position])
        return None if tensor is None else numpy_helper.to_array(tensor)

    varying = [i for i, name in enumerate(node.input) if name and name not in constant]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return is_monotone(node.op_type, attributes, varying, value, in_float32=True)


def _part(proto: Any, inputs: list[str], outputs: list[str], shape: tuple[int, ...] | None = None) -> bytes:
    """The nodes between some tensors; the input is float32 of ``shape`` where it is not the model's own."""
    import onnx

    part = onnx.ModelProto()
    part.CopyFrom(proto)
    made = {name: node for node in proto.graph.node for name in node.output}
    needed: set[int] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        node = made.get(name)
        if name in inputs or node is None or id(node) in needed:
            continue
        needed.add(id(node))
        waiting += list(node.input)
    nodes = [node for node in proto.graph.node if id(node) in needed]
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    if shape is not None:
        del part.graph.input[:]
        kind = onnx.TensorProto.FLOAT
        axes = ["N", *(size if axis == 1 else f"axis{axis}" for axis, size in enumerate(shape[1:], 1))]
        part.graph.input.append(onnx.helper.make_tensor_value_info(inputs[0], kind, axes))
        del part.graph.value_info[:]
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in part.graph.initializer if tensor.name in read]
    del part.graph.initializer[:]
    part.graph.initializer.extend(kept)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return bytes(part.SerializeToString())


#: levels (rows, features), cut to 0 .. L, of inputs (rows, features), so many rows at a time
Chain = Callable[[Floats, int], npt.NDArray[np.int64]]


def _chain(end: Any, tensor: str, shape: tuple[int, ...], levels: int, single: bool) -> Chain:
    def run(x: Floats, at_once: int) -> npt.NDArray[np.int64]:
        step = 1 if single else at_once
        out = []
        for first in range(0, len(x), step):
            part = np.ascontiguousarray(x[first : first + step]).reshape(-1, *shape[1:])
            try:
                found = end.run(["levels"], {tensor: part})[0]
            except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
                raise MappingError("encoder.onnx", f"cannot be run ({str(error)[:80]})", code="map-onnx") from None
            if (found == NO_LEVEL).any():  # it refuses values, which thresholds cannot
                raise ValueError("a level that means that a value is not taken")
            out.append(found.reshape(len(part), -1))
        return np.clip(np.concatenate(out).astype(np.int64), 0, levels)

    return run


def _number(key: npt.NDArray[np.int64]) -> Floats:
    """The float32 of a key; keys are ordered as the numbers are, -0 and 0 are one."""
    bits = np.abs(key).astype(np.uint32) | np.where(key < 0, np.uint32(1 << 31), np.uint32(0))
    return bits.astype(np.uint32).view(np.float32)


def _key(value: Floats) -> npt.NDArray[np.int64]:
    bits = value.view(np.uint32).astype(np.int64)
    return np.where(bits >> 31 == 1, -(bits & 0x7FFFFFFF), bits)


def _by_channel(
    end: Any, tensor: str, shape: tuple[int, ...], levels: int, single: bool
) -> tuple[Floats, npt.NDArray[np.uint32]] | None:
    """Thresholds of a chain that treats all places of a channel alike, found at one place: a guess that is quick."""
    small = (1, shape[1], *(1 for _ in shape[2:])) if len(shape) > 2 else shape
    if small == shape:
        return None
    try:
        found, signs = _thresholds(_chain(end, tensor, small, levels, single), levels, shape[1])
    except (MappingError, ValueError):  # other shapes do not fit its constants
        return None
    places = math.prod(shape[2:])
    return np.repeat(found, places, axis=1), np.repeat(signs, places)


LARGEST = 0x7F7FFFFF  # key of the largest finite number


def _thresholds(chain: Chain, levels: int, count: int) -> tuple[Floats, npt.NDArray[np.uint32]]:
    ends = np.repeat(_number(np.array([-LARGEST, LARGEST]))[:, None], count, axis=1)
    low, high = chain(ends, AT_ONCE)
    falls = high < low
    direction = np.where(falls, -1, 1)
    least, most = np.minimum(low, high), np.maximum(low, high)
    level = np.arange(levels)[:, None]
    below = np.full((levels, count), -LARGEST, np.int64)  # does not reach the level, or nothing does less
    above = np.full((levels, count), LARGEST, np.int64)  # reaches it, or nothing does
    while (above - below > 1).any():
        middle = (above + below) // 2
        reached = chain(_number(middle * direction), AT_ONCE) > level
        above, below = np.where(reached, middle, above), np.where(reached, below, middle)
    found = _number(above)
    found[np.broadcast_to(least > level, found.shape)] = -np.inf  # always
    found[np.broadcast_to(most <= level, found.shape)] = np.nan  # never
    return found, np.where(falls, np.uint32(1 << 31), np.uint32(0))


def _holds(chain: Chain, thresholds: Floats, signs: npt.NDArray[np.uint32]) -> bool:
    """Whether chain and thresholds agree at and just below each threshold, and far from them, at several batch sizes."""
    levels, count = thresholds.shape
    sign = np.where(signs > 0, np.float32(-1), np.float32(1))
    at = np.nan_to_num(thresholds, nan=0.0).astype(np.float32)  # always: the least number there is
    before = _number(np.maximum(_key(at) - 1, -LARGEST))
    far = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e-45, -1e-45, 255.0, 2.0**31, -(2.0**31), 1e10, -1e10, 1e20, -1e20, 3e38, -3e38]
    spread = np.random.Generator(np.random.PCG64(0)).standard_normal((3, count)).astype(np.float32)
    scale = float(np.median(np.abs(at.astype(np.float64)))) if at.size else 1.0
    lines = [at * sign, before * sign, np.repeat(np.array(far, np.float32)[:, None], count, axis=1)]
    lines.append(spread * np.float32(1 + 2 * min(scale, 1e30)))
    x = np.concatenate(lines).astype(np.float32)
    mine = ((x * sign)[:, None] >= thresholds[None]).sum(axis=1)
    near = 2 * levels
    return np.array_equal(chain(x, AT_ONCE), mine) and np.array_equal(chain(x[:near], 1), mine[:near])
