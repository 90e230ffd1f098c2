"""Train, export or evaluate a LeNet of this folder.

  python -m models.train --k 0 --B 1 --epochs 1 --data-dir DIR              train: writes runs/k0b1.*
  python -m models.train --mode export --k 0 --B 1 --model k0b1.onnx        export that run's best weights
  python -m models.train --mode inference --model k0b1.onnx --data-dir DIR  accuracy, spikes and SOPs of a file
  python -m models.train --mode inference --k 0 --B 1 --noise 0.1           the same of this folder's own network

Training prints the accuracy on the validation images after every epoch and writes into --out: NAME.ckpt (to
resume from), NAME.best.pt (the weights chosen by validation), NAME.log.jsonl (one JSON object per epoch, see
models/README.md) and NAME.command. It replaces no earlier run unless --overwrite is given.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from chipsim.errors import InputError, UsageError
from chipsim.files import write_atomically
from chipsim.paths import check_output
from models.command import Parser, check_new, real, run, whole
from models.runs import RunFiles, run_name

#: options that each mode uses; others are refused, so that none is silently without effect
USED = {
    "export": {"precision", "k", "B", "seed", "out", "name", "model", "overwrite"},
    "inference": {"precision", "k", "B", "seed", "noise", "model", "dataset", "split", "data_dir"},
}
NOT_TRAINING = {"model", "dataset", "split"}


def parser() -> argparse.ArgumentParser:
    """Return the options of the command line."""
    p = Parser("train", __doc__)
    p.add_argument("--mode", choices=["training", "export", "inference"], default="training", help="[default: training]")
    p.add_argument(
        "--precision",
        choices=["ternary", "full"],
        default="ternary",
        help="ternary weights and quantized activations, or full precision with ReLU [default: ternary]",
    )
    p.add_argument("--k", type=whole(0), default=1, help="precision: an activation is a multiple of 2^-k [default: 1]")
    p.add_argument("--B", type=whole(1), default=2, help="upper bound of an activation; it has 2^k B levels [default: 2]")
    p.add_argument("--seed", type=whole(0), default=1, help="seed of the training, or of --noise in inference [default: 1]")
    p.add_argument("--data-dir", metavar="DIR", help="directory of the four MNIST files; without it they are downloaded")
    p.add_argument(
        "--model",
        metavar="FILE.onnx",
        help="export: the file to write; inference: the file to evaluate [default: this folder's network of that k and B]",
    )
    p.add_argument(
        "--noise",
        type=real(0, 1),
        default=0.0,
        metavar="P",
        help="inference: lose each encoder spike with probability P; training: train for losses of up to P [default: 0]",
    )
    _training_options(p.add_argument_group("training"))
    files = p.add_argument_group("files of a run")
    files.add_argument("--out", default="runs", metavar="DIR", help="folder of the run's files [default: runs]")
    files.add_argument("--name", type=_name, help="name of the run's files [default: by k and B, as k1b2, or fp32]")
    files.add_argument(
        "--resume", action="store_true", help="continue the run of that name from its checkpoint, if it has one"
    )
    files.add_argument("--overwrite", action="store_true", help="replace an earlier run, or an exported file, of that name")
    files.add_argument("--save-every", type=whole(1), default=1, metavar="N", help="epochs between checkpoints [default: 1]")
    data = p.add_argument_group("inference")
    data.add_argument("--dataset", default="mnist", help="mnist, digits or an npz file with labels [default: mnist]")
    data.add_argument("--split", default="test", help="test, train, or validation: 5,000 training images [default: test]")
    return p


def _training_options(p: argparse._ArgumentGroup) -> None:
    six = {"nargs": 6, "metavar": "N"}
    p.add_argument("--epochs", type=whole(1), default=100, help="[default: 100]")
    p.add_argument("--rate", type=real(1e-9), default=2e-3, help="peak learning rate [default: 0.002]")
    p.add_argument("--teacher", nargs="+", metavar="FILE", help="distil from these networks (.best.pt or .onnx): their mean")
    p.add_argument("--init", metavar="FILE", help="start from these weights (.best.pt or .onnx) instead of random ones")
    p.add_argument(
        "--remove-below",
        type=real(0),
        default=0.0,
        metavar="SHARE",
        help="with --init: remove the channels that fire less than this share of their layer's mean",
    )
    p.add_argument(
        "--keep", type=whole(1), **six, help="with --init: keep at most N channels of each layer, those that fire most"
    )
    p.add_argument("--widths", type=whole(1), **six, help="without --init: channels of each layer, as for a wider teacher")
    p.add_argument("--augment", type=real(0), default=1.0, help="strength of the augmentation [default: 1]")
    p.add_argument(
        "--elastic", type=real(0), default=0.0, metavar="PIXELS", help="bend strokes by so much (standard deviation)"
    )
    p.add_argument("--penalty", type=real(0), default=0.0, help="loss per spike and image, weighted by --costs [default: 0]")
    p.add_argument(
        "--costs",
        type=real(0),
        nargs=6,
        metavar="C",
        default=(1.3, 1.0, 1.5, 1.0, 1.2, 0.8),
        help="weight of a spike in each layer: 1, and more where it meets many synapses [default: 1.3 1 1.5 1 1.2 0.8]",
    )
    p.add_argument(
        "--prune",
        type=real(0),
        default=0.7,
        metavar="FACTOR",
        help="weights below FACTOR times their channel's mean magnitude become zero [default: 0.7]",
    )
    p.add_argument("--device", default="auto", help="cpu, cuda, or auto: cuda where there is one [default: auto]")
    p.add_argument(
        "--threads", type=whole(1), metavar="N", help="CPU threads; two runs of one each do as much as one of two"
    )
    p.add_argument("--compile", action="store_true", help="fuse a step with torch.compile (needs a C++ compiler)")
    p.add_argument("--bf16", action="store_true", help="convolve in bfloat16: a third faster on a CPU that has it")
    p.add_argument("--quiet", action="store_true", help="print nothing")
    p.add_argument("--limit", type=whole(1), metavar="N", help="train on N of MNIST's images only, for tests")
    p.add_argument("--stop-after", type=whole(1), metavar="N", help="stop after epoch N as if killed, for tests")


def _name(text: str) -> str:
    if not text or "/" in text or text.startswith("."):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a file; --out chooses the folder")
    return text


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse a command line, and refuse options that its mode does not use."""
    p = parser()
    options = p.parse_args(arguments)
    for action in p._actions:
        action.default = argparse.SUPPRESS
    given = set(vars(p.parse_args(arguments))) - {"mode"}
    unused = given & NOT_TRAINING if options.mode == "training" else given - USED[options.mode]
    if unused:
        name = f"--{min(unused).replace('_', '-')}"
        raise UsageError(name, f"has no effect with --mode {options.mode}; leave it out", code="option-unused")
    options.given = given
    if options.mode == "training":
        _check_training(options)
    return options


def _check_training(options: argparse.Namespace) -> None:
    """Refuse combinations that would train another network than the one asked for."""
    quantized = {"k", "B", "noise", "prune"} & options.given
    if options.precision == "full" and quantized:
        name = min(quantized)
        raise UsageError(f"--{name}", "has no effect on a network of full precision; leave it out", code="option-unused")
    narrowing = {"remove_below", "keep"} & options.given
    if options.init is None and narrowing:
        raise UsageError(
            f"--{min(narrowing).replace('_', '-')}", "narrows the network of --init; give one", code="option-unused"
        )
    if options.init is not None and options.widths is not None:
        raise UsageError("--widths", "is for random weights; --keep narrows the network of --init", code="options-conflict")
    if "costs" in options.given and not options.penalty:
        raise UsageError("--costs", "weighs the spikes of --penalty; give one", code="option-unused")
    if options.resume and options.overwrite:
        raise UsageError("--resume", "cannot be given with --overwrite; choose one", code="options-conflict")


def main(arguments: list[str] | None = None) -> None:
    """Train, export or evaluate."""
    options = parse(arguments)
    if options.mode == "training":
        _train(options, sys.argv[1:] if arguments is None else arguments)
    elif options.mode == "export":
        _export(options)
    else:
        _evaluate(options)


def _train(options: argparse.Namespace, words: list[str]) -> None:
    files = RunFiles(Path(options.out), run_name(options))
    if not options.resume and not options.overwrite:
        files.check_unused()
    from models.trainer import Trainer

    trainer = Trainer(options, files)
    files.make_folder()
    kept = [word for word in words if word not in ("--resume", "--overwrite", "--quiet")]
    write_atomically(files.command, f"python -m models.train {shlex.join(kept)}\n".encode())
    trainer.run()


def _export(options: argparse.Namespace) -> None:
    if options.model is None:
        raise UsageError("--mode export", "needs --model FILE.onnx, the file to write", code="option-missing")
    if not options.overwrite:
        check_new(options.model, "--overwrite")
    check_output(options.model)
    from models.export import export_bytes, load_checkpoint

    best = RunFiles(Path(options.out), run_name(options)).best
    write_atomically(options.model, export_bytes(load_checkpoint(str(best)), {"seed": str(options.seed)}))


def _evaluate(options: argparse.Namespace) -> None:
    from models.evaluate import evaluate, load, metadata, read_network

    if "seed" in options.given and not options.noise:
        raise UsageError("--seed", "draws the noise, and there is none; give --noise too", code="option-unused")
    path = Path(options.model) if options.model else committed(options)
    facts = metadata(read_network(path))
    wanted = {name: str(getattr(options, name)) for name in ("k", "B") if name in options.given}
    for name, value in wanted.items():
        if facts.get(name) != value:
            raise UsageError(
                f"--{name}",
                f"{value} was given, and {path} has {facts.get(name, 'none')}; leave it out",
                code="model-differs",
            )
    data = load(options.dataset, options.split, options.data_dir)
    print(json.dumps(evaluate(path, data, options.noise, options.seed)))


def committed(options: argparse.Namespace) -> Path:
    """Return this folder's network of the precision, k and B that are asked for."""
    if options.precision == "full":
        name = "lenet-fp32"
    else:
        name = "lenet" if (options.k, options.B) == (1, 2) else f"lenet-k{options.k}b{options.B}"
    path = Path(__file__).parent / f"{name}.onnx"
    if not path.exists():
        raise InputError(str(path), "is not there: no network of that k and B was trained; name a file with --model",
                         code="model-missing")  # fmt: skip
    return path


if __name__ == "__main__":
    run("train", main)
