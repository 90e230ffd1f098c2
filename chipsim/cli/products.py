"""The files that ``chipsim run`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chipsim import reads_writes, terminal
from chipsim.command_options import Json
from chipsim.errors import UsageError

#: the files of a directory of logs (`chipsim.report.logs`)
LOGS = ("accuracy.txt", "spike_num.txt", "sop_num.txt")

if TYPE_CHECKING:
    from chipsim.engine.result import RunResult
    from chipsim.timing.result import Profile


@dataclass(frozen=True, kw_only=True)
class Products:
    """The files that a run writes, ``-`` for standard output."""

    json: Json = None
    per_core: Annotated[str | None, typer.Option(metavar="FILE.csv", help="Write one row per core.")] = None
    per_image: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npz",
            help="Write spikes, SOPs and axon events of each core for each image; with --timing also cycles and energy.",
        ),
    ] = None
    outputs: Annotated[str | None, typer.Option(metavar="FILE.npz", help="Write predictions, scores and potentials.")] = None
    trains: Annotated[bool, typer.Option("--trains", help="Add the spikes of each layer in each step to --outputs.")] = False
    logs: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Write accuracy.txt, spike_num.txt and sop_num.txt there, one number per batch of 200 images.",
        ),
    ] = None

    def declared(self) -> dict[str, reads_writes.Product]:
        """Return each option and what it writes.

        Raises
        ------
        UsageError
            ``--trains`` without the file that holds them.
        """
        if self.trains and not self.outputs:
            raise UsageError("--trains", "needs --outputs FILE.npz, where the spikes are written", code="options-conflict")
        return {
            "--json": self.json,
            "--per-core": self.per_core,
            "--per-image": self.per_image,
            "--outputs": self.outputs,
            "--logs": None if self.logs is None else reads_writes.Folder(self.logs, LOGS),
        }

    def write(self, result: RunResult, profile: Profile | None, value: dict[str, Any]) -> None:
        """Write each file that was asked for."""
        from chipsim.report import logs, tables

        if self.logs:
            logs.write(result, self.logs)
        if self.per_core:
            terminal.write_output(self.per_core, tables.per_core_csv(result))
        if self.per_image:
            terminal.write_stream(self.per_image, lambda out: tables.write_per_image(result, out, profile))
        if self.outputs:
            terminal.write_stream(self.outputs, lambda out: tables.write_outputs(result, out))
        if self.json:
            from chipsim.report import schema

            schema.check_written(value, schema.RunMeans, schema.RunChip)
            terminal.write_json(self.json, value)
