"""The page on cycles and energy: its constants are the chip's, its keys the JSON's, its verbs and pictures exist."""

from __future__ import annotations

import re

import pytest
from support.places import DOCS

import chipsim
from chipsim.chip import load_chip
from chipsim.cli import app

PAGE = (DOCS / "timing.md").read_text()


def test_constants_are_the_chips() -> None:
    chip = load_chip("xbar1152")
    for section, of in (("timing", chip.timing), ("energy", chip.energy)):
        table = PAGE.split(f"| `{section}:` |")[1].split("\n\n")[0]
        found = {
            name: (value, tag) for name, value, tag in re.findall(r"^\| (\w+) \| (\S+) \| (\w+) \|", table, re.MULTILINE)
        }
        wanted = {
            name: (
                f"{value:g}" if isinstance(value, float) else str(value).lower(),
                chip.provenance[f"{section}.{name}"].origin,
            )
            for name, value in of.model_dump().items()
        }
        assert found == wanted
    assert f"| `clock_mhz` | {chip.clock_mhz:g} | {chip.provenance['clock_mhz'].origin} |" in PAGE
    assert f"| `ports` | {[list(port) for port in chip.ports]} | {chip.provenance['ports'].origin} |" in PAGE


@pytest.mark.slow
def test_every_key_is_explained(small) -> None:
    compiled, _, data = small
    found = chipsim.profile_json(chipsim.profile(compiled.mapping, data, timing_limit=2))
    keys = PAGE.split("## The keys of the JSON")[1].split("\n## ")[0]
    words = set(re.findall(r"\w+", keys)) | increments()
    tick = found["timing"]["ticks"][0]
    for key in (*found["timing"], *tick, *found["timing"]["cycles_per_image"], *found["energy"], *found["energy"]["parts"]):
        assert key in words, key


def increments() -> set[str]:
    """The six increments, which the page explains further up."""
    from chipsim.timing.tick import INCREMENTS

    assert all(f"*{name.capitalize()}" in PAGE for name in INCREMENTS)
    return set(INCREMENTS)


def test_verbs_and_pictures_exist() -> None:
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"^chipsim (\w+)", PAGE, re.MULTILINE)) <= verbs
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE):
        assert (DOCS / picture).exists(), picture
