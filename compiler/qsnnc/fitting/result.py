"""What ``qsnnc fit`` found: the changes with which a network fits, and the command that makes each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipsim import paths, screen
from chipsim.chip import AnyChip
from chipsim.errors import printable
from chipsim.files import write_atomically
from chipsim.wording import shortened
from qsnnc.errors import QsnncError, Violation
from qsnnc.fitting.compiled import Fitting, Measured
from qsnnc.fitting.pareto import MOST

if TYPE_CHECKING:
    from rich.table import Table

#: names of the files that a search may write
NAMES = tuple(f"fit-{number}.{ending}" for number in range(1, MOST + 1) for ending in ("onnx", "yaml"))
#: lines that a change takes on the screen; its command is one line, to be copied
MOST_LINES = 4


@dataclass(frozen=True, slots=True)
class Found:
    """One change with which the network fits."""

    fitting: Fitting
    kind: str
    words: tuple[str, ...]
    change: Mapping[str, Any]  # the same as JSON
    command: str
    files: Mapping[str, bytes]  # by name, to be written into the directory

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON."""
        each = self.fitting
        return {
            "kind": self.kind,
            "words": list(self.words),
            "change": dict(self.change),
            "chip": each.chip.name,
            "cores": each.cores,
            "cores_bound": each.cores_bound,
            "cores_available": each.chip.cores,
            "exactness": "certified" if each.certified else "tested",
            "host_share": round(each.host_share, 6),
            "calibration": None if each.calibration is None else asdict(each.calibration),
            "dataset": None if each.dataset is None else asdict(each.dataset),
            "files": sorted(self.files),
            "command": self.command,
        }


@dataclass(frozen=True, slots=True)
class FitResult:
    """The changes with which a network fits a chip, the least accuracy lost first."""

    model_sha256: str
    chip: AnyChip
    fits: bool  # as it is
    cores: int | None  # of the network as it is; None if a layer of it fits on no core
    estimated: bool
    found: tuple[Found, ...]
    tried: int
    untried: int  # kinds of change for which the budget left no time
    remaining: tuple[Violation, ...]  # limits that the narrowest network still exceeds, where nothing fits
    narrowest: tuple[str, ...]
    choice: str  # which images the changes were chosen on
    calibration: Measured | None  # the unchanged network
    dataset: Measured | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "schema": "qsnnc-fit/1",
            "model_sha256": self.model_sha256,
            "chip": self.chip.name,
            "fits": self.fits,
            "cores": self.cores,
            "estimated": self.estimated,
            "cores_available": self.chip.cores,
            "choice": self.choice,
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "dataset": None if self.dataset is None else asdict(self.dataset),
            "found": [each.to_json() for each in self.found],
            "tried": self.tried,
            "untried_kinds": self.untried,
            "narrowest": list(self.narrowest),
            "violations": [violation.to_json() for violation in self.remaining],
            "seconds": round(self.seconds, 3),
        }

    def write(self, folder: str) -> None:
        """Write the files of all changes into a directory; none stays if one cannot be written.

        Raises
        ------
        InputError
        """
        files = {paths.join(folder, name): content for each in self.found for name, content in each.files.items()}
        if files:
            paths.make_folder(folder, parents=True)
        written: list[str] = []
        try:
            for path, content in files.items():
                write_atomically(path, content)
                written.append(path)
        except BaseException:
            for path in written:
                Path(path).unlink(missing_ok=True)
            raise

    def refusal(self, source: str) -> NothingFits:
        """Return the error where nothing fits: what limit remains, and how far."""
        return NothingFits(source, self)

    def lines(self) -> list[Any]:
        """Return a table of the changes, and the command of each."""
        found: list[Any] = [self._table(), ""]
        for number, each in enumerate(self.found, 1):
            said = screen.wrap(f"{number}. {'; '.join(each.words)}")
            if len(said) > MOST_LINES:
                said = [*said[: MOST_LINES - 1], "  ... --json FILE names all"]
            found += [*said, f"   {each.command}"]
        changes = "1 change" if self.tried == 1 else f"{self.tried} changes"
        prose = [f"compiled {changes} in {self.seconds:.0f} s; {self.choice}"]
        if self.untried:
            prose.append(f"{self.untried} kinds of change were not tried, for lack of time; --budget SECONDS gives more")
        measured = self.dataset or self.calibration
        if measured is not None:
            prose.append("accuracy is that of the changed network as it is; training it again may win some back")
        return [*found, "", *(line for text in prose for line in screen.wrap(text))]

    def _table(self) -> Table:
        from rich.table import Table

        table = Table("", box=None, pad_edge=False)
        table.add_column("change", max_width=10)
        table.add_column("chip")
        chips = shortened((self.chip.name, *(found.fitting.chip.name for found in self.found)), 10)
        for name in ("cores", "of"):
            table.add_column(name, justify="right")
        before = [each for each in (self.calibration, self.dataset) if each is not None]
        for each in before:
            table.add_column(f"{_heading(each.images)} {'changed' if each.accuracy is None else '%'}", justify="right")
            if each.accuracy is not None:
                table.add_column("lost", justify="right")
        table.add_column("to the\nhost", justify="right")
        if before:
            cores = "-" if self.cores is None else f"{'about ' if self.estimated else ''}{self.cores:,}"
            table.add_row("", "as it is", chips[self.chip.name], cores, f"{self.chip.cores:,}", *_row(before), "")
        for number, found in enumerate(self.found, 1):
            done = found.fitting
            measured = [m for m in (done.calibration, done.dataset) if m is not None]
            host = f"{100 * done.host_share:.0f} %" if done.host_share else ""
            there = f"{done.cores:,}", f"{done.chip.cores:,}"
            kind = found.kind.replace("weight bits", "bits").replace(" + ", ", ")
            table.add_row(str(number), kind, chips[done.chip.name], *there, *_row(measured), host)
        return table


class NothingFits(QsnncError):
    """No change that was tried makes a network fit; the violations are those of its narrowest form."""

    exit_code = 4

    def __init__(self, source: str, found: FitResult) -> None:
        self.violations = found.remaining
        worst = found.remaining[0]
        text = f"none of {found.tried} changes makes it fit chip {found.chip.name!r}"
        if found.narrowest:
            text += " (narrowed most: " + "; ".join(each[:60] + "..." * (len(each) > 60) for each in found.narrowest) + ")"
        times = ""
        if isinstance(worst.found, int) and isinstance(worst.allowed, int) and worst.allowed > 0:
            times = f" at {worst.found / worst.allowed:.3g} times what there is"
        super().__init__(
            source, f"{text}. What remains: {worst.limit}{times}. {worst.layer}: {worst.advice}",
            code="fit-nothing", layer=worst.layer, limit=worst.limit, found=worst.found, allowed=worst.allowed,
        )  # fmt: skip


def _heading(images: str) -> str:
    """Return what images are called on two lines: the data set, or a file without its folders, and the part of it."""
    name = printable(os.path.basename(images))
    source, _, part = name.rpartition(" ")
    return f"{shortened([source], 10)[source]}\n{part}" if source else f"{shortened([name], 10)[name]}\n"


def _row(measured: Sequence[Measured]) -> list[str]:
    row = []
    for each in measured:
        if each.accuracy is None:
            row.append(f"{each.predictions_changed} of {each.count}")
        else:
            row += [f"{100 * each.accuracy:.2f}", f"{100 * (each.lost or 0.0):+.2f}"]
    return row
