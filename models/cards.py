"""The card of a released network, and lists of training runs, as Markdown."""

from __future__ import annotations

import shlex
import textwrap
from typing import Any

NOTES = "## Notes\n\n"  # written by hand, and kept when the card is written again
WIDTH = 100  # columns of a line of prose or of a command

Facts = dict[str, Any]


def card(name: str, entries: list[Facts], notes: str = "") -> str:
    """Return the card of a network as Markdown.

    Parameters
    ----------
    entries : list of dict
        The evaluations of this network, last, and of those that it replaced.
    notes : str
        A section of its own.
    """
    facts = entries[-1]
    rows = [
        ("SHA-256", f"`{facts['sha256']}`"),
        ("Input", "`image`, float32 [N, 1, 28, 28], raw pixels 0 to 255"),
        ("Channels", ", ".join(map(str, facts["widths"]))),
        ("Training data", "55,000 MNIST training images; 800 digits training images, each four times"),
        ("Validation data", "the other 5,000 and 98; every choice was made on them"),
        ("Seed", facts["seed"]),
        ("Hardware", facts["hardware"]),
        ("Training time", f"{facts['hours']:.2f} hours for {facts['epochs']} epochs, without its teachers'"),
        ("Validation accuracy", f"MNIST {percent(facts['validation'])}, digits {percent(facts['digits_validation'])}"),
        ("Test accuracy", f"MNIST {percent(facts['accuracy'])}, digits {percent(facts['digits'])}"),
    ]
    if "sops" in facts:
        layers = ", ".join(f"{s:,.0f}" for s in facts["spikes_by_layer"])
        rows += [
            ("Spikes per image", f"{facts['paper_spikes']:,.0f} with the encoder's; by layer {layers}"),
            ("SOPs per image", f"{facts['sops']:,.0f}; by the paper's count {facts['paper_sops']:,.0f}"),
        ]
    parts = [f"# {name}", "\n".join(["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)])]
    parts += _history(facts) + _exactness(facts) + _tests(name, entries)
    return "\n\n".join(parts) + (f"\n\n{NOTES}{notes}\n" if notes else "\n")


def _history(facts: Facts) -> list[str]:
    """Return the runs that led to a network."""
    text = "The released weights are those that validation chose in the last run."
    if len(facts["runs"]) > 1:
        text += " Each run started from the best weights of the one before."
    if facts.get("before"):
        before = facts["before"]
        text += f" The first started from {before['model']} (`{before['sha256'][:12]}...`, {before['epochs']} epochs)."
    return ["## Training", textwrap.fill(text, WIDTH), runs_table(facts["runs"]).rstrip()]


def _exactness(facts: Facts) -> list[str]:
    """Return the margins of a quantized network."""
    if "margins" not in facts:
        return []
    text = (
        "Every float32 sum is exact in any order, and no sum that an input can reach lies within float rounding of a "
        "threshold, so the scores do not depend on batch size or order of summation; batches of 1, 7 and 200 gave the "
        "same bits. "
        "Distance: from a threshold to the nearest reachable sum, in accumulator units. Safety: that distance over the "
        "bound on the rounding error of the batch normalization."
    )
    lines = [f"| {layer} | {units:.3f} | {safety:,.0f} |" for layer, (units, safety) in facts["margins"].items()]
    table = "\n".join(["| layer | distance | safety |", "| --- | --- | --- |", *lines])
    return ["## Exactness", textwrap.fill(text, WIDTH), table]


def _tests(name: str, entries: list[Facts]) -> list[str]:
    """Return every evaluation on the test sets, and how to repeat it."""
    lines = [
        f"| {each['date']} | `{each['sha256'][:12]}...` | {percent(each['validation'])} | {percent(each['accuracy'])} "
        f"| {percent(each['digits'])} |"
        for each in entries
    ]
    table = "\n".join(["| date | network | validation | MNIST | digits |", "| --- | --- | --- | --- | --- |", *lines])
    text = "All of them, also of networks that this one replaced. Spikes and SOPs are means over MNIST's 10,000 test images."
    command = f"python -m models.train --mode inference --model models/{name}.onnx"
    again = f"```\n{command} --data-dir DIR\n{command} --dataset digits\n```"
    return ["## Evaluations on the test sets", textwrap.fill(text, WIDTH), table, "To repeat them:", again]


def runs_table(runs: list[Facts]) -> str:
    """Return runs as a Markdown table, and their commands below it."""
    lines = ["| run | epochs | hours | best validation accuracy |", "| --- | --- | --- | --- |"]
    for each in runs:
        cells = [each["run"], str(each["epochs"]), f"{each['hours']:.2f}", percent(each["validation"])]
        lines.append(f"| {' | '.join(cells)} |")
    commands = "".join(f"\n# {each['run']}\n{wrapped_command(each['command'])}\n" for each in runs if each["command"])
    return "\n".join(lines) + f"\n\n```{commands}```\n"


def wrapped_command(command: str) -> str:
    """Break a command line into lines that a shell takes as one; an option stays on the line of its values."""
    parts: list[str] = []
    for word in shlex.split(command):
        quoted = shlex.quote(word)
        if word.startswith("--") or not parts:
            parts.append(quoted)
        else:
            parts[-1] += f" {quoted}"
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) + 3 > WIDTH:
            lines.append("  ")
        lines[-1] += part if not lines[-1].strip() else f" {part}"
    return " \\\n".join(lines)


def percent(fraction: float) -> str:
    """Return a share in percent, with two decimals."""
    return f"{100 * fraction:.2f} %"
