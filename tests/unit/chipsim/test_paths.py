"""Questions about paths are answered, never raised; reads end; an output that cannot be written is known before."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from chipsim import files, paths
from chipsim.errors import InputError

LONG = "x" * 300


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("target")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"content")
    os.link("file", "hard")
    return tmp_path


@pytest.mark.parametrize("name", [LONG, "loop", "a\0b", "y/" * 4000, "file/x", ""])
def test_a_path_that_cannot_be_looked_at_has_a_reason_or_is_nothing(here: Path, name: str) -> None:
    found = paths.look(name)
    assert found.kind == "nothing"
    for check in (
        lambda: paths.check_output(name),
        lambda: paths.check_readable(name, "c"),
        lambda: paths.read(name, 9, "c"),
    ):
        with pytest.raises(InputError) as error:
            check()
        assert str(error.value).count("\n") == 0


def test_one_file_whatever_it_is_called(here: Path) -> None:
    same = lambda a, b: paths.same(paths.look(a), paths.look(b))  # noqa: E731
    assert same("file", "./folder/../file")
    assert same("file", "hard")
    assert same("dangling", "target")
    assert same("new", here / "new")
    assert not same("new", "folder/new")
    assert not same("file", "new")


def test_outputs(here: Path) -> None:
    for name in ("file", "new", "dangling", "folder/new", "-", "a" * 250, "/dev/null"):
        paths.check_output(name)
    for name in ("folder", "new/", "none/x", "loop", LONG, ".", "/"):
        with pytest.raises(InputError, match="cannot be written") as error:
            paths.check_output(name)
        assert error.value.code == "output-unwritable"


def test_the_longest_name_can_be_written(here: Path) -> None:
    files.write_atomically("a" * 255, b"x")
    files.write_atomically("dangling", b"y")
    assert (here / ("a" * 255)).read_bytes() == b"x"
    assert (here / "dangling").is_symlink()
    assert (here / "target").read_bytes() == b"y"
    with pytest.raises(InputError, match="cannot be written: Too many levels"):
        files.write_atomically("loop", b"z")
    assert (here / "loop").is_symlink()
    assert not list(here.glob("*.tmp"))


def test_a_working_directory_that_is_gone(here: Path) -> None:
    gone = here / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        with pytest.raises(InputError, match="the working directory does not exist any more"):
            paths.check_output("x")
        assert paths.check_output("-") is None
        paths.check_output(here / "new")
        assert paths.look("x").kind == "nothing"
    finally:
        os.chdir(here)


def test_what_has_no_end_is_not_read_for_ever(here: Path) -> None:
    with pytest.raises(InputError, match="has more than 1,000 bytes, or no end"):
        paths.read("/dev/zero", 1000, "c")
    with open("sparse", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="has more than 1,000 bytes"):
        paths.read("sparse", 1000, "c")


def test_a_pipe_is_read_to_its_end(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("fifo")
    writer = threading.Thread(target=lambda: (here / "fifo").write_bytes(b"said"))
    writer.start()
    assert paths.read("fifo", 100, "c") == b"said"
    writer.join()
    monkeypatch.setattr(paths, "PATIENCE", 0.05)
    with pytest.raises(InputError, match=r"sends nothing for 0\.05 s"):
        paths.read("fifo", 100, "c")
    with pytest.raises(InputError, match="it is a pipe or a device, and a file is needed"):
        paths.check_readable("fifo", "c", stored=True)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_searched(here: Path) -> None:
    (here / "folder").chmod(0)
    try:
        for name in ("folder/x", "folder/x/y"):
            assert paths.look(name).reason == "Permission denied"
    finally:
        (here / "folder").chmod(0o700)


def test_directories(here: Path) -> None:
    paths.check_folder("folder")
    paths.check_folder("new")
    paths.check_folder("new/deeper", parents=True)
    for name in ("file", "none/logs", "loop", LONG, "file/x"):
        with pytest.raises(InputError, match="cannot be written"):
            paths.check_folder(name)
    with pytest.raises(InputError, match="cannot be written"):
        paths.check_folder("file/x", parents=True)


def test_an_interrupted_write_leaves_nothing(here: Path) -> None:
    def stop(file: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.stream_atomically("file", stop)
    assert (here / "file").read_bytes() == b"content"

    def leave(file: object) -> None:
        files.abandon()
        raise OSError(5, "gone")

    with pytest.raises(InputError):
        files.stream_atomically("file", leave)
    assert sorted(path.name for path in here.iterdir()) == ["dangling", "file", "folder", "hard", "loop"]
