"""No file makes the program fail: whatever is changed in it, it is compiled or refused, in bounded time.

A few hundred files in the suite; `HYPOTHESIS_PROFILE=many` changes twenty thousand, those of the zoo as well.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import settings
from support.mutations import mutated
from support.places import ZOO
from support.published import CASES, moved

from chipsim.chip import load_chip
from chipsim.errors import ReportedError
from qsnnc import check, verify
from qsnnc.compilation import FailedCompilation

MANY = settings().max_examples >= 10_000
FILES = 20_000 if MANY else max(40, 3 * settings().max_examples)
#: seconds that a file may take
MOST_SECONDS = 60
ALLOWED = (0, 3, 4)  # not 1: a changed network is another one, and equal to its own file

sources: dict[str, Callable[[], onnx.ModelProto]] = {
    **{name: case.make for name, case in CASES.items()},
    "levels, then moved": lambda: moved("levels first"),
}
if MANY:
    sources |= {path.stem: lambda path=path: onnx.load(str(path)) for path in sorted(ZOO.glob("*.onnx"))}
LOTS = 20


def exit_code(model: onnx.ModelProto) -> int:
    """What `qsnnc verify` would exit with if that is not 0, else `qsnnc check`."""
    try:
        found = check(model, load_chip("mini"))
        if not verify(model, limit=2).passes():
            return 1
    except ReportedError as error:
        return error.exit_code if "\n" not in str(error) else -1  # an error is one line
    return 4 if isinstance(found, FailedCompilation) else 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lot", range(LOTS))
def test_a_changed_file_is_compiled_or_refused(lot) -> None:
    def late(*_: object) -> None:
        raise AssertionError(f"took more than {MOST_SECONDS} s")

    exit_code(CASES["Quant"].make())  # compiles what runs as machine code
    before = signal.signal(signal.SIGALRM, late)
    names = list(sources)
    try:
        for seed in range(lot, FILES, LOTS):
            name = names[seed % len(names)]
            what, model = mutated(sources[name](), seed)
            signal.alarm(MOST_SECONDS)
            try:
                code = exit_code(model)
            except Exception as error:
                raise AssertionError(f"{name}, seed {seed}: {what}: {type(error).__name__}: {error}") from error
            assert code in ALLOWED, f"{name}, seed {seed}: {what}: exit {code}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_change_is_one(save) -> None:
    """The mutations change something, and not always the same."""
    models = [mutated(CASES["Quant"].make(), seed)[1].SerializeToString() for seed in range(50)]
    assert len(set(models)) > 40
    assert np.mean([model != CASES["Quant"].make().SerializeToString() for model in models]) > 0.8
