"""Names that fit a table."""

from __future__ import annotations

from chipsim.wording import LONGEST_NAME, shortened


def test_long_names_are_shortened_and_stay_unique() -> None:
    long = ["model/block_1/" + "x" * 300 + f"/{number}/Conv2D" for number in range(30)]
    names = ["conv1", *long, "conv2"]
    short = shortened(names)
    assert (short["conv1"], short["conv2"]) == ("conv1", "conv2")
    assert len(set(short.values())) == len(names)
    assert max(map(len, short.values())) <= LONGEST_NAME
    assert all(short[name].startswith("model/block_1/") and short[name] != name for name in long)


def test_names_alike_but_for_their_middle() -> None:
    one, other = ("a" * 60 + middle + "b" * 60 for middle in "xy")
    short = shortened([one, other, one])
    assert short[one] != short[other]
    assert max(map(len, short.values())) <= LONGEST_NAME


def test_a_short_name_is_not_taken_by_a_long_one() -> None:
    long = "c" * 100
    taken = shortened([long])[long]
    assert shortened([taken, long])[long] != taken
