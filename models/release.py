"""Release a trained network: write its ONNX file and its card, and log how it does on the test sets.

  python -m models.release runs/first runs/second --name lenet --hardware "8 cores" --data-dir DIR

releases the last run; those before it are the ones that it started from (``--init``). A network meets the test
sets once, when it is released; choose between networks by their validation accuracy. ``--cards`` writes the
cards and the table of README.md again from the log, ``--tried OUT`` the list of all runs in a folder.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import re
import tempfile
import textwrap
from pathlib import Path

from chipsim.errors import InputError, UsageError
from chipsim.files import write_atomically
from chipsim.paths import check_output
from models.cards import NOTES, WIDTH, Facts, card, percent, runs_table
from models.command import Parser, check_new, run, whole
from models.runs import RunFiles

HERE = Path(__file__).parent
LOG = "test-log.jsonl"
TABLE = ("<!-- table -->", "<!-- end of table -->")


def read_log(directory: Path) -> list[Facts]:
    """Return one entry for each time that a network met the test sets.

    Raises
    ------
    InputError
        The log is damaged.
    """
    path = directory / LOG
    try:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    except ValueError as error:
        raise InputError(str(path), f"is not JSON, line by line ({error})", code="log-invalid") from None


def run_facts(run: str) -> Facts:
    """Return what the log and the command file of a run, OUT/NAME, say about it.

    Raises
    ------
    InputError
        There is no such run.
    """
    files = RunFiles(Path(run).parent, Path(run).name)
    log = files.read_log()
    judged = [found for entry in log for found in entry["validation"].values()]
    return {
        "run": files.name,
        "command": files.command.read_text().strip() if files.command.exists() else "",
        "epochs": len(log),
        "hours": sum(entry["seconds"] for entry in log) / 3600,
        "validation": max(found["accuracy"] for found in judged),
        "spikes": judged[-1]["spikes_per_image"],
    }


def started_from(command: str, directory: Path) -> Facts | None:
    """Return name, digest, epochs and hours of the released network that a run's ``--init`` names."""
    found = re.search(r"--init \S*?([^/\s]+\.onnx)", command)
    entries = [entry for entry in read_log(directory) if found and entry["model"] == found[1]]
    return {key: entries[-1][key] for key in ("model", "sha256", "epochs", "hours")} if entries else None


def release(runs: list[str], name: str, directory: Path, options: argparse.Namespace) -> Facts:
    """Export, certify and evaluate a network (the test sets once), then write its file, its card and the log.

    Raises
    ------
    InputError
        A run is missing or unfinished, the network has met the test sets before, or a file cannot be written.
    """
    target = directory / f"{name}.onnx"
    for path in (target, directory / f"{name}.md", directory / LOG):
        check_output(path)
    if not options.replace:
        check_new(target, "--replace")
    history = [run_facts(run) for run in runs]
    before = started_from(history[0]["command"], directory)
    epochs = sum(each["epochs"] for each in history) + (before["epochs"] if before else 0)
    content, widths = _exported(runs[-1], {"seed": str(options.seed), "epochs": str(epochs)})
    if any(entry["sha256"] == hashlib.sha256(content).hexdigest() for entry in read_log(directory)):
        raise InputError(
            name, "has met the test sets before; choose networks on the validation images", code="test-set-twice"
        )
    facts = {
        **_measured(content, name, options.data_dir),
        "widths": widths,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": history[-1]["command"],
        "seed": options.seed,
        "hardware": options.hardware,
        "epochs": epochs,
        "hours": sum(each["hours"] for each in history) + (before["hours"] if before else 0),
        "runs": history,
        "before": before,
    }
    # the log first: what has met the test sets is noted, whatever becomes of the rest
    entries = [*read_log(directory), facts]
    write_atomically(directory / LOG, "".join(json.dumps(entry) + "\n" for entry in entries).encode())
    write_atomically(target, content)
    write_card(name, entries, directory)
    return facts


def _exported(run: str, facts: dict[str, str]) -> tuple[bytes, list[int]]:
    """Return the ONNX file of a run's best weights, and the channels of its layers."""
    import torch

    from models.export import export_bytes, load_checkpoint

    model = load_checkpoint(f"{run}.best.pt")
    return export_bytes(model, {**facts, "torch": torch.__version__}), list(model.widths)


def _measured(content: bytes, name: str, data_dir: str | None) -> Facts:
    """Return what is measured of an ONNX file: margins, accuracies, spikes and SOPs."""
    import onnx

    from models.certify import margins
    from models.evaluate import evaluate, load, same_in_any_batch

    sets = ("mnist", "digits")
    held = {each: load(each, "validation", data_dir) for each in sets}
    test = {each: load(each, "test", data_dir) for each in sets}
    proto = onnx.load_model_from_string(content)
    quantized = any(node.op_type == "Round" for node in proto.graph.node)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name}.onnx")
        file.write_bytes(content)
        if quantized and not same_in_any_batch(file, held["mnist"].images[:400]):
            raise InputError(name, "has scores that depend on the batch size; it is not released", code="not-exact")
        validation = {each: evaluate(file, data)["accuracy"] for each, data in held.items()}
        facts = evaluate(file, test["mnist"])
        facts["digits"] = evaluate(file, test["digits"])["accuracy"]
    facts |= {"validation": validation["mnist"], "digits_validation": validation["digits"]}
    if quantized:
        facts["margins"] = {m.name: [m.units, m.safety] for m in margins(proto)}
    return facts


def write_tried(folder: Path, target: Path) -> None:
    """Write the list of all runs of a folder, released or not, in the order in which they ended.

    Raises
    ------
    InputError
        The folder holds no run, or the file cannot be written.
    """
    logs = sorted(folder.glob("*.log.jsonl"), key=lambda path: path.stat().st_mtime)
    if not logs:
        raise InputError(str(folder), "holds no training run (NAME.log.jsonl)", code="run-missing")
    runs = [run_facts(str(path).removesuffix(".log.jsonl")) for path in logs]
    text = (
        "Released or not, in the order in which they ended. Hours are wall-clock time on a machine "
        "that was often busy with other work. Accuracies are on the 5,000 validation images."
    )
    write_atomically(target, f"# Every training run\n\n{textwrap.fill(text, WIDTH)}\n\n{runs_table(runs)}".encode())


def write_card(name: str, entries: list[Facts], directory: Path) -> None:
    """Write the card of a network from the log; what stands under "Notes" in its old card is kept."""
    path = directory / f"{name}.md"
    old = path.read_text() if path.exists() else ""
    notes = old.partition(NOTES)[2].partition("\n## ")[0].strip()
    mine = [entry for entry in entries if entry["model"] == f"{name}.onnx"]
    write_atomically(path, card(name, mine, notes).encode())


def write_table(directory: Path) -> None:
    """Put the table of all released networks into README.md, if the folder has one with a place for it."""
    path = directory / "README.md"
    text = path.read_text() if path.exists() else ""
    before, start, rest = text.partition(TABLE[0])
    _, end, after = rest.partition(TABLE[1])
    if not start or not end:
        return
    lines = [
        "| model | epochs | validation | MNIST test | digits test | paper spikes | SOPs | paper SOPs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    latest = {entry["model"]: entry for entry in read_log(directory)}  # where one replaced another
    for f in latest.values():
        counts = [f"{f[key]:,.0f}" if key in f else "" for key in ("paper_spikes", "sops", "paper_sops")]
        name = Path(f["model"]).stem
        cells = [f"[{name}]({name}.md)", str(f["epochs"]), percent(f["validation"]), percent(f["accuracy"])]
        lines.append(f"| {' | '.join([*cells, percent(f['digits']), *counts])} |")
    write_atomically(path, (before + "\n".join([start, *lines, end]) + after).encode())


def write_cards(directory: Path) -> None:
    """Write every card again from the log, and the table of README.md."""
    entries = read_log(directory)
    for model in {entry["model"]: entry for entry in entries if "runs" in entry}:  # the first card was written by hand
        write_card(Path(model).stem, entries, directory)
    write_table(directory)


def parser() -> argparse.ArgumentParser:
    """Return the options of the command line."""
    p = Parser("release", __doc__)
    p.add_argument("runs", nargs="*", metavar="OUT/NAME", help="the run, after those that it started from")
    p.add_argument("--name", help="name of the ONNX file and of its card")
    p.add_argument("--hardware", default="", help="what it was trained on, for the card")
    p.add_argument("--seed", type=whole(0), default=1, help="seed of the training, for the card [default: 1]")
    p.add_argument("--data-dir", metavar="DIR", help="directory of the four MNIST files; without it they are downloaded")
    p.add_argument("--directory", type=Path, default=HERE, metavar="DIR", help="where to write [default: this folder]")
    p.add_argument("--replace", action="store_true", help="replace the network of that name")
    p.add_argument("--cards", action="store_true", help="write every card and the table of README.md again")
    p.add_argument("--tried", type=Path, metavar="OUT", help="write tried.md, the list of all runs in a folder")
    return p


def main(arguments: list[str] | None = None) -> None:
    """Release one network, or write the cards or the list of runs again."""
    p = parser()
    options = p.parse_args(arguments)
    if not (options.runs or options.tried or options.cards):
        raise UsageError(p.prog, "there is nothing to do; name a run, --cards or --tried OUT. Try --help.", code="usage")
    if options.runs and (not options.name or "/" in options.name):
        raise UsageError("--name", "is needed to release a run: the name of a file without .onnx", code="option-missing")
    if not options.directory.is_dir():
        raise InputError(str(options.directory), "is not a directory", code="output-unwritable")
    if options.tried:
        write_tried(options.tried, options.directory / "tried.md")
    if options.cards:
        write_cards(options.directory)
    if options.runs:
        facts = release(options.runs, options.name, options.directory, options)
        write_table(options.directory)
        print(json.dumps({key: facts[key] for key in ("model", "validation", "accuracy", "digits")}))


if __name__ == "__main__":
    run("release", main)
