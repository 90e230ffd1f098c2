"""What a command reads and what it writes, declared in one place and checked before anything else happens.

A command calls `check` with an `Input` for each file that it reads and a path, or a `Folder`, for each product. Two products
are not one file, none is written over an input, each can be written, and each input is there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from chipsim import paths
from chipsim.codes import Code
from chipsim.errors import InputError, UsageError


@dataclass(frozen=True, slots=True)
class Input:
    """A file that is read."""

    path: str
    code: Code | None  # of the error where it cannot be read; None: there is no path
    stored: bool = False  # a pipe will not do
    others: Callable[[str], Iterable[str]] = lambda path: ()  # files that it refers to, or that are read beside it


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory, and the files that are written there."""

    path: str
    names: tuple[str, ...]
    parents: bool = False  # the directories above it are made too


Product = str | Folder | None


def mapping(path: str) -> Input:
    """Return a ``.map`` or ``.paicore`` as an input."""
    return Input(path, "file-unreadable", stored=True)


def result(path: str) -> Input:
    """Return the JSON of a run or a sweep as an input."""
    return Input(path, "file-unreadable")


def listed(path: object, code: Code) -> list[Input]:
    """Return a YAML file as an input, if there is one."""
    return [Input(os.fspath(path), code)] if isinstance(path, str | os.PathLike) else []


def chip(name: str | None, option: str = "--chip") -> list[Input]:
    """Return the file of a chip as an input; none for a preset, whose name is checked here.

    Raises
    ------
    UsageError
        There is neither a preset of that name nor a file.
    """
    from chipsim.chip.load import check_name, is_file_name

    if name is None:
        return []
    if is_file_name(name):
        return [Input(name, "file-unreadable")]
    check_name(name, option)
    return []


def dataset(name: str | None, split: str | None = None, data_dir: object = None, option: str = "--dataset") -> list[Input]:
    """Return the file of a data set as an input; nothing has to be there for one that is called by name.

    Raises
    ------
    UsageError
        An unknown name, or an option that has no effect with these images.
    """
    from chipsim.datasets import check_source, files

    if name is None:
        return []
    check_source(name, split, data_dir, option)
    if name.endswith(".npz"):
        return [Input(name, "data-missing", stored=True)]
    return [Input("", None, others=lambda _: map(str, files(name, data_dir)))]


def check(reads: Iterable[Input], writes: Mapping[str, Product]) -> None:
    """Refuse products that cannot all be written and inputs that cannot be read, before the work starts.

    Parameters
    ----------
    reads : sequence of Input
    writes : mapping of str to str or Folder
        Options and what they name, ``"-"`` for standard output; None: not asked for.

    Raises
    ------
    UsageError
        Two products are one file or both go to standard output, or one is a file that is read.
    InputError
        A product cannot be written, or an input cannot be read.
    """
    inputs, wanted = list(reads), {option: value for option, value in writes.items() if value is not None}
    files = [(option, path) for option, value in wanted.items() for path in _files(value)]
    _check_standard_output([path for _, path in files])
    if any(path != "-" for _, path in files):
        _check_distinct(inputs, files)
    for value in wanted.values():
        if isinstance(value, Folder):
            paths.check_folder(value.path, parents=value.parents)
    for option, path in files:
        if not isinstance(wanted[option], Folder) or paths.look(path).kind != "nothing":
            paths.check_output(path)
    for entry in inputs:
        if entry.code is not None:
            paths.check_readable(entry.path, entry.code, stored=entry.stored)


def _files(value: str | Folder) -> list[str]:
    if isinstance(value, Folder):
        return [paths.join(value.path, name) for name in value.names]
    return [value]


def _check_standard_output(files: list[str]) -> None:
    if "-" not in files:
        return
    if sys.stdout is None:
        raise InputError("standard output", "is closed; write to a file", code="output-unwritable")
    screen = paths.standard_output()
    if files.count("-") > 1 or any(path != "-" and paths.same(paths.look(path), screen) for path in files):
        raise UsageError("-", "only one output can go to standard output; write the other to a file", code="output-twice")


def _check_distinct(inputs: Iterable[Input], files: list[tuple[str, str]]) -> None:
    taken: dict[tuple[object, ...], str] = {}
    for entry in inputs:
        for path in filter(None, (entry.path, *entry.others(entry.path))):
            taken[paths.look(path).identity] = "an input"
    for option, path in files:
        if path == "-":
            continue
        place = paths.look(path)
        if place.identity in taken:
            text = f"{path} is also {taken[place.identity]}; choose another file"
            raise UsageError(option, text, code="output-twice", found=path)
        taken[place.identity] = f"the file of {option}"
