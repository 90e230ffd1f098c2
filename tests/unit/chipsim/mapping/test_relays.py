"""Relays in a ``.map``: they repeat spikes, count apart, and may hide nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from support.hand_mappings import HandMap, relayed

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import MappingError
from chipsim.mapping import validate_mapping


def test_counts_by_hand() -> None:
    # image (2, 0): sources 0, 1. hidden fires (1 spike, 2 SOPs); the relay of 0 fires (1 relay spike, 1 relay SOP).
    #   out: axons of 4 and 5: p = 2, 2 SOPs. Events 2 + 1 + 2; column operations 2 * 2 + 1 * 1 + 2 * 4.
    # image (1, 2): sources 0, 2, 3. hidden: p = 1, silence, 1 SOP. Relays of 0, 3, 2: 3 spikes, 3 SOPs.
    #   out: axons of 5, 6, 7: p = 7, 3 SOPs. Events 1 + 3 + 3; column operations 1 * 2 + 3 * 1 + 3 * 4.
    data = Dataset("hand", "test", np.array([[2, 0], [1, 2]], np.float32), None)
    result = chipsim.run(relayed().build(), data, per_image=True)
    assert result.potentials.tolist() == [[2], [7]]
    assert (result.spikes, result.sops) == (1, 2 + 2 + 1 + 3)
    assert (result.relay_spikes, result.relay_sops) == (4, 4)
    assert (result.axon_events, result.packets) == (12, 12)
    assert result.column_operations == 4 + 1 + 8 + 2 + 3 + 12
    assert result.image_spikes.tolist() == [1 + 2, 0 + 3]  # the encoder's included, relays not
    assert result.paper_sops == 2 * (2 + 1 + 3)
    assert [(core.spikes, core.sops, core.axon_events) for core in result.cores] == [(1, 3, 3), (0, 0, 4), (0, 5, 5)]
    assert [(layer.name, layer.spikes, layer.sops) for layer in result.layers] == [
        ("hidden", 1, 3),
        ("relay", 0, 0),
        ("out", 0, 5),
    ]


def weights(value: list[list[int]]) -> Callable[[HandMap], None]:
    def change(hand: HandMap) -> None:
        hand.cores[1].weights = value

    return change


def sources(value: list[int]) -> Callable[[HandMap], None]:
    def change(hand: HandMap) -> None:
        hand.cores[1].sources = value

    return change


def thresholds(value: list[int]) -> Callable[[HandMap], None]:
    def change(hand: HandMap) -> None:
        hand.cores[1].thresholds = value

    return change


def shape(features: int, levels: int) -> Callable[[HandMap], None]:
    def change(hand: HandMap) -> None:
        hand.layers[1] = ("relay", features, levels, 1)

    return change


def fanout(hand: HandMap) -> None:
    hand.fanout = [1, 1, 1, 1, 1, 0, 3, 0, 0]


def disguised(hand: HandMap) -> None:
    """An ordinary layer that says it is a relay, so that its spikes would not count."""
    hand.layers[0] = ("relay0", 1, 1, 1)


HOSTILE = {
    "a sum": (weights([[1, 0, 0], [0, 0, 1], [1, 1, 0]]), "one axon of its own"),
    "two axons": (weights([[1, 0, 0], [1, 0, 1], [0, 1, 0]]), "one axon of its own"),
    "nothing": (weights([[1, 0, 0], [0, 0, 0], [0, 1, 0]]), "one axon of its own"),
    "another threshold": (thresholds([1, 0, 1]), "threshold must be 1"),
    "never": (thresholds([1, 1, 2]), "threshold must be 1"),
    "source neuron of the same element": (sources([1, 2, 3]), "source neuron of the same element"),
    "crossed": (sources([0, 3, 2]), "source neuron of the same element"),
    "another layer's neuron": (sources([0, 2, 4]), "one population of the same shape"),
    "another shape": (shape(4, 1), "same shape and levels"),
    "more levels": (shape(2, 3), "same shape and levels"),
    "a fan-out of its own": (fanout, "dense_fanout 0"),
    "a layer in disguise": (disguised, "one axon of its own"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_relay_is_refused(name: str) -> None:
    change, reason = HOSTILE[name]
    hand = relayed()
    if name == "another layer's neuron":
        hand.layers = [("hidden", 1, 1, 1), ("relay", 2, 2, 2), ("out", 1, 0, 3)]
    change(hand)
    with pytest.raises(MappingError, match=reason) as caught:
        validate_mapping(hand.build())
    assert caught.value.code == "map-rule"


def test_a_relay_is_not_read_out() -> None:
    mapping = relayed().build()
    layers = [*mapping.layers[:2], replace(mapping.layers[2], kind="relay")]
    with pytest.raises(MappingError, match="out: is a relay that is the readout") as caught:
        validate_mapping(replace(mapping, layers=tuple(layers)))
    assert caught.value.code == "map-rule"


def test_a_relay_removes_nothing() -> None:
    mapping = relayed().build()
    layers = list(mapping.layers)
    layers[1] = replace(layers[1], removed=1)
    with pytest.raises(MappingError, match="removed neurons"):
        validate_mapping(replace(mapping, layers=tuple(layers)))


def test_a_relay_too_late_is_refused() -> None:
    mapping = relayed().build()
    layers = list(mapping.layers)
    layers[1] = replace(layers[1], tick=2)
    with pytest.raises(MappingError, match="arrives in tick"):
        validate_mapping(replace(mapping, layers=tuple(layers)))
