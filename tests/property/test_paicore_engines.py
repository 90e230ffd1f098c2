"""Both engines of a PAICORE 2.5 give the same, and so do images one by one and as a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.random_programs import random_images, random_program

from chipsim import crosscheck
from chipsim.crosscheck import Request
from chipsim.engine.fast import engine as fast_engine
from chipsim.engine.fast.planes import lines_of
from chipsim.engine.paicore.cores import load_cores
from chipsim.engine.paicore.counters import count, find_links
from chipsim.engine.paicore.engines import load_engine, run_frame, write_frames
from chipsim.engine.paicore.frames import streamed
from chipsim.engine.paicore.host import load_host
from chipsim.engine.paicore.machine import Machine
from chipsim.paicore import validate_program, write_program

SEEDS = st.integers(0, 1 << 20)


def unexpected(text: str) -> None:
    raise AssertionError(text)


@given(SEEDS, st.integers(1, 70))
def test_engines_are_equal(seed: int, images: int) -> None:
    program = random_program(seed)
    validate_program(program)
    cores = load_cores(program.words)
    host, links = load_host(program, cores), find_links(cores, load_host(program, cores))
    given = random_images(program, seed, images).images
    found = []
    for name in ("fast", "reference"):
        with pytest.MonkeyPatch.context() as patch:  # where adding up bits would pay: its worker needs bytes
            patch.setattr(fast_engine, "in_bits", lambda merged, code, images: tuple(map(lines_of, merged.forms)))
            worker = load_engine(name, program, cores, host, 0.0, unexpected).worker(0.0, 0)
        potentials, _ = worker.batch(given, 0, lambda: False)
        found.append((potentials, count(program, links, worker.fired, images)))
    (fast, counted), (reference, right) = found
    assert (fast == reference).all()
    for name in right.__slots__:
        assert np.array_equal(getattr(counted, name), getattr(right, name)), name


@pytest.mark.slow
@given(SEEDS)
def test_a_stream_gives_what_images_give_one_by_one(seed: int) -> None:
    program = random_program(seed)
    cores = load_cores(program.words)
    host = load_host(program, cores)
    images = 300 >> max(core.registers["lcn"] for core in cores)  # more than the input rows hold: they are used again
    values = host.values(random_images(program, seed, images).images)
    sent, _ = run_frame(program, cores, host, values)
    machine = Machine(load_cores(streamed(program.words)), 1)
    first = np.concatenate([[0], np.cumsum([core.neurons for core in cores])])
    for step in range(images + program.steps - 1):
        if step < images:
            write_frames(machine, host, values[:, step : step + 1], step)
        for fired in next(iter(machine.sync(1))):
            own = slice(first[fired.core], first[fired.core + 1])
            core = cores[fired.core]
            spiking = np.setdiff1d(np.arange(core.neurons), core.host)
            if fired.step < images:
                assert (fired.values[spiking, 0] == sent[own][spiking, fired.step]).all()


@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize("seed", range(100))
def test_paisim_gives_the_same(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("program")
    program = random_program(seed)
    write_program(program, folder / "a.paicore")
    np.savez(folder / "d.npz", images=random_images(program, seed, 5).images)
    found = crosscheck.crosscheck("paisim", Request(str(folder / "a.paicore"), str(folder / "d.npz")))
    assert found.equal, found.difference
