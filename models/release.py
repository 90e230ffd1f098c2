"""Make a trained network one of this folder's models: ONNX file, card, and the log of test-set evaluations.

``python -m models.release runs/k1b2 --name lenet --command "..." --hardware "..." --data-dir DIR``
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
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


def release(run: str, name: str, directory: Path, options: argparse.Namespace) -> Facts:
    """Export, certify, evaluate (the test sets once) and write everything down."""
    import torch

    from models.certify import margins
    from models.evaluate import evaluate, load, same_in_any_batch
    from models.export import build, load_checkpoint

    model = load_checkpoint(f"{run}.best.pt")
    training = [json.loads(line) for line in Path(f"{run}.log.jsonl").read_text().splitlines()]
    metadata = {"seed": str(options.seed), "epochs": str(len(training)), "torch": torch.__version__}
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
        "command": options.command,
        "seed": options.seed,
        "hardware": options.hardware,
        "epochs": len(training),
        "hours": sum(entry["seconds"] for entry in training) / 3600,
    }
    if model.quantization is not None:
        facts["margins"] = {m.name: [m.units, m.safety] for m in margins(proto)}
    with (directory / LOG).open("a") as file:
        file.write(json.dumps(facts) + "\n")
    (directory / f"{name}.md").write_text(card(name, facts))
    return facts


def percent(fraction: float) -> str:
    """Two digits after the point."""
    return f"{100 * fraction:.2f} %"


def card(name: str, facts: Facts) -> str:
    """Write what a user has to know of a model, as Markdown."""
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
        ("Hours", f"{facts['hours']:.2f} for {facts['epochs']} epochs (a teacher's time not counted)"),
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
    if "margins" in facts:
        text += "\n## Exactness\n\n"
        text += (
            "Every float32 sum is exact in any order, and no reachable accumulator lies within rounding\n"
            "of a decision; scores were the same bits in batches of 1, 7 and 200. Nearest decision, in\n"
            "accumulator units, and how many times the bound of batch norm's rounding that is:\n\n"
            "| layer | units | times |\n| --- | --- | --- |\n"
        )
        text += "".join(f"| {layer} | {u:.3f} | {s:,.0f} |\n" for layer, (u, s) in facts["margins"].items())
    return text + (
        "\n## Evaluations on the test sets\n\nEvery one that was made; spikes and SOPs are means over "
        "MNIST's 10,000 test\nimages.\n\n| date | MNIST | digits |\n| --- | --- | --- |\n"
        f"| {facts['date']} | {percent(facts['accuracy'])} | {percent(facts['digits'])} |\n\nAgain:\n\n```\n"
        f"{inference} --dataset mnist --split test\n{inference} --dataset digits --split test\n```\n"
    )


def write_table(directory: Path) -> None:
    """Put the table of all committed models into README.md."""
    lines = [
        "| model | epochs | validation | MNIST test | digits test | paper spikes | SOPs | paper SOPs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for f in read_log(directory):
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
    p.add_argument("run", help="OUT/NAME of the training run, without suffix")
    p.add_argument("--name", required=True, help="name of the ONNX file and its card")
    p.add_argument("--command", required=True, help="the command that trained it, for the card")
    p.add_argument("--hardware", required=True, help="what it was trained on, for the card")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--data-dir")
    p.add_argument("--directory", type=Path, default=HERE)
    options = p.parse_args()
    facts = release(options.run, options.name, options.directory, options)
    if (options.directory / "README.md").exists():
        write_table(options.directory)
    print(json.dumps({key: facts[key] for key in ("model", "validation", "accuracy", "digits")}))


if __name__ == "__main__":
    main()
