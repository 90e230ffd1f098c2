"""Output layers in a ``.map``: they hand levels to the host, count packets in place of SOPs, and may hide nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from support.hand_mappings import HandCore, HandMap

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import MappingError
from chipsim.mapping import Mapping, validate_mapping


def handed() -> HandMap:
    """Two cores: ``hidden`` (tick 1) has a feature of two levels, sources 4 and 5; ``out`` hands it and the encoder's to the host.

    Encoder: sources 0 to 3 (2 features, 2 levels). Core 0: axons 0 to 3 of weight 1, thresholds 1 and 3. Core 1: the encoder's
    feature 1 and the hidden feature, whose spikes come from 2, 3 (two ticks later) and 4, 5.
    """
    return HandMap(
        features=2,
        levels=2,
        layers=[("hidden", 1, 2, 1), ("out", 2, 0, 2)],
        cores=[
            HandCore(0, [[1, 1]] * 4, [0, 1, 2, 3], [1, 3], [0, 1]),
            HandCore(1, [[1, 0], [1, 0], [0, 1], [0, 1]], [2, 3, 4, 5], [0, 0], [0, 1], bits=1),
        ],
    )


def built(hand: HandMap, kind: str, layer: int = 1) -> Mapping:
    mapping = hand.build()
    layers = [replace(entry, kind=kind) if number == layer else entry for number, entry in enumerate(mapping.layers)]
    return replace(mapping, layers=tuple(layers))


@pytest.mark.parametrize(("kind", "readout"), [("features", "host"), ("output", "chip"), ("dense", "chip")])
@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_counts_by_hand(kind, readout, engine) -> None:
    # image (2, 1): sources 0, 1, 2. hidden: p = 3, both fire, 6 SOPs. out: level 1 of the encoder's feature, 2 of hidden.
    # image (0, 1): source 2. hidden: p = 1, one fires, 2 SOPs. out: levels 1 and 1.
    data = Dataset("hand", "test", np.array([[2, 1], [0, 1]], np.float32), None)
    result = chipsim.run(built(handed(), kind), data, engine=engine)
    assert result.potentials.tolist() == [[1, 2], [1, 1]]
    handed_over = 3 + 2
    assert (result.spikes, result.sops) == (3, 6 + 2 + (handed_over if kind == "dense" else 0))
    assert result.output_packets == (0 if kind == "dense" else handed_over)
    assert result.packets == 3 + 1 + handed_over  # those to the host among them
    assert (result.relay_spikes, result.relay_sops) == (0, 0)
    assert [layer.sops for layer in result.layers] == [8, handed_over if kind == "dense" else 0]
    json = result.to_json()
    assert (json["readout"], json["output_packets_per_image"]) == (readout, result.output_packets / 2)


def weights(value: list[list[int]]) -> Callable[[HandMap], None]:
    def change(hand: HandMap) -> None:
        hand.cores[1].weights, hand.cores[1].bits = value, 2

    return change


def mixed(hand: HandMap) -> None:
    """A neuron that adds up two features is no level."""
    hand.cores[1].sources = [2, 5, 4, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (weights([[1, 0], [-1, 0], [0, 1], [0, 1]]), "core 1: .* weight 1"),
        (weights([[1, 0], [1, 1], [0, 1], [0, 1]]), "core 1: .* at most one synapse"),
        (mixed, "core 1: .* one feature"),
    ],
)
@pytest.mark.parametrize("kind", ["output", "features"])
def test_what_is_more_than_handing_over_is_refused(change, said, kind) -> None:
    hand = handed()
    change(hand)
    validate_mapping(hand.build())  # as an ordinary readout layer it is none of the format's business
    with pytest.raises(MappingError, match=said) as caught:
        validate_mapping(built(hand, kind))
    assert caught.value.code == "map-rule"


def test_a_layer_that_fires_is_no_output_layer() -> None:
    with pytest.raises(MappingError, match="hidden: is an output layer that is not the readout"):
        validate_mapping(built(handed(), "features", 0))
