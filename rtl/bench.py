"""Run the SystemVerilog: a mapping on chip.sv, packets on mesh.sv."""

from __future__ import annotations

import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import build
import memory
import numpy as np
import numpy.typing as npt
from expected import POTENTIAL, SPIKE, Fired, Ticks, ordered

from chipsim.timing.network.mesh import Int, Mesh, Traffic

#: kinds of records, as tb/chip_main.cpp numbers them
SENT, EJECTED, SENT_HOST, TO_HOST, UPDATE, LENGTH = range(6)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What the hardware did, and how long that took."""

    ticks: Ticks
    seconds: float  # of the processor, for the simulation; without building


def run_chip(
    path: str | Path,
    encoder: Fired,
    *,
    stream: bool = False,
    tiles: bool = False,
    sources: Path = build.ROOT,
    optimise: str = "-O0",
) -> Run:
    """Run frames through a ``.map`` on chip.sv.

    Parameters
    ----------
    path : path
    encoder : ndarray, uint8, (frames, E)
        Spikes of the encoder.
    stream : bool
        A frame a tick, else each alone.
    tiles : bool
        Wire cores and routers in C++ (tb/tile.sv): one tile is compiled, whatever the grid.
    sources : Path
        Directory of the SystemVerilog.

    Raises
    ------
    memory.NotCovered
        The chip has something that the SystemVerilog does not.
    build.BuildError
    """
    program = memory.read(path)
    chip = program.chip
    memory.check(chip)
    runner = _builder(chip, tiles, sources, optimise)
    depth = program.info["ticks"]
    ticks = len(encoder) + depth - 1 if stream else len(encoder) * depth
    with tempfile.TemporaryDirectory() as folder:
        words, frames, trace = (Path(folder) / name for name in ("memory", "frames", "trace"))
        with words.open("w") as out:
            memory.write(program, out)
        frames.write_text("".join(" ".join(map(str, np.flatnonzero(row))) + "\n" for row in encoder))
        start = _processor_seconds()
        command = [runner, words, frames, trace, depth - 1, int(stream), ticks]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        seconds = _processor_seconds() - start
        if done.returncode:
            raise RuntimeError(f"{runner}: {done.stderr}")
        records = np.fromfile(trace, "<i8").reshape(-1, 6)
    return Run(_ticks(program, records), seconds)


def _processor_seconds() -> float:
    """Of the programs that this process has waited for: what others do on the machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _builder(chip: dict[str, Any], tiles: bool, sources: Path, optimise: str) -> Path:
    """Build chip.sv, or a tile of it."""
    wanted = memory.parameters(chip)
    places = ("WIDTH", "HEIGHT", "PORT_Y", "SYNC_CYCLES")
    define = {name: wanted[name] for name in (*places, "BUFFER_FLITS")}
    if not tiles:
        return build.build("chip", "chip_main", wanted, define, sources, optimise)
    flit = memory.Flit.of(chip)
    of_tile = {name: value for name, value in wanted.items() if name not in places}
    of_tile |= {"X_BITS": flit.x, "Y_BITS": flit.y, "FLIT_BITS": flit.bits}
    return build.build("tile", "tiles_main", of_tile, define, sources, optimise)


def _ticks(p: memory.Program, records: Int) -> Ticks:
    """Turn the trace into rows."""
    tick, cycle, kind, router, value, more = records.T
    width, height = p.chip["grid"]
    host = width * height
    core_of = np.full(host, -1)
    core_of[p.core_position[:, 1] * width + p.core_position[:, 0]] = np.arange(len(p.core_layer))
    flit = memory.Flit.of(p.chip)

    def packets(*kinds: int) -> Int:
        mine = np.isin(kind, kinds)
        carried = value[mine]
        x, y, axon, delay = flit.unpack_packet(carried)
        core_x, core_y, neuron, potential = flit.unpack_potential(carried)
        out = flit.to_host(carried)
        x, y = np.where(out, core_x, x), np.where(out, core_y, y)
        core = core_of[np.minimum(y * width + x, host - 1)]
        first = np.where(out, p.neuron_offset[core], p.axon_offset[core])
        what = np.stack(
            [np.where(out, POTENTIAL, SPIKE), first + np.where(out, neuron, axon), np.where(out, potential, delay)], axis=1
        )
        where = np.where(np.isin(kind[mine], (SENT_HOST, TO_HOST)), host, router[mine])
        return np.concatenate([np.stack([tick[mine], where, cycle[mine]], axis=1), what], axis=1)

    sent = packets(SENT, SENT_HOST)
    sent = sent[np.lexsort((sent[:, 2], sent[:, 1], sent[:, 0]))]
    mine = kind == UPDATE
    neuron = p.neuron_offset[core_of[router[mine]]] + (value[mine] >> 1)
    updates = np.stack([tick[mine], neuron, cycle[mine], more[mine], value[mine] & 1], axis=1)
    return Ticks(sent, ordered(packets(EJECTED, TO_HOST)), ordered(updates), cycle[kind == LENGTH])


def run_mesh(
    mesh: Mesh, traffic: Traffic, sources: Path = build.ROOT
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Send packets through mesh.sv; return the cycles in which each was sent and ejected, as `Flow` has them."""
    x_bits, y_bits = (max(1, memory.bits_for(side)) for side in (mesh.width, mesh.height))
    constants = {"BUFFER_FLITS": mesh.buffer, "X_BITS": x_bits, "Y_BITS": y_bits}
    parameters = {
        **constants, "WIDTH": mesh.width, "HEIGHT": mesh.height, "PORT_Y": mesh.ports[0][1], "FLIT_BITS": 64,
        "ROUTER_CYCLES": mesh.router_cycles, "LINK_CYCLES": mesh.link_cycles, "CREDIT_CYCLES": mesh.credit_cycles,
    }  # fmt: skip
    runner = build.build("mesh", "mesh_main", parameters, {**constants, "CORES": mesh.routers}, sources)
    source = np.repeat(np.arange(mesh.terminals), np.diff(traffic.offset))
    router = mesh.router_of(traffic.target)
    columns = (source, traffic.ready, traffic.target >= mesh.routers, router % mesh.width, router // mesh.width)
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "traffic", Path(folder) / "result"
        np.savetxt(given, np.stack(columns, axis=1), "%d")
        subprocess.run([runner, given, found], check=True)
        sent, ejected = np.loadtxt(found, np.int64, ndmin=2).reshape(-1, 2).T
    return sent, ejected
