"""What each kind of fault does to cycles and energy, on two cores and a port at the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.hand_mappings import two_cores

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import UsageError
from chipsim.timing.network.mesh import Mesh
from chipsim.timing.plan import plan
from chipsim.timing.record import ADDS, IO, LOOKUPS, ROWS, UPDATES
from chipsim.timing.result import Profile

#: levels of the two features of `two_cores`
IMAGES = np.array([[2, 0], [2, 1], [1, 0], [0, 2]], np.float32)
DATA = Dataset("hand", "test", IMAGES, None)


def timed(faults: Any, **options: Any) -> Profile:
    return chipsim.profile(two_cores().build(), DATA, faults=faults, **options)


@pytest.mark.parametrize("faults", [{}, {"dead_cores": [[3, 3]], "dead_links": [[[2, 2], [2, 3]]]}])
def test_what_breaks_nothing_changes_nothing(faults: Any) -> None:
    found, healthy = chipsim.profile_json(timed(faults)), chipsim.profile_json(timed(None))
    for value in (found, healthy):
        value["timing"].pop("images_per_second")
    assert found == healthy


def test_a_dropped_packet_flies_and_is_not_read() -> None:
    lost, healthy = timed({"dropped_packets": {"rate": 1.0}}), timed(None)
    assert lost.work.core[0, LOOKUPS] == 0, "core 0 gets no spike and fires none"
    assert lost.work.packets[-1] == healthy.work.packets[-1], "the host's were sent all the same"
    assert (lost.work.hops[:, 0] == healthy.work.hops[:, 0]).all()
    assert not lost.work.core[:, [ROWS, ADDS]].any()
    listed = timed({"dropped_packets": [{"core": 1, "axon": 0}, {"core": 1, "axon": 1}]})
    assert listed.work.packets.tolist() == healthy.work.packets.tolist()
    assert listed.work.hops.tolist() == healthy.work.hops.tolist()
    assert listed.work.core[1, ROWS] < healthy.work.core[1, ROWS]


def test_a_stuck_axon_is_read_in_every_frame() -> None:
    # axon 2 of core 1 holds a bit in images 1 and 3 only, and in the others the core has another bit to read
    stuck, healthy = (timed(faults).work for faults in ({"stuck_axons": [{"core": 1, "axon": 2, "at": 1}]}, None))
    assert stuck.core[1, ROWS] == healthy.core[1, ROWS] + 2
    assert stuck.input_cycles[1] == healthy.input_cycles[1] + 2
    assert stuck.packets.tolist() == healthy.packets.tolist()


def test_a_lost_spike_is_never_sent() -> None:
    lost, healthy = timed({"noise": {"hidden": 1.0}}), timed(None)
    assert lost.work.packets[0] == 0 < healthy.work.packets[0]
    assert lost.work.core[0, [ROWS, ADDS, UPDATES]].tolist() == healthy.work.core[0, [ROWS, ADDS, UPDATES]].tolist()
    assert (lost.cycles <= healthy.cycles).all()


@pytest.mark.parametrize("mode", ["ideal", "cycle"])
def test_a_dead_core_does_nothing(mode: str) -> None:
    dead, healthy = timed({"dead_cores": [[1, 0]]}, mode=mode), timed(None, mode=mode)
    assert not dead.work.core[1].any()
    assert not dead.work.potentials.any()
    assert dead.work.packets.tolist() == healthy.work.packets.tolist(), "packets to it are sent"
    assert not dead.increments[:, 2, :5].any(), "the last tick is a barrier and nothing else"
    assert dead.ticks[2].cores == 0
    both = timed({"dead_cores": [[0, 0], [1, 0]]}, mode=mode)
    assert not both.work.core[:2].any()
    assert chipsim.profile_json(both)["timing"]["chip_packets"] == 0


@pytest.mark.parametrize("mode", ["ideal", "cycle"])
def test_a_packet_goes_no_further_than_a_dead_link(mode: str) -> None:
    cut, healthy = timed({"dead_links": [[[1, 0], [0, 0]]]}, mode=mode), timed(None, mode=mode)
    assert healthy.work.hops.any()
    assert not cut.work.hops.any(), "the link is the first on every way"
    assert cut.work.packets.tolist() == healthy.work.packets.tolist()
    assert not cut.work.core[1, IO]
    assert cut.work.sent[1] == healthy.work.sent[1] > 0, "its potentials are sent and lost"
    assert not cut.work.potentials.any()
    assert set(cut.plan.target.tolist()) == {0, 1}


def test_dead_links_beside_a_table_of_routes_are_refused() -> None:
    table = np.zeros((16, 16), np.uint8)
    mesh = plan(two_cores().build()).mesh
    routed = Mesh(mesh.width, mesh.height, mesh.ports, routes=table)
    with pytest.raises(UsageError, match="dead_links") as caught:
        timed({"dead_links": {"rate": 0.1}}, mesh=routed)
    assert caught.value.code == "options-conflict"


def test_noise_twice_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--noise"):
        timed({"noise": {"encoder": 0.1}}, noise=0.1)


def test_neither_threads_nor_batches_move_what_is_lost() -> None:
    faults = {"seed": 3, "noise": {"rate": 0.3}, "dropped_packets": {"rate": 0.3}}
    found = [
        chipsim.profile_json(timed(faults, threads=threads, batch=batch)) for threads, batch in ((1, None), (2, 1), (1, 3))
    ]
    for value in found:
        value["timing"].pop("images_per_second")
        value["timing"].pop("threads")
    assert found[0] == found[1] == found[2]
