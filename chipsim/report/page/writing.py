"""What ``chipsim report`` and ``qsnnc report`` do: check the files, make the page, write it."""

from __future__ import annotations

import sys

from chipsim import reads_writes, terminal
from chipsim.errors import UsageError


def write_page(
    file: str,
    output: str,
    *,
    run: str | None = None,
    compiled: str | None = None,
    model: str | None = None,
    dataset: str | None = None,
    split: str | None = None,
    data_dir: str | None = None,
    quiet: bool = False,
) -> None:
    """Write the page of a mapping; parameters are those of the command.

    Raises
    ------
    UsageError, InputError, MappingError
        Before anything is written.
    """
    if dataset is not None and run is None:
        raise UsageError(
            "--dataset", "shows images of a run; add the run, or leave it out", code="option-unused", found=dataset
        )
    for option, value in (("--split", split), ("--data-dir", data_dir)):
        if dataset is None and value is not None:
            raise UsageError(option, f"needs --dataset; add it, or leave {option} out", code="option-unused", found=value)
    reads = [
        reads_writes.mapping(file),
        *[reads_writes.result(path) for path in (run, compiled) if path is not None],
        *[reads_writes.Input(path, "file-unreadable") for path in (model,) if path is not None],
        *reads_writes.dataset(dataset, split, data_dir),
    ]
    reads_writes.check(reads, {"-o": output})
    from chipsim.datasets import load_dataset
    from chipsim.report.page.evidence import Evidence
    from chipsim.report.page.page import page

    images = None if dataset is None else load_dataset(dataset, split or "test", data_dir)  # type: ignore[arg-type]  # checked
    text = page(file, Evidence(run=run, compiled=compiled, model=model, dataset=images)).encode()
    terminal.write_output(output, text)
    if not quiet and output != "-":
        print(f"{output}: {len(text) / 1e6:.1f} MB; open it in a browser", file=sys.stderr)  # noqa: T201
