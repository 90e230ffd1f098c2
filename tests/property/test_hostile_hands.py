"""Whatever is given to the command lines: a documented exit code, one line, no left-overs, and every input as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support import hostile
from support.fork_server import SECONDS
from support.places import TESTS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="Linux")]
#: cases in each profile of tests/conftest.py, by its number of examples: HYPOTHESIS_PROFILE=many draws 5,000
CASES = {5: 5, 100: 120, 2000: 2000, 10_000: 5000}


class Server:
    """The fork server, and the inputs."""

    def __init__(self, folder: Path) -> None:
        self.inputs, self.folder = folder / "inputs", folder
        self.inputs.mkdir()
        hostile.workshop(self.inputs)
        self.results = [(self.inputs / name).read_bytes() for name in ("r.json", "s.json")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.fork_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])},
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def run(self, case: hostile.Case) -> list[str]:
        """Run a case on inputs of its own; everything that is wrong with what comes of it."""
        work, streams, temporary = (self.folder / name for name in ("work", "streams", "temporary"))
        for path in (work, streams, temporary):
            hostile.unlock(path)
            shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.inputs), str(work)], check=True)
        (work / "damaged.json").write_bytes(case.damaged)
        for path in (streams, temporary):
            path.mkdir()
        request = hostile.request(case, work, streams, temporary)
        before = hostile.content(work)
        answer = self._alone(request) if case.process else self._forked(request)
        errors = (streams / "stderr").read_bytes().decode("utf-8", "replace") if (streams / "stderr").exists() else ""
        left = sorted(path.name for path in temporary.iterdir())
        found = hostile.wrong(case, answer, errors, before, hostile.content(work), left)
        return [f"{case}: {one}; {errors[-400:]!a}" for one in found]

    def _forked(self, request: dict) -> dict:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def _alone(self, request: dict) -> dict:
        """The same in a process of its own, whose start and end are the interpreter's."""
        return self._forked({**request, "alone": [sys.executable]})

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(SECONDS)
        hostile.unlock(self.folder / "work")
        hostile.unlock(self.inputs)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("hostile"))
    yield made
    made.close()


def test_whatever_is_given(server: Server) -> None:
    """On a failure, ``CASE=number`` runs that case alone."""
    only = os.environ.get("CASE")
    numbers = [int(only)] if only else range(CASES.get(settings().max_examples, 120))
    wrong = [line for number in numbers for line in server.run(hostile.draw(number, server.results))]
    assert not wrong, "\n".join(wrong)
