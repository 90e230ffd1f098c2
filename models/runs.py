"""The files of a training run, and what has to stay the same when it is resumed; needs no torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chipsim.errors import InputError, UsageError
from chipsim.files import write_atomically
from chipsim.paths import check_output

Record = dict[str, Any]

#: options that decide which weights a run ends at; the others say where and how fast it runs
RECIPE = (
    "precision", "k", "B", "seed", "epochs", "teacher", "init", "remove_below", "keep", "widths", "rate", "augment",
    "elastic", "noise", "penalty", "costs", "prune", "limit",
)  # fmt: skip


def run_name(options: argparse.Namespace) -> str:
    """Return the name of a run's files: ``--name``, or one made of the precision or of k and B."""
    return options.name or ("fp32" if options.precision == "full" else f"k{options.k}b{options.B}")


def recipe(options: argparse.Namespace) -> Record:
    """Return the options that decide the weights, as values that a checkpoint can hold."""
    chosen = {name: getattr(options, name) for name in RECIPE}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()}


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files OUT/NAME.* of a training run."""

    folder: Path
    name: str

    @property
    def checkpoint(self) -> Path:
        """Everything that the next epoch depends on."""
        return self.folder / f"{self.name}.ckpt"

    @property
    def best(self) -> Path:
        """The weights that validation chose."""
        return self.folder / f"{self.name}.best.pt"

    @property
    def log(self) -> Path:
        """One JSON object per epoch."""
        return self.folder / f"{self.name}.log.jsonl"

    @property
    def command(self) -> Path:
        """The command line that makes the run from the beginning."""
        return self.folder / f"{self.name}.command"

    def check_unused(self) -> None:
        """Refuse to replace the files of an earlier run.

        Raises
        ------
        InputError
            There is a run of that name.
        """
        found = [path for path in (self.checkpoint, self.best, self.log) if path.exists()]
        if found:
            raise InputError(
                str(found[0]),
                "belongs to an earlier run; --resume continues it, --name NAME starts another, --overwrite replaces it",
                code="run-exists",
                found=str(found[0]),
            )

    def make_folder(self) -> None:
        """Make the folder.

        Raises
        ------
        InputError
            It cannot be made, or not be written into.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                str(self.folder), f"cannot be made: {error.strerror}; choose another --out", code="output-unwritable"
            ) from None
        check_output(self.checkpoint)

    def read_log(self) -> list[Record]:
        """Return one entry per epoch.

        Raises
        ------
        InputError
            The log is missing, or is not one that `models.train` wrote.
        """
        try:
            entries = [json.loads(line) for line in self.log.read_text().splitlines()]
            for entry in entries:
                for found in (entry["epoch"], entry["seconds"], entry["validation"]["model"]["accuracy"]):
                    float(found)
        except OSError as error:
            raise InputError(
                str(self.log), f"cannot be read: {error.strerror}; name a run as OUT/NAME", code="run-missing"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise InputError(
                str(self.log),
                "is not a training log of this version; see models/README.md for its fields",
                code="log-invalid",
            ) from None
        if not entries:
            raise InputError(str(self.log), "holds no epoch; train the run first", code="log-invalid")
        return entries

    def keep_log(self, epochs: int) -> None:
        """Drop what the log has beyond the epochs that the checkpoint holds; make an empty log for none."""
        lines = self.log.read_text().splitlines(keepends=True)[:epochs] if epochs and self.log.exists() else []
        write_atomically(self.log, "".join(lines).encode())


def check_resumed(saved: Mapping[str, Any] | None, wanted: Record, path: Path) -> None:
    """Refuse to resume a run with other options than it was started with.

    Raises
    ------
    InputError
        The checkpoint does not say what it was trained with.
    UsageError
        An option differs: its name, what the checkpoint has, what was given.
    """
    if not isinstance(saved, Mapping):
        raise InputError(
            str(path),
            "does not say which options it was trained with; start anew with --overwrite",
            code="checkpoint-invalid",
        )
    for name, value in wanted.items():
        if saved.get(name) != value:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                option,
                f"{_shown(value)} was given, and {path} was trained with {_shown(saved.get(name))}; resume with the same "
                "options, or start another run with --name (its weights can be the start: --init)",
                code="resume-differs",
                found=value,
                allowed=saved.get(name),
            )


def epoch_line(record: Record, epochs: int) -> str:
    """Describe an epoch in one line, from its entry in the log."""
    found = record["validation"]
    line = f"epoch {record['epoch']}/{epochs}: loss {record['loss']:.3f}, validation accuracy "
    line += f"{100 * found['model']['accuracy']:.2f} %"
    if "average" in found:
        line += f" (averaged weights {100 * found['average']['accuracy']:.2f} %)"
    digits = found["model"]["digits_accuracy"]
    return f"{line}, digits {100 * digits:.2f} %, {record['seconds']:.0f} s"


def _shown(value: object) -> str:
    """A value as it stands on a command line."""
    if value is None:
        return "nothing"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
