"""Tasks in one process: keys, results that are kept, what a damaged one does."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cluster_tasks import task

from chipsim.errors import InputError
from chipsim.tasks import Here, Input, Kept, Recent, Task
from chipsim.tasks import task as tasks
from chipsim.tasks.versions import differences, versions


def kept(folder: Path | None = None) -> Kept:
    return Kept(Here(lambda line: None), folder)


def values(kept: Kept, given: list[Task]) -> list[bytes | None]:
    return [outcome.value for outcome in kept.outcomes(given, len(given))]


def test_results_come_in_order_and_are_computed_once(tmp_path: Path) -> None:
    squares = [task("square", number=number) for number in range(5)]
    wanted = [f"{number**2} []".encode() for number in range(5)]
    first, told = kept(tmp_path), []
    assert [each.value for each in first.outcomes(iter(squares), 5, lambda *of: told.append(of))] == wanted
    assert (first.found, first.computed) == (0, 5)
    assert told == [(number, 5) for number in range(1, 6)]
    second = kept(tmp_path)
    assert values(second, squares[::-1]) == wanted[::-1]
    assert (second.found, second.computed) == (5, 0)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b.replace(b"4", b"5"), lambda b: b[:10]])
def test_a_damaged_result_is_computed_again(tmp_path: Path, damage) -> None:
    one = task("square", number=2)
    values(kept(tmp_path), [one])
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.name == one.key
    file.write_bytes(damage(file.read_bytes()))
    again = kept(tmp_path)
    assert values(again, [one]) == [b"4 []"]
    assert again.computed == 1


def test_a_key_depends_on_all_that_determines_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(function="m:f", number=1, content=b"a", label="x", unkeyed=0) -> str:
        return Task(label, function, {"n": number}, (Input.of(content),), {"threads": unkeyed}).key

    assert len({key(), key(function="m:g"), key(number=2), key(content=b"b")}) == 4
    assert key() == key(label="y") == key(unkeyed=7)
    before = key()
    monkeypatch.setattr(tasks, "versions", lambda: {**versions(), "numpy": "0.1"})
    assert key() != before


def test_a_file_is_read_in_place_and_named_by_its_content(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"12345")
    first, second = (tasks.file_input(str(tmp_path / name)) for name in ("a", "b"))
    assert first.name == second.name == Input.of(b"12345").name
    assert values(kept(), [Task("t", "support.cluster_tasks:square", {"number": 3}, (first,))]) == [b"9 [5]"]
    with pytest.raises(InputError, match="cannot be read"):
        tasks.file_input(str(tmp_path / "c"))


def test_an_error_of_a_task_is_raised() -> None:
    with pytest.raises(InputError, match="images: are no images"):
        values(kept(), [task("refuse")])


def test_versions_cover_sources_chips_and_libraries() -> None:
    found = versions()
    assert set(found) == {"qsnnc", "numpy", "onnxruntime", "sources of chipsim", "sources of qsnnc", "chip files"}
    assert "missing" not in found.values()
    assert not differences(found)
    assert differences({**found, "numpy": "0.1"}) == f"numpy 0.1 (here {found['numpy']})"


def test_recent_values_are_not_made_again() -> None:
    made, recent = [], Recent(2)
    for key in "abbaca":
        recent.get(key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c"]
