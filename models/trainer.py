"""A training run: steps, averaged weights, validation, and checkpoints that it goes on from."""

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
import torch._inductor.config
from torch import Tensor
from torch.nn import functional as F

from models.data import Data, augment, load
from models.export import load_checkpoint
from models.network import WIDTHS, LeNet, Quantization
from models.prune import remove_channels

BATCH = 256
PEAK_RATE = 2e-3
WARM_UP = 0.15
SMOOTHING = 0.03
BENDS = 5  # points a side of the grid on which strokes are bent
TEMPERATURE = 2.0
AVERAGING = 0.998  # of the master weights, a step
SETTLING = 20  # batches from which the averaged network's batch norms are estimated


def rate(step: int, steps: int, peak: float = PEAK_RATE) -> float:
    """One cycle: linear warm-up, cosine decay to a thousandth."""
    warm = WARM_UP * steps
    if step < warm:
        return peak * (0.04 + 0.96 * step / warm)
    return peak * (1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))))


class Trainer:
    """A training run that can be killed after any epoch and goes on to the same weights."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Load the data; make, or start from, the networks."""
        self.options = options
        wanted = options.device
        found = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(found if wanted == "auto" else wanted)
        cuda = self.device.type == "cuda"
        torch.backends.cuda.matmul.allow_tf32 = True  # small integers are exact in it
        torch.backends.cudnn.allow_tf32 = True
        q = None if options.precision == "full" else Quantization(options.k, options.B)
        self.name = options.name or ("fp32" if q is None else f"k{options.k}b{options.B}")
        self.out = Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = self.out / f"{self.name}.ckpt"
        self.saved: dict[str, Any] | None = None
        if options.resume and self.checkpoint.exists():
            self.saved = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.data: Data = load(options.data_dir, self.device, limit=options.limit)
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self.model = self._first_network(q)
        self.model.noise = options.noise
        self.average = LeNet(q, prune=options.prune, widths=self.model.widths).to(self.device)
        self.average.load_state_dict(self.model.state_dict())
        self.teachers = [load_checkpoint(path).to(self.device) for path in options.teacher or []]
        self.learning_rate = torch.tensor(options.rate, device=self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=self.learning_rate if cuda else options.rate,
            weight_decay=0.0 if q else 1e-2,
            capturable=cuda,
        )
        self.draws = torch.Generator().manual_seed(options.seed)
        self.batches = len(self.data.images) // BATCH
        self.index = torch.zeros(BATCH, dtype=torch.long, device=self.device)
        self.losses = torch.zeros((), device=self.device)
        self.forward = self.loss
        if options.compile:
            # fused by torch.compile, and channels last: 59 ms a step instead of 81 on two AVX-512 cores
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            torch._inductor.config.fallback_random = True  # its own random numbers take longer than the network
            self.forward = torch.compile(self.loss)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.epoch = 0
        self.best_accuracy = -1.0
        self.best: dict[str, Tensor] = {}

    def _first_network(self, q: Quantization | None) -> LeNet:
        """Return random weights, or those of --init without the channels that hardly fire."""
        options = self.options
        if self.saved is not None:
            widths = tuple(self.saved.get("widths", WIDTHS))
            return LeNet(q, prune=options.prune, widths=widths).to(self.device)
        if options.init is None:
            return LeNet(q, prune=options.prune, widths=tuple(options.widths or WIDTHS)).to(self.device)
        if options.widths is not None:
            raise SystemExit("--widths is for random weights; --keep N N N N N N narrows those of --init")
        first = load_checkpoint(options.init).to(self.device)
        if (first.quantization is None) != (q is None):
            raise SystemExit(f"--init {options.init}: full precision and ternary weights do not start each other")
        if q is not None and q != first.quantization:
            first.requantize(q)
        first.prune = options.prune
        return remove_channels(first, self.data.images[:5000], options.remove_below, options.keep).to(self.device)

    # -- one step --------------------------------------------------------------------------------------------

    def loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy, distance from the teachers, and the price of the spikes, of a batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            scores, activations = self.model(pixels)
        loss = F.cross_entropy(scores, labels, label_smoothing=SMOOTHING)
        if self.teachers:
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
                logits = torch.stack([teacher(pixels)[0] for teacher in self.teachers]).mean(0)
                wanted = F.log_softmax(logits / TEMPERATURE, dim=1)
            given = F.log_softmax(scores / TEMPERATURE, dim=1)
            distance = F.kl_div(given, wanted, log_target=True, reduction="batchmean") * TEMPERATURE**2
            loss = 0.3 * loss + 0.7 * distance
        if self.options.penalty:
            spikes = self.model.spikes(activations)
            cost = sum(c * s.mean() for c, s in zip(self.options.costs, spikes, strict=True))
            loss = loss + self.options.penalty * cost
        return loss

    def step(self) -> None:
        """Forward, backward and update on the images at ``self.index``."""
        draw = (torch.rand(BATCH, 6, device=self.device) * 2 - 1) * self.options.augment
        bend = None
        if self.options.elastic:
            bend = torch.randn(BATCH, 2, BENDS, BENDS, device=self.device) * self.options.elastic
        pixels = augment(self.data.images[self.index], draw, bend)
        loss = self.forward(pixels, self.data.labels[self.index])
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.model.clamp_masters()
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1 - AVERAGING)
            self.losses += loss.detach()

    def capture(self) -> None:
        """Record the step as a CUDA graph: the network is too small to keep a GPU busy call by call."""
        initial = copy.deepcopy(self.state())
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
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
            now = rate(self.epoch * self.batches + batch, steps, self.options.rate)
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
            norm.momentum = None
        self.average.train()
        generator = torch.Generator().manual_seed(0)
        for _ in range(min(SETTLING, self.batches)):
            index = torch.randint(len(self.data.images), (BATCH,), generator=generator).to(self.device)
            draw = (torch.rand(BATCH, 6, generator=generator) * 2 - 1) * self.options.augment
            self.average(augment(self.data.images[index], draw.to(self.device)))
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
        found = model(self.data.digits_images)[0].argmax(1)
        digits = float((found == self.data.digits_labels).float().mean())
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
            "widths": list(self.model.widths),
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
        return {key: state[key] for key in ("k", "B", "prune", "widths", "best", "best_accuracy", "epoch")}

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

    # -- the whole -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last epoch, validating and saving after each."""
        from rich.progress import Progress

        options = self.options
        if self.device.type == "cuda":
            self.capture()
        log = self.out / f"{self.name}.log.jsonl"
        lines: list[str] = []
        if self.saved is not None:
            self.restore(self.saved)
            lines = log.read_text().splitlines(keepends=True)[: self.epoch] if log.exists() else []
        log.write_text("".join(lines))
        steps = options.epochs * self.batches
        last = min(options.epochs, options.stop_after or options.epochs)
        with Progress(disable=options.quiet) as bar, log.open("a") as file:
            task = bar.add_task(self.name, total=options.epochs, completed=self.epoch)
            while self.epoch < last:
                start = time.perf_counter()
                loss = self.train_epoch(steps)
                results = self.judge()
                seconds = time.perf_counter() - start
                record = {"epoch": self.epoch, "loss": loss, "seconds": seconds, **results}
                file.write(json.dumps(record) + "\n")
                file.flush()
                if self.epoch % options.save_every == 0 or self.epoch == options.epochs:
                    self.save()
                bar.advance(task)

    def judge(self) -> dict[str, tuple[float, float, float, float]]:
        """Validate; in the last quarter choose the best network, plain or averaged, by its validation."""
        epochs = self.options.epochs
        late = self.epoch > 0.75 * epochs or self.epoch == epochs
        if not late:
            return {} if self.epoch % 5 else {"model": self.validate(self.model)}
        self.settle()
        results = {}
        for which, network in (("model", self.model), ("average", self.average)):
            results[which] = self.validate(network)
            score = results[which][0] + 0.1 * results[which][1]  # MNIST decides, digits break near-ties
            if score >= self.best_accuracy:
                self.best_accuracy = score
                self.best = {key: value.detach().clone() for key, value in network.state_dict().items()}
        return results
