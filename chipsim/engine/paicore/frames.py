"""Frames on the wire: what the host feeds for an image, and what cores send, word for word."""

from __future__ import annotations

import numpy as np

from chipsim.engine.paicore.cores import INPUT_ROWS, ROW_BITS, Core
from chipsim.engine.paicore.machine import Fired
from chipsim.paicore import words as w
from chipsim.paicore.fields import Int, Words
from chipsim.paicore.memory import frames as split

#: bytes of a potential
BYTES = 4


def control(header: int, core: Core, number: int = 0) -> Words:
    """Return a control frame to a core, uint64 (1,)."""
    return w.CONTROL.pack({"header": header, "x": core.x, "y": core.y, "number": number})


def streamed(words: Words) -> Words:
    """Change configuration words so that images follow each other one step apart.

    Every core runs in each step from ``tick_start`` on and takes its initial potentials anew each time: a potential that did
    not fire would stay for the next image.
    """
    changed = words.copy()
    for at, header, payload in split(words):
        if header["header"] == w.CONFIG_REGISTERS:
            registers = w.REGISTERS.one(payload) | {"tick_duration": 0, "tick_initial": 1}
            changed[at + 1 : at + 1 + len(payload)] = w.REGISTERS.pack(registers)
    return changed


def sent(core: Core, fired: Fired, column: int, host: int) -> tuple[Words, Int]:
    """Return every frame that a core sends in a step, once for each core that it reaches.

    Parameters
    ----------
    host : int
        Number that stands for (0, 0) among the receivers.

    Returns
    -------
    words, receivers : ndarray, uint64 and int64, (frames,)
    """
    values = fired.values[:, column]
    first = (fired.step * ROW_BITS) << core.registers["target_lcn"]
    words, receivers = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for target in core.targets:
        own = target.neurons[values[target.neurons] > 0]
        words.append(_place(core.route[own], core.address[own] + first, values[own].astype(np.int64)))
        receivers.append(np.full(len(own), target.core, np.int64))
    for byte in range(BYTES):
        data = fired.potentials[core.host, column] >> (8 * byte) & 0xFF
        words.append(_place(core.route[core.host], core.address[core.host] + first + w.LANE * byte, data))
        receivers.append(np.full(len(core.host), host, np.int64))
    return np.concatenate(words), np.concatenate(receivers)


def _place(route: Words, address: Int, data: Int) -> Words:
    address = address % (INPUT_ROWS * ROW_BITS)
    return route | w.WORK.pack({"slot": address // ROW_BITS, "axon": address % ROW_BITS, "data": data})[..., 0]
