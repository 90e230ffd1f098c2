"""Explorations: the space file, what its chips are, the front, and the same bytes on a cluster and after a stop."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command_line import qsnnc, refused
from support.places import ROOT
from support.screens import on_one_screen

from chipsim import profile
from chipsim.chip import load_chip
from chipsim.datasets import load_dataset
from chipsim.errors import InputError, UsageError
from chipsim.provenance import digest, file_sha256
from qsnnc import compile_model
from qsnnc.explore import rules
from qsnnc.explore.explore import Row
from qsnnc.explore.front import front, parse_figures
from qsnnc.explore.space import Candidate, read_space

TINY = str(ROOT / "models" / "tiny.onnx")
SPACE = """\
base: mini
keys:
  axons: [64, 128, 256]
  columns: {from: 64, to: 256, times: 2}
  grid: [[2, 2], [8, 8]]
  timing.router_cycles: [1, 3]
rules: ["columns >= axons", "grid[0] == grid[1]"]
images: 2
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


def test_a_space_is_its_product_without_what_the_rules_exclude(space: Path) -> None:
    found = read_space(str(space))
    wanted = [each for each in product([64, 128, 256], [64, 128, 256], [[2, 2], [8, 8]], [1, 3]) if each[1] >= each[0]]
    assert [tuple(chip.values.values()) for chip in found.chips] == wanted
    assert [chip.spec.axons for chip in found.chips] == [each[0] for each in wanted]
    assert [chip.spec.timing.router_cycles for chip in found.chips] == [each[3] for each in wanted]
    assert len({chip.name for chip in found.chips}) == len(wanted)


@pytest.mark.parametrize("method", ["sobol", "lhs"])
def test_a_sample_is_distinct_repeatable_and_even(tmp_path: Path, method: str) -> None:
    text = f"keys: {{axons: {{from: 1, to: 64, step: 1}}, columns: {{from: 1, to: 64, step: 1}}}}\nmethod: {method}\nsample: 64\n"
    points = [(chip.spec.axons, chip.spec.columns) for chip in read_space(str(written(tmp_path, text))).chips]
    assert len(set(points)) == 64
    assert points == [(chip.spec.axons, chip.spec.columns) for chip in read_space(str(written(tmp_path, text))).chips]
    for at in (0, 1):  # both methods draw one value of each 64th
        assert len({point[at] for point in points}) == 64
    assert points != [
        (chip.spec.axons, chip.spec.columns) for chip in read_space(str(written(tmp_path, text + "seed: 1\n"))).chips
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys:\n  axon: [1]\n", "space.yaml:2: unknown key 'axon'; allowed: grid, axons, "),
        ("keys:\n  axons: []\n", "space.yaml:2: keys.axons is an empty list; allowed: a list of one or more values"),
        ("keys:\n  axons: 5\n", "space.yaml:2: keys.axons is 5; allowed: a list"),
        ("keys:\n  axons:\n    - 256\n    - 0\n", "space.yaml:4: axons is 0; allowed: 1 or more"),
        ("keys:\n  axons: [1, 1]\n", "space.yaml:2: keys.axons has 1 twice"),
        ("keys:\n  timing.router_cycles: [0]\n", "space.yaml:2: timing.router_cycles is 0; allowed: 1 or more"),
        ("keys:\n  axons: {from: 5, to: 1, step: 1}\n", "space.yaml:2: keys.axons is not a range; allowed: {from: A"),
        ("keys:\n  axons: {from: 1, to: 5, by: 1}\n", "space.yaml:2: keys.axons is not a range; allowed: {from: A"),
        ("keys:\n  axons: [1]\nrules:\n  - axons > 1\n", "space.yaml:3: the rules leave no chip of the space; relax one"),
        ("keys:\n  axons: [1]\nrules:\n  - axons >\n", "space.yaml:4: the rule 'axons >' is not an expression; allowed: "),
        ("keys:\n  axons: [1]\nrules: [rows > 1]\n", "space.yaml:3: the rule 'rows > 1' has the unknown key 'rows'"),
        (
            "keys:\n  axons: [1]\nrules: ['axons ** 2 > 1']\n",
            "space.yaml:3: the rule 'axons ** 2 > 1' has 'axons ** 2'; allowed",
        ),
        (
            "keys:\n  axons: [1]\nrules: ['1 / (axons - 1) > 0']\n",
            "space.yaml:3: the rule '1 / (axons - 1) > 0' has no value",
        ),
        ("keys:\n  axons: [1]\nfigures: [speed]\n", "space.yaml:3: unknown figure 'speed'; allowed: cores, "),
        ("keys:\n  axons: [1]\nsample: 0\n", "space.yaml:3: sample is 0; allowed: all, or a number"),
        ("keys:\n  axons: [1]\nrule: []\n", "space.yaml:3: unknown key 'rule'; did you mean rules?"),
        ("keys:\n  axons: [1]\nbase: nonsense\n", "space.yaml:3: base 'nonsense': unknown chip 'nonsense'; expected mini, "),
        ("keys:\n  axons: [1]\nbase: paicore25\n", "space.yaml:3: base 'paicore25': is a chip of kind 'paicore'; needed: "),
        ("keys:\n  grid: [[2, 2]]\n  ports: [[[5, 5]]]\n", "space.yaml:1: ports: (5, 5) is not on the 2 x 2 grid"),
    ],
)
def test_wrong_spaces_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, text)
    done = qsnnc("explore", TINY, "--space", "space.yaml", "-o", "out")
    line = refused(done, 3, "space.yaml:")
    assert line.startswith(said), line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("a + 2 * b == 7", True),
        ("not a < b", False),
        ("min(a, b) == 1 and len(c) == 2", True),
        ("c[1] in [4, 5]", True),
        ("a > b or s.t // 2 == 2", True),
    ],
)
def test_rules(rule: str, value: bool) -> None:
    chip = {"a": 1, "b": 3, "c": [3, 4], "s.t": 5}
    assert rules.holds(rules.parse(rule, chip), chip) is value


@pytest.mark.parametrize(
    "rule", ["__import__('os')", "a.real", "[x for x in a]", "(lambda: 1)()", "a if a else a", "f'{a}'"]
)
def test_rules_run_no_code(rule: str) -> None:
    with pytest.raises(rules.RuleError):
        rules.parse(rule, {"a": 1})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=12))
def test_the_front_is_what_nobody_beats(points: list[tuple[int, ...]]) -> None:
    names = ("cores", "cycles", "energy_pj")
    chip = Candidate("c", {}, load_chip("mini"))
    rows = [Row("m", chip, {"fits": True, **dict(zip(names, point, strict=True))}) for point in points]

    def beats(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    wanted = [row for row, point in zip(rows, points, strict=True) if not any(beats(other, point) for other in points)]
    assert front(rows, names) == wanted
    assert not front([Row("m", chip, {**row.figures, "fits": False}) for row in rows], names)


def test_figures_of_a_front() -> None:
    assert parse_figures("cores,energy") == ("cores", "energy_pj")
    for wrong in ("cores", "cores,cores", "cores,speed", "cores,cycles,interval,bound"):
        with pytest.raises(UsageError, match="allowed: two or three of"):
            parse_figures(wrong)


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored")
    (folder / "space.yaml").write_text(SPACE)
    done = qsnnc("explore", TINY, "--space", "space.yaml", "--dataset", "digits", "-o", "out", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Pareto front by cores, energy_pj" in done.stdout
    on_one_screen(done.stdout)
    return folder


@pytest.mark.slow
def test_each_row_is_what_the_verbs_say(explored: Path) -> None:
    rows = list(csv.DictReader((explored / "out" / "table.csv").open()))
    space = read_space(str(explored / "space.yaml"))
    assert [row["chip"] for row in rows] == [chip.name for chip in space.chips]
    assert {row["fits"] for row in rows} == {"true", "false"}
    chosen = {path.stem for path in (explored / "out" / "chips").iterdir()}
    assert chosen == {row["chip"] for row in csv.DictReader((explored / "out" / "pareto.csv").open())}
    images = load_dataset("digits")
    numbers = [0, len(images) // 2]
    for row, chip in zip(rows, space.chips, strict=True):
        if row["chip"] not in chosen:
            continue
        compiled = compile_model(TINY, str(explored / "out" / "chips" / f"{chip.name}.yaml"))  # ready for --chip
        data = type(images)("digits", "test", images.images[numbers])
        timed = profile(compiled.mapping, data, timing_limit=2, threads=1)
        assert (int(row["cores"]), int(row["bound"])) == (compiled.cores, compiled.cores_bound)
        assert (float(row["cycles"]), float(row["energy_pj"])) == (timed.cycles.mean(), timed.parts.sum())
    assert all(row["violation"] for row in rows if row["fits"] == "false")
    value = json.loads((explored / "out" / "table.json").read_text())
    assert [row["chip"] for row in value["rows"]] == [row["chip"] for row in rows]
    made = value["provenance"]
    assert made["models"] == {"tiny": file_sha256(TINY)}
    assert made["dataset"]["name"] == "digits"
    assert not {"time", "command"} & set(made)
    assert {row["made_by"] for row in rows} == {digest(made)}


@pytest.mark.slow
def test_a_cluster_and_a_resumed_exploration_give_the_same_bytes(explored: Path) -> None:
    pytest.importorskip("distributed")
    words = ["explore", TINY, "--space", "space.yaml", "--dataset", "digits", "-o", "other", "-q"]
    done = qsnnc(*words, "--cluster", "local:2", cwd=explored)
    assert (done.returncode, done.stderr) == (0, "")
    results = sorted((explored / "other" / "tasks").rglob("??*/*"))
    for lost in results[::2]:
        lost.unlink()
    refused(qsnnc(*words, cwd=explored), 2, "-o: other holds an exploration; add --resume")
    assert qsnnc(*words, "--resume", cwd=explored).returncode == 0
    assert sorted((explored / "other" / "tasks").rglob("??*/*")) == results
    for path in (explored / "out").rglob("*"):
        if path.is_file() and path.name != "seconds.csv" and "tasks" not in path.parts:  # seconds differ
            theirs = explored / "other" / path.relative_to(explored / "out")
            assert path.read_bytes() == theirs.read_bytes(), path


@pytest.mark.slow
@pytest.mark.parametrize("by", ["cores", "bits"])
def test_the_smallest_chip_by_bisection(tmp_path: Path, by: str) -> None:
    text = "base: mini\nkeys:\n  grid: [" + ", ".join(f"[{n}, {n}]" for n in range(1, 17)) + "]\n"
    written(tmp_path, text)
    done = qsnnc("explore", TINY, "--space", "space.yaml", "--smallest", by, "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = load_chip(str(tmp_path / "out" / "smallest.yaml"))
    compile_model(TINY, found)
    side = found.grid[0]
    if side > 1:
        with pytest.raises(Exception, match="cores"):
            compile_model(TINY, found.model_copy(update={"grid": (side - 1, side - 1)}))
    assert len((tmp_path / "out" / "table.csv").read_text().splitlines()) - 1 <= 6
    written(tmp_path, "base: mini\nkeys:\n  grid: [[1, 1]]\n")
    done = qsnnc("explore", TINY, "--space", "space.yaml", "--smallest", by, "-o", "none", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (4, "no chip of 1 holds every network\n")


@pytest.mark.slow
def test_models_are_read_as_the_options_say(tmp_path: Path) -> None:
    written(tmp_path, "base: mini\nkeys: {grid: [[8, 8], [1, 1]]}\n")
    words = ["explore", TINY, "--space", "space.yaml", "-q", "--resume"]
    for name, options, keywords in (("plain", [], {}), ("other", ["--levels", "conv2=1"], {"levels": {"conv2": 1}})):
        assert qsnnc(*words, "-o", name, *options, cwd=tmp_path).returncode == 0
        rows = list(csv.DictReader((tmp_path / name / "table.csv").open()))
        assert int(rows[0]["cores"]) == compile_model(TINY, "mini", **keywords).cores
    kept = [{path.name for path in (tmp_path / name / "tasks").rglob("*")} for name in ("plain", "other")]
    assert not {name for name in kept[0] & kept[1] if len(name) > 2}
    refused(qsnnc(*words, "-o", "none", "--semantics", "snntorch", cwd=tmp_path), 2, "--semantics: ")
    assert not (tmp_path / "none").exists()


def test_wrong_options(space: Path, tmp_path: Path) -> None:
    words = ["explore", TINY, "--space", space, "-o", tmp_path / "out"]
    refused(qsnnc(*words, "--smallest", "size"), 2, "--smallest: is 'size'; allowed: cores or bits")
    refused(qsnnc(*words, "--pareto", "cores,cycles"), 2, "--dataset: is needed for cycles")
    refused(qsnnc(*words, "--cluster", "nowhere"), 2, "--cluster: is 'nowhere'")
    refused(qsnnc("explore", TINY, "--space", "none.yaml", "-o", tmp_path / "out"), 3, "none.yaml: cannot be read")
    assert not (tmp_path / "out").exists()


def test_a_chip_is_made_of_a_crossbar_chip(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kind 'paicore'"):
        read_space(str(written(tmp_path, "base: paicore25\nkeys: {grid: [[2, 2]]}\n")))
    with pytest.raises(InputError, match="more than"):
        read_space(str(written(tmp_path, "keys: {axons: {from: 1, to: 1000000, step: 0.5}}\n")))
