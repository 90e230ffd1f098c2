"""The page on chip files: every key with the preset's value, and the warning as the program prints it."""

from __future__ import annotations

import re
from pathlib import Path

from support.command_line import qsnnc

from chipsim.chip import ChipSpec, load_chip
from chipsim.chip.inherited import FOLLOWS
from chipsim.chip.spec import Energy, NeuronLimits, Timing

PAGE = (Path(__file__).parents[3] / "docs" / "chips.md").read_text()
SECTIONS = {
    "The core and the grid": ChipSpec,
    "`energy:` energy per event": Energy,
    "`timing:` cycles": Timing,
    "`neuron:` steps": NeuronLimits,
}


def rows(heading: str) -> dict[str, str]:
    """Key -> the last cell of its row."""
    text = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*?) ?\|$", text, re.MULTILINE))


def said(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(said, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_key_is_explained_with_its_value() -> None:
    chip = load_chip("xbar1152")
    values = {
        "The core and the grid": chip,
        "`energy:` energy per event": chip.energy,
        "`timing:` cycles": chip.timing,
        "`neuron:` steps": chip.neuron,
    }
    for heading, model in SECTIONS.items():
        found = rows(heading)
        assert set(found) == set(model.model_fields) - {"energy", "timing", "neuron"}
        for key, cell in found.items():
            if key not in ("name", "description", "provenance"):
                assert cell == said(getattr(values[heading], key)), key


def test_the_table_of_followers_is_the_programs() -> None:
    table = PAGE.split("| if you change | check also |\n")[1].split("\n\n")[0]
    found = {}
    for left, right in re.findall(r"^\| (`.*`) \| (`.*`) \|$", table, re.MULTILINE):
        for key in re.findall(r"`([\w.]+)`", left):
            found[key] = tuple(re.findall(r"`([\w.]+)`", right))
    assert found == FOLLOWS


def test_the_warning_is_the_programs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(base:.*?)```", PAGE, re.DOTALL)
    (session,) = re.findall(r"```console\n\$ qsnnc chips narrow.yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "narrow.yaml").write_text(example)
    done = qsnnc("chips", "narrow.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = [line.rstrip() for line in (done.stderr + done.stdout).splitlines()]
    for line in session.splitlines():
        assert line == "..." or line in printed, line
