"""Spikes and events from npz files, and the spikes that events become."""

import numpy as np
import pytest

from chipsim.datasets import load_dataset
from chipsim.datasets.coding import rate_code
from chipsim.datasets.events import EventFrames
from chipsim.errors import InputError
from chipsim.mapping import InputSpec
from chipsim.mapping.pixels import prepare

SPEC = InputSpec("input", "uint8", (2, 3, 4), code="spikes")


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def events(**change):
    given = {"x": [0, 3, 1, 2], "y": [0, 2, 1, 0], "t": [5, 14, 0, 99], "p": [0, 1, 1, 0], "offsets": [0, 2, 4]} | change
    return {name: np.array(value) for name, value in given.items()}


def binned(path, steps=10, shape=(2, 3, 4)):
    data = load_dataset(path)
    return prepare(data.images[0 : len(data)], InputSpec("input", "uint8", shape, code="spikes"), data.name, steps)


def where(spikes):
    return [tuple(int(v) for v in at) for at in np.argwhere(spikes)]


def test_own_spikes_are_read_with_their_labels(tmp_path):
    spikes = np.random.default_rng(0).integers(0, 2, (5, 7, 2, 3, 4)).astype(np.uint8)
    data = load_dataset(write(tmp_path / "s.npz", spikes=spikes, labels=np.arange(5)))
    np.testing.assert_array_equal(prepare(data.images, SPEC, data.name, 7), spikes)
    assert data.labels.tolist() == [0, 1, 2, 3, 4]


def test_events_fall_into_steps_between_the_first_and_the_last_of_their_frame(tmp_path):
    found = binned(write(tmp_path / "e.npz", **events()))
    # frame 0 lasts from 5 to 14: the last event is in the last step; frame 1 from 0 to 99
    assert where(found) == [(0, 0, 0, 0, 0), (0, 9, 1, 2, 3), (1, 0, 1, 1, 1), (1, 9, 0, 0, 2)]


def test_a_duration_gives_all_frames_the_same_steps(tmp_path):
    found = binned(write(tmp_path / "e.npz", **events(duration=198)))
    assert where(found) == [(0, 0, 0, 0, 0), (0, 0, 1, 2, 3), (1, 0, 1, 1, 1), (1, 5, 0, 0, 2)]
    found = binned(write(tmp_path / "e.npz", **events(duration=99)))  # what falls on the end is in the last step
    assert where(found)[-1] == (1, 9, 0, 0, 2)


def test_events_outside_the_duration_are_counted_and_refused(tmp_path):
    for more, count in (({"duration": 20}, 1), ({"t": [5, 14, -1, 99], "duration": 20}, 2)):
        with pytest.raises(InputError, match=f"{count} of 4 events lie outside 0 to the duration, 20") as error:
            load_dataset(write(tmp_path / "e.npz", **events(**more)))
        assert error.value.code == "data-events"


def test_several_events_in_one_step_are_one_spike(tmp_path):
    found = binned(
        write(tmp_path / "e.npz", **events(x=[0, 0, 1, 1], y=[0, 0, 1, 1], t=[3, 4, 0, 1], p=[0, 0, 1, 1], duration=100))
    )
    assert where(found) == [(0, 0, 0, 0, 0), (1, 0, 1, 1, 1)]


def test_polarity_is_ignored_with_one_channel_and_rows_with_one_axis(tmp_path):
    path = write(tmp_path / "e.npz", **events())
    assert binned(path, shape=(1, 3, 4)).sum() == binned(path, shape=(3, 4)).sum() == 4
    path = write(tmp_path / "x.npz", x=np.array([0, 6, 2]), t=np.array([0.0, 0.5, 1.0]), offsets=np.array([0, 3]))
    assert where(binned(path, steps=2, shape=(7,))) == [(0, 0, 0), (0, 1, 2), (0, 1, 6)]


def test_frames_do_not_depend_on_the_batch(tmp_path):
    rng = np.random.default_rng(1)
    count = 200
    path = write(
        tmp_path / "e.npz", x=rng.integers(0, 4, count), y=rng.integers(0, 3, count), t=rng.random(count) * 50,
        p=rng.integers(0, 2, count), offsets=np.sort(np.concatenate([[0, count], rng.integers(0, count, 6)])),
    )  # fmt: skip
    data = load_dataset(path)
    whole = data.images.spikes((2, 3, 4), 8, "e")
    parts = [data.images[i : i + 3].spikes((2, 3, 4), 8, "e") for i in range(0, len(data), 3)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(data.head(2)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": [0, 3, 2, 4]}, {"offsets": [0, 2]}, {"offsets": [1, 4]}, {"p": [0, 2, 1, 0]}, {"p": [0, -1, 1, 0]}, {"x": [0, 1]},
        {"t": [0, np.nan, 1, 2]}, {"x": [0.5, 1, 2, 3]}, {"duration": 0}, {"t": [[0, 1, 2, 3]]},
    ],
)  # fmt: skip
def test_events_that_mean_nothing_are_refused(tmp_path, change):
    with pytest.raises(InputError) as error:
        load_dataset(write(tmp_path / "e.npz", **events(**change)))
    assert error.value.code == "data-events"


def test_events_outside_the_input_are_refused(tmp_path):
    with pytest.raises(InputError, match="x from 0 to 9"):
        binned(write(tmp_path / "e.npz", **events(x=[0, 3, 1, 9])))
    with pytest.raises(InputError, match="1 or 2 channels"):
        binned(write(tmp_path / "e.npz", **events()), shape=(3, 3, 4))


def test_events_are_not_images(tmp_path):
    data = load_dataset(write(tmp_path / "e.npz", **events()))
    assert isinstance(data.images, EventFrames)
    with pytest.raises(InputError, match="--input spikes"):
        prepare(data.images, InputSpec("image", "float32", (1, 3, 4)), data.name)


def test_drawn_spikes_depend_on_the_image_and_the_seed_alone():
    images = np.random.default_rng(2).random((4, 3, 5), np.float32)
    whole = rate_code(images, "bernoulli", 6, 1, range(4))
    np.testing.assert_array_equal(whole[2:], rate_code(images[2:], "bernoulli", 6, 1, range(2, 4)))
    assert (whole != rate_code(images, "bernoulli", 6, 2, range(4))).any()
    counts = rate_code(images, "regular", 8, 0, range(4)).sum(axis=1)
    np.testing.assert_array_equal(counts, np.floor(8 * images.astype(np.float64)))
