"""Train, export or evaluate: ``python -m models.train --k 1 --B 2 --mode training --epochs 100 --seed 1``.

``--k 1 --B 2 --mode inference`` evaluates the committed model.

Training writes NAME.ckpt (to go on from), NAME.best.pt (the weights chosen on the validation images) and
NAME.log.jsonl (a line an epoch) into --out.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    p = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    p.add_argument("--mode", choices=["training", "export", "inference"], default="training")
    p.add_argument("--precision", choices=["ternary", "full"], default="ternary")
    p.add_argument("--k", type=int, default=1)
    p.add_argument("--B", type=int, default=2)
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--resume", action="store_true")
    p.add_argument(
        "--teacher", nargs="+", help="checkpoints (.best.pt) or ONNX files of this folder to distill from: their mean"
    )
    p.add_argument("--init", help="checkpoint (.best.pt) or ONNX file to start from instead of random weights")
    p.add_argument(
        "--remove-below",
        type=float,
        default=0.0,
        help="with --init: remove channels that fire less than this share of their layer's mean",
    )
    p.add_argument(
        "--keep",
        type=int,
        nargs=6,
        metavar="N",
        help="with --init: keep at most so many channels of each layer, those that fire most",
    )
    p.add_argument(
        "--widths",
        type=int,
        nargs=6,
        metavar="N",
        help="without --init: so many channels of each layer, as for a wider teacher",
    )
    p.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    p.add_argument("--augment", type=float, default=1.0, help="strength of the augmentation, 0 to 1")
    p.add_argument("--elastic", type=float, default=0.0, help="bend strokes by so many pixels (standard deviation)")
    p.add_argument("--noise", type=float, default=0.0, help="train for encoder spikes lost, up to this share")
    p.add_argument("--penalty", type=float, default=0.0, help="loss for a spike, weighted by layer")
    p.add_argument(
        "--costs",
        type=float,
        nargs=6,
        default=(1.3, 1.0, 1.5, 1.0, 1.2, 0.8),
        help="how much a spike of each layer costs: one for itself, and more where it meets many synapses",
    )
    p.add_argument("--prune", type=float, default=0.7, help="ternary threshold over mean|w|: larger prunes more")
    p.add_argument("--data-dir", help="directory of the four MNIST files")
    p.add_argument("--out", default="runs")
    p.add_argument("--name", help="name of the run's files")
    p.add_argument("--device", default="auto")
    p.add_argument("--threads", type=int, help="CPU threads; two runs of one each do as much as one run of two")
    p.add_argument("--compile", action="store_true", help="fuse the step with torch.compile (needs a C++ compiler)")
    p.add_argument("--bf16", action="store_true", help="convolve in bfloat16: a third faster on a CPU that has it")
    p.add_argument("--limit", type=int, help="use only so many MNIST images (for tests)")
    p.add_argument("--stop-after", type=int, help="stop after this epoch as if killed (for tests)")
    p.add_argument("--save-every", type=int, default=1, help="epochs between checkpoints")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.add_argument(
        "--model",
        help="the ONNX file to write (export) or to evaluate (inference; without it: the committed one of this k and B)",
    )
    p.add_argument("--dataset", default="mnist", help="inference: mnist, digits or an npz file")
    p.add_argument("--split", default="test", help="inference: test, train or validation")
    return p


def main(arguments: list[str] | None = None) -> None:
    """Train, export or evaluate."""
    options = parser().parse_args(arguments)
    if options.mode == "training":
        from models.trainer import Trainer

        trainer = Trainer(options)
        words = sys.argv[1:] if arguments is None else arguments
        (trainer.out / f"{trainer.name}.command").write_text(f"python -m models.train {shlex.join(words)}\n")
        trainer.run()
        return
    if options.mode == "export":
        if options.model is None:
            raise SystemExit("--mode export needs --model FILE.onnx")
        from models.export import build, load_checkpoint

        name = options.name or ("fp32" if options.precision == "full" else f"k{options.k}b{options.B}")
        model = load_checkpoint(str(Path(options.out) / f"{name}.best.pt"))
        proto = build(model, {"seed": str(options.seed)})
        Path(options.model).write_bytes(proto.SerializeToString(deterministic=True))
        return
    from models.evaluate import evaluate, load

    model = options.model or committed(options)
    print(json.dumps(evaluate(model, load(options.dataset, options.split, options.data_dir))))


def committed(options: argparse.Namespace) -> Path:
    """Return this folder's model of the precision, k and B that are asked for."""
    if options.precision == "full":
        name = "lenet-fp32"
    else:
        name = "lenet" if (options.k, options.B) == (1, 2) else f"lenet-k{options.k}b{options.B}"
    path = Path(__file__).parent / f"{name}.onnx"
    if not path.exists():
        raise SystemExit(f"{path} is not there; name a file with --model")
    return path


if __name__ == "__main__":
    main()
