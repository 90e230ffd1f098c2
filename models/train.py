"""Train or evaluate a LeNet: ``python -m models.train --k 1 --B 2 --mode training --epochs 100 --seed 1``."""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from models.data import Data, augment, load
from models.export import build, load_checkpoint
from models.network import LeNet, Quantization
from torch import Tensor
from torch.nn import functional as F

BATCH = 256
PEAK_RATE = 2e-3
WARM_UP = 0.15
SMOOTHING = 0.03
TEMPERATURE = 2.0
AVERAGING = 0.998  # of the master weights, a step
#: how much a spike of each layer costs beside the others: about its share of the paper's operations
SPIKE_COST = (1.2, 0.7, 1.8, 0.5, 0.8, 0.4)


def rate(step: int, steps: int) -> float:
    """One cycle: linear warm-up, cosine decay to a thousandth."""
    warm = WARM_UP * steps
    if step < warm:
        return PEAK_RATE * (0.04 + 0.96 * step / warm)
    return PEAK_RATE * (1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))))


class Trainer:
    """A training run that can be killed after any epoch and goes on to the same weights."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        name = options.device
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
        )
        torch.manual_seed(options.seed)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        q = None if options.precision == "full" else Quantization(options.k, options.B)
        self.model = LeNet(q, prune=options.prune).to(self.device)
        self.average = LeNet(q, prune=options.prune).to(self.device)
        self.average.load_state_dict(self.model.state_dict())
        self.teacher = load_checkpoint(options.teacher).to(self.device) if options.teacher else None
        self.data: Data = load(options.data_dir, self.device, limit=options.limit)
        self.learning_rate = torch.tensor(PEAK_RATE, device=self.device)
        decay = 0.0 if q else 1e-2
        cuda = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=self.learning_rate if cuda else PEAK_RATE,
            weight_decay=decay,
            capturable=cuda,
        )
        self.draws = torch.Generator().manual_seed(options.seed)
        self.batches = len(self.data.images) // BATCH
        self.index = torch.zeros(BATCH, dtype=torch.long, device=self.device)
        self.losses = torch.zeros((), device=self.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.epoch = 0
        self.best_accuracy = -1.0
        self.best: dict[str, Tensor] = {}
        self.out = Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.name = options.name or ("fp32" if q is None else f"k{options.k}b{options.B}")

    # -- one step --------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Forward, backward and update on the images at ``self.index``."""
        draw = torch.rand(BATCH, 6, device=self.device) * 2 - 1
        pixels = augment(self.data.images[self.index], draw)
        labels = self.data.labels[self.index]
        scores, activations = self.model(pixels)
        loss = F.cross_entropy(scores, labels, label_smoothing=SMOOTHING)
        if self.teacher is not None:
            with torch.no_grad():
                wanted = F.log_softmax(self.teacher(pixels)[0] / TEMPERATURE, dim=1)
            given = F.log_softmax(scores / TEMPERATURE, dim=1)
            distance = F.kl_div(given, wanted, log_target=True, reduction="batchmean") * TEMPERATURE**2
            loss = 0.3 * loss + 0.7 * distance
        if self.options.penalty:
            spikes = self.model.spikes(activations)
            loss = loss + self.options.penalty * sum(
                c * s.mean() for c, s in zip(SPIKE_COST, spikes, strict=True)
            )
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        self.optimizer.step()
        self.model.clamp_masters()
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1 - AVERAGING)
            self.losses += loss.detach()

    def capture(self) -> None:
        """Record the step as a CUDA graph: the network is too small to keep a GPU busy call by call."""
        initial = copy.deepcopy(self.state())
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()
        self.restore(initial)

    def train_epoch(self, steps: int) -> float:
        """One pass over the images in a fresh order; the mean loss."""
        self.model.train()
        order = torch.randperm(len(self.data.images), generator=self.draws).to(self.device)
        self.losses.zero_()
        for batch in range(self.batches):
            now = rate(self.epoch * self.batches + batch, steps)
            if self.device.type == "cuda":
                self.learning_rate.fill_(now)
            else:
                self.optimizer.param_groups[0]["lr"] = now
            self.index.copy_(order[batch * BATCH : (batch + 1) * BATCH])
            if self.graph is not None:
                self.graph.replay()
            else:
                self.step()
        self.epoch += 1
        return float(self.losses) / self.batches

    # -- judging ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(self) -> None:
        """Estimate the averaged network's batch norms anew on augmented training images."""
        norms = [m for m in self.average.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # type: ignore[assignment]
        self.average.train()
        generator = torch.Generator().manual_seed(0)
        for _ in range(min(20, self.batches)):
            index = torch.randint(len(self.data.images), (BATCH,), generator=generator).to(self.device)
            draw = (torch.rand(BATCH, 6, generator=generator) * 2 - 1).to(self.device)
            self.average(augment(self.data.images[index], draw))
        self.average.eval()

    @torch.no_grad()
    def validate(self, model: LeNet) -> tuple[float, float, float, float]:
        """Accuracy on MNIST's validation images and on the held-out digits; spikes and SOPs an image."""
        model.eval()
        hits, spikes, sops = 0.0, 0.0, 0.0
        for start in range(0, len(self.data.validation_images), 1000):
            images = self.data.validation_images[start : start + 1000]
            scores, activations = model(images)
            hits += float((scores.argmax(1) == self.data.validation_labels[start : start + 1000]).sum())
            spikes += sum(float(s.sum()) for s in model.spikes(activations))
            if model.quantization is not None:
                sops += float(model.sops(activations)[0].sum())
        digits = float(
            (model(self.data.digits_images)[0].argmax(1) == self.data.digits_labels).float().mean()
        )
        n = len(self.data.validation_images)
        return hits / n, digits, spikes / n, sops / n

    # -- keeping ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        q = self.model.quantization
        return {
            "k": q.k if q else None,
            "B": q.b if q else None,
            "prune": self.options.prune,
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "draws": self.draws.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "best": self.best,
            "best_accuracy": self.best_accuracy,
        }

    def save(self) -> None:
        """Write the checkpoint, whole or not at all; and the best weights alone, which are small."""
        for suffix, content in (("ckpt", self.state()), ("best.pt", self._best_only())):
            path = self.out / f"{self.name}.{suffix}"
            torch.save(content, f"{path}.tmp")
            os.replace(f"{path}.tmp", path)

    def _best_only(self) -> dict[str, Any]:
        state = self.state()
        return {key: state[key] for key in ("k", "B", "prune", "best", "best_accuracy", "epoch")}

    def restore(self, state: dict[str, Any]) -> None:
        """Put a state back in place, so that a recorded graph goes on with it."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        if self.graph is None:
            self.optimizer.load_state_dict(state["optimizer"])
        else:
            saved = state["optimizer"]["state"]
            for number, parameter in enumerate(self.model.parameters()):
                for key, value in self.optimizer.state[parameter].items():
                    value.copy_(saved[number][key]) if number in saved else value.zero_()
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"].cpu())
        self.draws.set_state(state["draws"].cpu())
        torch.set_rng_state(state["torch"].cpu())
        self.epoch, self.best, self.best_accuracy = state["epoch"], state["best"], state["best_accuracy"]

    def run(self) -> None:
        """Train to the last epoch, validating and saving after each."""
        from rich.progress import Progress

        options = self.options
        if self.device.type == "cuda":
            self.capture()
        checkpoint = self.out / f"{self.name}.ckpt"
        if options.resume and checkpoint.exists():
            self.restore(torch.load(checkpoint, map_location=self.device, weights_only=True))
        steps = options.epochs * self.batches
        log = (self.out / f"{self.name}.log.jsonl").open("a")
        with Progress(disable=options.quiet) as bar:
            task = bar.add_task(self.name, total=options.epochs, completed=self.epoch)
            while self.epoch < min(options.epochs, options.stop_after or options.epochs):
                start = time.perf_counter()
                loss = self.train_epoch(steps)
                late = self.epoch > 0.75 * options.epochs or self.epoch == options.epochs
                candidates = {"model": self.model, "average": self.average} if late else {"model": self.model}
                results = {}
                if late:
                    self.settle()
                for which, network in candidates.items():
                    if not late and self.epoch % 5:
                        continue
                    results[which] = self.validate(network)
                    accuracy = (
                        results[which][0] + 0.1 * results[which][1]
                    )  # MNIST decides, digits break near-ties
                    if late and accuracy >= self.best_accuracy:
                        self.best_accuracy = accuracy
                        self.best = {
                            key: value.detach().clone() for key, value in network.state_dict().items()
                        }
                record = {
                    "epoch": self.epoch,
                    "loss": loss,
                    "seconds": time.perf_counter() - start,
                    **results,
                }
                log.write(json.dumps(record) + "\n")
                log.flush()
                if (
                    not options.save_every
                    or self.epoch % options.save_every == 0
                    or self.epoch == options.epochs
                ):
                    self.save()
                bar.advance(task)
        log.close()


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
    p.add_argument("--teacher", help="checkpoint (.best.pt) to distill from")
    p.add_argument("--penalty", type=float, default=0.0, help="loss for a spike, weighted by layer")
    p.add_argument(
        "--prune", type=float, default=0.7, help="ternary threshold over mean|w|: larger prunes more"
    )
    p.add_argument("--data-dir", help="directory of the four MNIST files")
    p.add_argument("--out", default="runs")
    p.add_argument("--name", help="name of the run's files")
    p.add_argument("--device", default="auto")
    p.add_argument("--limit", type=int, help="use only so many MNIST images (for tests)")
    p.add_argument("--stop-after", type=int, help="stop after this epoch as if killed (for tests)")
    p.add_argument("--save-every", type=int, default=1, help="epochs between checkpoints")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.add_argument("--model", help="the ONNX file to write (export) or to evaluate (inference)")
    p.add_argument("--dataset", default="mnist", help="inference: mnist, digits or an npz file")
    p.add_argument("--split", default="test")
    return p


def main(arguments: list[str] | None = None) -> None:
    """Train, export or evaluate."""
    options = parser().parse_args(arguments)
    if options.mode == "training":
        Trainer(options).run()
    elif options.mode == "export":
        name = options.name or ("fp32" if options.precision == "full" else f"k{options.k}b{options.B}")
        model = load_checkpoint(str(Path(options.out) / f"{name}.best.pt"))
        metadata = {"k": str(options.k), "B": str(options.B)} if model.quantization else {}
        Path(options.model or f"{name}.onnx").write_bytes(
            build(model, {**metadata, "seed": str(options.seed)}).SerializeToString(deterministic=True)
        )
    else:
        from models.evaluate import accuracy

        print(json.dumps(accuracy(options.model, options.dataset, options.split, options.data_dir)))


if __name__ == "__main__":
    main()
