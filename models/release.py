"""Make a trained network one of this folder's models: ONNX file, card, and the log of test-set evaluations.

``python -m models.release runs/first runs/second --name lenet --hardware "..." --data-dir DIR``: the last run is
released, and those before it are the ones that it started from. ``--tried runs`` writes the table of all runs.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from chipsim.files import write_atomically

HERE = Path(__file__).parent
LOG = "test-log.jsonl"
TABLE = ("<!-- table -->", "<!-- end of table -->")

Facts = dict[str, Any]


def read_log(directory: Path) -> list[Facts]:
    """Return one entry for each time that a model met the test set."""
    path = directory / LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_facts(run: str) -> Facts:
    """What a run's log and command file say of it."""
    log = [json.loads(line) for line in Path(f"{run}.log.jsonl").read_text().splitlines()]
    command = Path(f"{run}.command")
    judged = [which for entry in log for name, which in entry.items() if name in ("model", "average")]
    return {
        "run": Path(run).name,
        "command": command.read_text().strip() if command.exists() else "",
        "epochs": len(log),
        "hours": sum(entry["seconds"] for entry in log) / 3600,
        "validation": max(which[0] for which in judged),
        "spikes": judged[-1][2],
    }


def started_from(command: str, directory: Path) -> Facts | None:
    """Name, digest, epochs and hours of the committed network that a run's ``--init`` names."""
    found = re.search(r"--init \S*?([^/\s]+\.onnx)", command)
    entries = [entry for entry in read_log(directory) if found and entry["model"] == found[1]]
    return {key: entries[-1][key] for key in ("model", "sha256", "epochs", "hours")} if entries else None


def release(runs: list[str], name: str, directory: Path, options: argparse.Namespace) -> Facts:
    """Export, certify, evaluate (the test sets once) and write everything down."""
    import torch

    from models.certify import margins
    from models.evaluate import evaluate, load, same_in_any_batch
    from models.export import build, load_checkpoint

    model = load_checkpoint(f"{runs[-1]}.best.pt")
    history = [run_facts(run) for run in runs]
    before = started_from(history[0]["command"], directory)
    epochs = sum(each["epochs"] for each in history) + (before["epochs"] if before else 0)
    metadata = {"seed": str(options.seed), "epochs": str(epochs), "torch": torch.__version__}
    proto = build(model, metadata)
    content = proto.SerializeToString(deterministic=True)
    if any(entry["sha256"] == hashlib.sha256(content).hexdigest() for entry in read_log(directory)):
        raise SystemExit(f"{name} has met the test set before: choose models on the validation images")
    target = directory / f"{name}.onnx"
    write_atomically(target, content)
    validation = load("mnist", "validation", options.data_dir)
    if model.quantization is not None and not same_in_any_batch(target, validation.images[:400]):
        raise SystemExit(f"{name}: the scores depend on the batch size")
    sets = ("mnist", "digits")
    held = {s: evaluate(target, load(s, "validation", options.data_dir)) for s in sets}
    test = {s: evaluate(target, load(s, "test", options.data_dir)) for s in sets}
    facts = {
        **test["mnist"],
        "digits": test["digits"]["accuracy"],
        "validation": held["mnist"]["accuracy"],
        "digits_validation": held["digits"]["accuracy"],
        "widths": list(model.widths),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": history[-1]["command"],
        "seed": options.seed,
        "hardware": options.hardware,
        "epochs": epochs,
        "hours": sum(each["hours"] for each in history) + (before["hours"] if before else 0),
        "runs": history,
        "before": before,
    }
    if model.quantization is not None:
        facts["margins"] = {m.name: [m.units, m.safety] for m in margins(proto)}
    with (directory / LOG).open("a") as file:
        file.write(json.dumps(facts) + "\n")
    evaluations = [entry for entry in read_log(directory) if entry["model"] == target.name]
    (directory / f"{name}.md").write_text(card(name, facts, evaluations))
    return facts


def runs_table(runs: list[Facts]) -> str:
    """Runs as Markdown."""
    lines = ["| run | options | epochs | hours | best validation |", "| --- | --- | --- | --- | --- |"]
    for run in runs:
        options = run["command"].partition(f"--name {run['run']} ")[2] or run["command"]
        cells = [run["run"], f"`{options.removeprefix('--out runs ')}`", str(run["epochs"]), f"{run['hours']:.2f}"]
        lines.append(f"| {' | '.join([*cells, percent(run['validation'])])} |")
    return "\n".join(lines) + "\n"


def write_tried(folder: Path, target: Path) -> None:
    """Write the table of all runs of a folder, released or not, in the order in which they ended."""
    logs = sorted(folder.glob("*.log.jsonl"), key=lambda path: path.stat().st_mtime)
    runs = [run_facts(str(path).removesuffix(".log.jsonl")) for path in logs]
    target.write_text(
        "# Everything that was tried\n\nEvery training run, released or not; `python -m models.train` goes before the "
        "options. Hours are wall clock, on\na machine that often did other things beside. Accuracies are those of 5,000 "
        "validation images.\n\n" + runs_table(runs)
    )


def percent(fraction: float) -> str:
    """Two digits after the point."""
    return f"{100 * fraction:.2f} %"


def card(name: str, facts: Facts, evaluations: list[Facts]) -> str:
    """Write what a user has to know of a model, as Markdown; ``evaluations`` are those of networks that it replaced, too."""
    inference = f"python -m models.train --mode inference --model models/{name}.onnx"
    rows = [
        ("SHA-256", f"`{facts['sha256']}`"),
        ("Input", "`image`, float32 [N, 1, 28, 28], raw pixels 0 to 255"),
        ("Channels", ", ".join(map(str, facts["widths"]))),
        ("Data", "55,000 of MNIST's training images, 800 of the digits' training half four times an epoch"),
        ("Validation", "the other 5,000 and 98; every choice was made on them"),
        ("Seed", facts["seed"]),
        ("Command", f"`{facts['command']}`"),
        ("Hardware", facts["hardware"]),
        ("Hours", f"{facts['hours']:.2f} of wall clock for {facts['epochs']} epochs (a teacher's not counted)"),
        ("Validation accuracy", f"MNIST {percent(facts['validation'])}, "
                                f"digits {percent(facts['digits_validation'])}"),
        ("Test accuracy", f"MNIST {percent(facts['accuracy'])}, digits {percent(facts['digits'])}"),
    ]  # fmt: skip
    if "sops" in facts:
        layers = ", ".join(f"{s:.0f}" for s in facts["spikes_by_layer"])
        rows += [
            ("Spikes an image", f"{facts['paper_spikes']:.0f} with the encoder's; by layer {layers}"),
            ("SOPs an image", f"{facts['sops']:,.0f}; by the paper's count {facts['paper_sops']:,.0f}"),
        ]
    text = f"# {name}\n\n| | |\n| --- | --- |\n" + "".join(f"| {key} | {value} |\n" for key, value in rows)
    before = facts.get("before")
    if len(facts["runs"]) > 1 or before:
        text += (
            "\n## How it came about\n\nOne run after the other, each from the best weights of the one before. Within a "
            "run, validation\nchose the weights."
        )
        if before:
            text += (
                f" The first started from {before['model']} (`{before['sha256'][:12]}...`), {before['epochs']} epochs old."
            )
        text += f"\n\n{runs_table(facts['runs'])}"
    if "margins" in facts:
        text += "\n## Exactness\n\n"
        text += (
            "Every float32 sum is exact in any order, and no reachable accumulator lies within rounding\n"
            "of a decision; scores were the same bits in batches of 1, 7 and 200. Nearest decision, in\n"
            "accumulator units, and how many times the bound of batch norm's rounding that is:\n\n"
            "| layer | units | times |\n| --- | --- | --- |\n"
        )
        text += "".join(f"| {layer} | {u:.3f} | {s:,.0f} |\n" for layer, (u, s) in facts["margins"].items())
    tests = "".join(
        f"| {each['date']} | `{each['sha256'][:12]}...` | {percent(each['validation'])} | {percent(each['accuracy'])} "
        f"| {percent(each['digits'])} |\n"
        for each in evaluations
    )
    return text + (
        "\n## Evaluations on the test sets\n\nEvery one that was made, of the networks that this one replaced as well; "
        "spikes and SOPs are means over\nMNIST's 10,000 test images.\n\n"
        f"| date | network | validation | MNIST | digits |\n| --- | --- | --- | --- | --- |\n{tests}\nAgain:\n\n```\n"
        f"{inference} --dataset mnist --split test\n{inference} --dataset digits --split test\n```\n"
    )


def write_table(directory: Path) -> None:
    """Put the table of all committed models into README.md."""
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
    path = directory / "README.md"
    before, rest = path.read_text().split(TABLE[0])
    after = rest.split(TABLE[1])[1]
    path.write_text(before + "\n".join([TABLE[0], *lines, TABLE[1]]) + after)


def main() -> None:
    """Release one model."""
    p = argparse.ArgumentParser(prog="python -m models.release", description=__doc__)
    p.add_argument("runs", nargs="*", help="OUT/NAME of the run, after those that it started from")
    p.add_argument("--name", help="name of the ONNX file and its card")
    p.add_argument("--hardware", default="", help="what it was trained on, for the card")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--data-dir")
    p.add_argument("--directory", type=Path, default=HERE)
    p.add_argument("--tried", type=Path, metavar="OUT", help="write tried.md, the table of all runs in a folder")
    options = p.parse_args()
    if options.tried:
        write_tried(options.tried, options.directory / "tried.md")
    if not options.runs:
        return
    if not options.name:
        p.error("--name is needed to release a run")
    facts = release(options.runs, options.name, options.directory, options)
    if (options.directory / "README.md").exists():
        write_table(options.directory)
    print(json.dumps({key: facts[key] for key in ("model", "validation", "accuracy", "digits")}))


if __name__ == "__main__":
    main()
