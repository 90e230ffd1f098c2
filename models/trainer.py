"""A training run: steps, averaged weights, validation, and checkpoints to resume from."""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import os
import shutil
import time
from typing import Any

import torch
import torch._inductor.config
from torch import Tensor
from torch.nn import functional as F

from chipsim.errors import InputError, UsageError
from chipsim.files import write_atomically
from models.data import Data, augment, load
from models.export import load_checkpoint, read_state
from models.network import WIDTHS, LeNet, Quantization
from models.prune import remove_channels
from models.runs import Record, RunFiles, check_resumed, epoch_line, recipe
from models.validation import estimate_norms, validate

BATCH = 256
PEAK_RATE = 2e-3
WARM_UP = 0.15
SMOOTHING = 0.03
BENDS = 5  # points along each side of the grid by which strokes are bent
TEMPERATURE = 2.0
AVERAGING = 0.998  # share of the average that each step keeps
SETTLING = 20  # batches from which the averaged network's batch norms are estimated


def rate(step: int, steps: int, peak: float = PEAK_RATE) -> float:
    """Return the learning rate of a step: linear warm-up, then cosine decay to a thousandth of the peak."""
    warm = WARM_UP * steps
    if step < warm:
        return peak * (0.04 + 0.96 * step / warm)
    return peak * (1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))))


def chosen_device(name: str) -> torch.device:
    """Return the device of ``--device``.

    Raises
    ------
    UsageError
        There is no such device here.
    """
    cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "cpu")
    if name != "cpu" and not (cuda and name == "cuda"):
        allowed = "auto, cpu" + (", cuda" if cuda else "; torch finds no GPU here")
        raise UsageError("--device", f"{name!r} cannot be used; allowed: {allowed}", code="device-unknown", found=name)
    return torch.device(name)


class Trainer:
    """A training run that can be stopped after any epoch, and resumed to the same weights."""

    def __init__(self, options: argparse.Namespace, files: RunFiles) -> None:
        """Load the data and the networks that the run starts from.

        Raises
        ------
        UsageError
            The run is resumed with other options, or there is no such device.
        InputError
            The data, the checkpoint, a teacher or the network of ``--init`` cannot be used.
        """
        self.options, self.files = options, files
        self.device = chosen_device(options.device)
        if options.compile and not (shutil.which(os.environ.get("CXX", "g++")) or self.device.type == "cuda"):
            raise UsageError(
                "--compile", "needs a C++ compiler, and g++ is not there; install it, or set CXX", code="no-compiler"
            )
        cuda = self.device.type == "cuda"
        torch.backends.cuda.matmul.allow_tf32 = True  # small integers are exact in it
        torch.backends.cudnn.allow_tf32 = True
        q = None if options.precision == "full" else Quantization(options.k, options.B)
        self.saved: dict[str, Any] | None = None
        if options.resume and files.checkpoint.exists():
            self.saved = read_state(files.checkpoint, self.device)
            check_resumed(self.saved.get("options"), recipe(options), files.checkpoint)
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
        """Return the resumed network's shape, random weights, or those of --init with its weak channels removed."""
        options = self.options
        if self.saved is not None:
            widths = tuple(self.saved.get("widths", WIDTHS))
            return LeNet(q, prune=options.prune, widths=widths).to(self.device)
        if options.init is None:
            return LeNet(q, prune=options.prune, widths=tuple(options.widths or WIDTHS)).to(self.device)
        first = load_checkpoint(options.init).to(self.device)
        if (first.quantization is None) != (q is None):
            found, wanted = ("full precision", "ternary weights")[:: 1 if q else -1]
            raise InputError(
                options.init, f"has {found}, and the run {wanted}: neither can start the other", code="init-precision"
            )
        if q is not None and q != first.quantization:
            first.requantize(q)
        first.prune = options.prune
        return remove_channels(first, self.data.images[:5000], options.remove_below, options.keep).to(self.device)

    # -- one step --------------------------------------------------------------------------------------------

    def loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch: cross entropy, distance from the teachers, and the penalty on spikes."""
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
        """Train on every image once, in a new order, and return the mean loss."""
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

    # -- validation ------------------------------------------------------------------------------------------

    def judge(self) -> dict[str, Record]:
        """Validate; in the last quarter of the epochs validate the averaged weights too, and keep the best of all."""
        results = {"model": validate(self.model, self.data)}
        if self.epoch <= 0.75 * self.options.epochs and self.epoch < self.options.epochs:
            return results
        estimate_norms(self.average, self.data, self.options.augment, min(SETTLING, self.batches))
        results["average"] = validate(self.average, self.data)
        for which, network in (("model", self.model), ("average", self.average)):
            # MNIST decides, the digits break near-ties
            score = results[which]["accuracy"] + 0.1 * results[which]["digits_accuracy"]
            if score >= self.best_accuracy:
                self.best_accuracy = score
                self.best = {key: value.detach().clone() for key, value in network.state_dict().items()}
        return results

    # -- checkpoints -----------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        q = self.model.quantization
        return {
            "k": q.k if q else None,
            "B": q.b if q else None,
            "options": recipe(self.options),
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
        """Write the checkpoint, whole or not at all, and the chosen weights in a file of their own, which is small."""
        for path, content in ((self.files.checkpoint, self.state()), (self.files.best, self._best_only())):
            buffer = io.BytesIO()
            torch.save(content, buffer)
            write_atomically(path, buffer.getvalue())

    def _best_only(self) -> dict[str, Any]:
        state = self.state()
        return {key: state[key] for key in ("k", "B", "prune", "widths", "best", "best_accuracy", "epoch")}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a saved state, in place, so that a recorded CUDA graph continues from it."""
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
        """Train to the last epoch; validate, log, print and save after each."""
        options = self.options
        if self.device.type == "cuda":
            self.capture()
        if self.saved is not None:
            self.restore(self.saved)
        self.files.keep_log(self.epoch)
        images = f"{len(self.data.images):,} training images on {self.device}"
        self._tell(f"{self.files.name}: epochs {self.epoch + 1} to {options.epochs}, {images}, into {self.files.folder}/")
        steps = options.epochs * self.batches
        last = min(options.epochs, options.stop_after or options.epochs)
        with self.files.log.open("a") as file:
            while self.epoch < last:
                start = time.perf_counter()
                loss = self.train_epoch(steps)
                validation = self.judge()
                record = {
                    "epoch": self.epoch,
                    "loss": loss,
                    "seconds": time.perf_counter() - start,
                    "validation": validation,
                }
                file.write(json.dumps(record) + "\n")
                file.flush()
                if self.epoch % options.save_every == 0 or self.epoch == options.epochs:
                    self.save()
                self._tell(epoch_line(record, options.epochs))
        if self.epoch == options.epochs:
            self._tell(f"{self.files.name}: finished; the weights that validation chose are in {self.files.best}")

    def _tell(self, line: str) -> None:
        if not self.options.quiet:
            print(line, flush=True)
