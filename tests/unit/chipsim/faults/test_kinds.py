"""What each kind of fault does, on two cores whose counts are worked out by hand, and what a file may not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.hand_mappings import HandCore, HandMap, two_cores

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from chipsim.engine.result import RunResult
from chipsim.errors import InputError, UsageError
from chipsim.faults import NEVER, Faults, inflict

#: levels of the two features of `two_cores`
IMAGES = np.array([[2, 0], [2, 1], [1, 0], [0, 2]], np.float32)


def run(faults: Any, engine: str = "fast", hand: HandMap | None = None, **options: Any) -> RunResult:
    data = Dataset("hand", "test", IMAGES, np.zeros(len(IMAGES), np.int64))
    said: list[str] = []
    found = chipsim.run(
        (hand or two_cores()).build(), data, engine=engine, faults=faults, warn=said.append, per_image=True, **options
    )
    assert found.engine == engine or said
    return found


def test_nothing_broken() -> None:
    # level 2: both hidden neurons fire; (2, 1): a potential of 1, and encoder source 2 reaches core 1
    result = run({})
    assert result.potentials.tolist() == [[5, -1], [-2, 0], [3, -1], [-5, 1]]
    assert result.faults == {}
    assert run(None).faults is None
    assert result.by_image is not None
    assert result.by_image.events.tolist() == [[2, 2], [3, 2], [1, 1], [2, 1]]
    assert result.packets == 4 + 5 + 2 + 3, "each arrives"


@pytest.mark.parametrize("engine", ["fast", "reference"])
class TestEach:
    def test_a_dead_neuron(self, engine: str) -> None:
        result = run({"dead_neurons": [{"core": 0, "neuron": 0}]}, engine)
        assert result.potentials.tolist() == [[2, 0], [-5, 1], [0, 0], [-5, 1]]
        assert result.cores[0].sops == run({}).cores[0].sops, "its synapses are read all the same"
        assert result.faults == {"dead_neurons": {"places": 1}}
        by_name = run({"dead_neurons": [{"layer": "hidden", "neuron": 0}]}, engine)
        assert by_name.potentials.tolist() == result.potentials.tolist()

    def test_a_dead_read_out_neuron_is_read_as_0(self, engine: str) -> None:
        result = run({"dead_neurons": [{"layer": "out", "neuron": 1}]}, engine)
        assert result.potentials.tolist() == [[5, 0], [-2, 0], [3, 0], [-5, 0]]
        assert result.cores == run({}).cores

    def test_stuck_axons(self, engine: str) -> None:
        # axon 2 of core 1 (weights -5, 1) always holds a bit: so many potentials, events and synapses more
        result = run({"stuck_axons": [{"core": 1, "axon": 2, "at": 1}]}, engine)
        assert result.potentials.tolist() == [[0, 0], [-2, 0], [-2, 0], [-5, 1]]
        assert result.by_image is not None
        assert result.by_image.events[:, 1].tolist() == [3, 2, 2, 1]
        assert result.packets == run({}).packets, "what is sent stays what it was"
        # an axon that holds 1 in front of thresholds: core 0's potential is one higher
        higher = run({"stuck_axons": [{"core": 0, "axon": 0, "at": 1}]}, engine)
        assert higher.potentials[3].tolist() == [-5, 1]
        assert higher.potentials[2].tolist() == [3, -1]
        silent = run({"stuck_axons": [{"core": 0, "axon": 0, "at": 0}]}, engine)
        assert silent.potentials.tolist() == [[3, -1], [-5, 1], [0, 0], [-5, 1]]

    def test_a_listed_packet_is_always_lost(self, engine: str) -> None:
        lost = run({"dropped_packets": [{"core": 0, "axon": 0}]}, engine)
        assert (
            lost.potentials.tolist() == run({"stuck_axons": [{"core": 0, "axon": 0, "at": 0}]}, engine).potentials.tolist()
        )
        both = {"dropped_packets": [{"core": 1, "axon": 2}], "stuck_axons": [{"core": 1, "axon": 2, "at": 1}]}
        assert run(both, engine).potentials.tolist() == [[0, 0], [-2, 0], [-2, 0], [-5, 1]]

    def test_stuck_synapses(self, engine: str) -> None:
        # 3 = 0011 with bit 3 at 1 is 1011 = -5; -1 = 1111 with bit 0 at 0 is -2; 0 with bit 1 at 1 is a synapse
        places = [
            {"core": 1, "axon": 0, "neuron": 0, "bit": 3, "at": 1},
            {"core": 1, "axon": 0, "neuron": 1, "bit": 0, "at": 0},
            {"core": 1, "axon": 1, "neuron": 1, "bit": 1, "at": 1},
        ]
        result = run({"stuck_synapses": places}, engine)
        assert result.potentials.tolist() == [[-5 + 2, -2 + 2], [-10, -1], [-5, -2], [-5, 1]]
        assert result.cores[1].sops == run({}).cores[1].sops + 1

    def test_flipped_thresholds(self, engine: str) -> None:
        # thresholds 1 and 2 of 11 bits: bit 1 makes 3 of the first, the sign makes -1022 of the second
        result = run(
            {"flipped_thresholds": [{"core": 0, "neuron": 0, "bit": 1}, {"core": 0, "neuron": 1, "bit": 10}]}, engine
        )
        assert result.potentials.tolist() == [[2, 0], [-3, 1], [2, 0], [-3, 1]]

    def test_a_dead_core_counts_nothing(self, engine: str) -> None:
        result = run({"dead_cores": [[0, 0]]}, engine)
        assert result.potentials.tolist() == [[0, 0], [-5, 1], [0, 0], [-5, 1]]
        assert (result.cores[0].spikes, result.cores[0].sops, result.cores[0].axon_events) == (0, 0, 0)
        read = run({"dead_cores": [[1, 0]]}, engine)
        assert not read.potentials.any()
        assert (read.cores[1].sops, read.cores[1].axon_events) == (0, 0)
        assert read.packets == run({}).packets, "sent all the same"

    def test_a_dead_link_loses_what_crosses_it(self, engine: str) -> None:
        # the port is at core 0: beyond the link lies core 1, its spikes of the host and its potentials
        result = run({"dead_links": [[[1, 0], [0, 0]]]}, engine)
        assert not result.potentials.any()
        assert result.cores[1].axon_events == 0
        assert result.cores[0] == run({}).cores[0]
        assert result.faults == {"dead_links": {"links": 1, "packets": 3}}
        elsewhere = run({"dead_links": [[[1, 1], [0, 1]]]}, engine)
        assert elsewhere.potentials.tolist() == run({}).potentials.tolist()

    def test_noise_of_a_layer(self, engine: str) -> None:
        result = run({"noise": {"hidden": 1.0}}, engine)
        assert result.potentials.tolist() == [[0, 0], [-5, 1], [0, 0], [-5, 1]]
        assert result.spikes == 0
        assert result.cores[0].sops == run({}).cores[0].sops

    def test_noise_of_the_encoder_is_that_of_the_option(self, engine: str) -> None:
        option = run(None, engine, noise=0.4, seed=7)
        for faults in ({"noise": {"encoder": 0.4}, "seed": 7}, {"noise": {"encoder": 0.4}}):
            found = run(faults, engine, **({} if "seed" in faults else {"seed": 7}))
            assert (found.potentials == option.potentials).all()
            assert found.encoder_spikes == option.encoder_spikes

    def test_what_the_mapping_does_not_use_does_nothing(self, engine: str) -> None:
        unused = {
            "dead_cores": [[3, 3]], "dead_neurons": [{"core": [2, 2], "neuron": 0}, {"core": 0, "neuron": 31}],
            "stuck_axons": [{"core": 1, "axon": 63, "at": 1}],
        }  # fmt: skip
        result = run(unused, engine)
        assert result.potentials.tolist() == run({}).potentials.tolist()
        assert result.faults == {
            "dead_neurons": {"places": 0}, "stuck_axons": {"places": 0}, "dead_cores": {"places": 0}
        }  # fmt: skip


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_no_packet_arrives_at_rate_one(engine: str) -> None:
    data = Dataset("hand", "test", IMAGES, None)
    said: list[str] = []
    every = {"dropped_packets": {"rate": 1.0, "seed": 1}}
    result = chipsim.run(two_cores().build(), data, faults=every, engine=engine, warn=said.append)
    assert not result.potentials.any()
    assert (result.engine, said) == (engine, [])
    assert result.packets > 0
    assert all(core.axon_events == 0 for core in result.cores)


def test_a_dead_neuron_never_fires_however_wide_its_potential() -> None:
    hand = HandMap(1, 1, [("hidden", 1, 1, 1), ("out", 1, 0, 2)], [
        HandCore(0, [[127]], [0], [-5], [0], bits=8), HandCore(1, [[1]], [1], [0], [0]),
    ])  # fmt: skip
    damage = inflict(hand.build(), {"dead_neurons": [{"core": 0, "neuron": 0}]})
    assert damage.mapping.neuron_threshold[0] == NEVER
    assert not damage.silent.any()


def test_a_rate_on_a_place_of_the_silicon() -> None:
    # where a core stands decides, not its number: the same place, the same fault
    mapping = two_cores().build()
    turned = replace(mapping, arrays={**mapping.arrays, "core_position": mapping.core_position[::-1].copy()})
    rates = [{"dead_cores": {"rate": 0.5, "seed": seed}} for seed in range(9)]
    held = [[inflict(m, faults).held[m.axon_offset[:-1]].tolist() for faults in rates] for m in (mapping, turned)]
    assert held[0] == [cores[::-1] for cores in held[1]]
    assert len(set(map(tuple, held[0]))) > 1


REFUSED: dict[str, tuple[int, str]] = {
    "noise: {conv9: 0.1}": (1, "no layer 'conv9' that sends spikes; allowed: encoder, hidden"),
    "noise: {out: 0.1}": (1, "no layer 'out' that sends spikes"),
    "noise: {hidden: 1.5}": (1, "noise.hidden is 1.5; allowed: 1 or less"),
    "noise: {hidden: .nan}": (1, "noise.hidden"),
    "noise: 0.1": (1, "allowed: a share for each layer"),
    "dead_neurons: {rate: -0.1, seed: 1}": (1, "dead_neurons.rate is -0.1; allowed: 0 or more"),
    "dead_neurons: {rate: '0.1'}": (1, "dead_neurons.rate is '0.1'; allowed: a number"),
    "dead_neurons: {rate: 0.1, sed: 1}": (1, "unknown key 'dead_neurons.sed'; did you mean seed?; allowed: rate, seed"),
    "dead_neurons: {seed: 1}": (1, "the key 'dead_neurons.rate' is missing"),
    "dead_neurons: 3": (1, "allowed: a list of places, or a rate with a seed"),
    "dead_neurons:\n- {core: 0, neuron: 32}": (2, "neuron 32 does not exist; allowed: 0 to 31, the neurons of core 0"),
    "dead_neurons:\n- {core: 2, neuron: 0}": (2, "core 2 does not exist; allowed: 0 to 1, the cores of the mapping"),
    "dead_neurons:\n- {core: [4, 0], neuron: 0}": (2, "no core [4, 0] on chip 'mini'"),
    "dead_neurons:\n- {layer: hiden, neuron: 0}": (2, "no layer 'hiden'; allowed: hidden, out"),
    "dead_neurons:\n- {layer: hidden, neuron: 2}": (2, "neuron 2 does not exist; allowed: 0 to 1"),
    "dead_neurons:\n- {neuron: 2}": (2, "give either core"),
    "dead_neurons:\n- {core: one, neuron: 2}": (2, "a core's number in the mapping, or its position [x, y]"),
    "stuck_axons: {rate: 0.1}": (1, "'stuck_axons.at' is missing"),
    "stuck_axons:\n- {core: 0, axon: 0}": (2, "'stuck_axons[0].at' is missing"),
    "stuck_axons:\n- {core: 0, axon: 64, at: 1}": (2, "axon 64 does not exist; allowed: 0 to 63"),
    "stuck_axons:\n- {core: 0, axon: 0, at: 2}": (2, "stuck_axons[0].at is 2; allowed: 0 or 1"),
    "stuck_synapses:\n- {core: 1, axon: 0, neuron: 0, bit: 4, at: 0}": (2, "bit 4 does not exist; allowed: 0 to 3"),
    "flipped_thresholds:\n- {core: 0, neuron: 0, bit: 11}": (2, "bit 11 does not exist; allowed: 0 to 10"),
    "dead_cores: [[0, 4]]": (1, "no core [0, 4]"),
    "dead_links: [[[0, 0], [2, 0]]]": (1, "are not neighbours"),
    "dropped_packets:\n- {core: 1, axon: 200}": (2, "axon 200 does not exist"),
    "dead_core: [[0, 0]]": (1, "unknown key 'dead_core'; did you mean dead_cores?; allowed: seed, noise"),
    "seed: -1": (1, "seed is -1; allowed: 0 or more"),
    "stuck_axons:\n- {core: 0, axon: 0, at: 1}\n- {core: [0, 0], axon: 0, at: 0}": (
        3,
        "stuck_axons[1] is stuck at 0 and at 1 in stuck_axons[0]; remove one of the two",
    ),
    "stuck_axons:\n- {core: [3, 3], axon: 9, at: 1}\n- {core: [3, 3], axon: 9, at: 0}": (3, "stuck at 0 and at 1"),
    "stuck_synapses:\n- {core: 1, axon: 0, neuron: 0, bit: 1, at: 0}\n- {core: [1, 0], axon: 0, neuron: 0, bit: 1, at: 1}": (
        3,
        "stuck_synapses[1] is stuck at 1 and at 0 in stuck_synapses[0]",
    ),
    "flipped_thresholds:\n- {core: 0, neuron: 0, bit: 1}\n- {layer: hidden, neuron: 0, bit: 1}": (
        3,
        "flips a bit that",
    ),
    "a: [": (2, "is not a list of faults"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_file_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text + "\n")
    with pytest.raises(InputError) as caught:
        inflict(two_cores().build(), path)
    line, part = REFUSED[text]
    assert part in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert caught.value.exit_code == 3


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path, "a\0b"):
        with pytest.raises(InputError, match="cannot be read"):
            inflict(two_cores().build(), path)


def test_faults_as_a_value() -> None:
    faults = Faults.model_validate({"dead_cores": [[0, 0]], "seed": 3})
    assert run(faults).potentials.tolist() == run({"dead_cores": [[0, 0]]}).potentials.tolist()


def test_noise_twice_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--noise"):
        run({"noise": {"encoder": 0.1}}, noise=0.1)


def test_a_chip_s_own_dead_links_are_gone_round() -> None:
    # compiled for a chip without that link: packets take the long way, and losing the link again loses nothing
    chip = load_chip("mini").model_copy(update={"dead_links": (((0, 0), (1, 0)),)})
    hand = two_cores()
    hand.chip = chip
    result = run({"dead_links": [[[0, 0], [1, 0]]]}, hand=hand)
    assert result.faults == {"dead_links": {"links": 1, "packets": 0}}
    assert result.potentials.tolist() == run({}).potentials.tolist()


@pytest.mark.slow
def test_packets_on_the_way_round_take_longer() -> None:
    # the link between the two cores is dead: three hops where there was one, for spikes and potentials alike
    data = Dataset("hand", "test", IMAGES, None)
    hops = []
    for links in ((), (((0, 0), (1, 0)),)):
        hand = two_cores()
        hand.chip = load_chip("mini").model_copy(update={"dead_links": links})
        found = chipsim.profile_json(chipsim.profile(hand.build(), data, mode="cycle", timing_limit=4))
        hops.append(found["timing"]["hops"])
    assert hops[1] == 3 * hops[0] > 0
