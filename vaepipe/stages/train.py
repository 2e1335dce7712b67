"""Stage: train one model of the grid.

    python -m vaepipe.stages.train --spec JSON --data data.h5 --out model.safetensors --history history.csv

Interrupted at any moment it continues from its last checkpoint, and ends with the same weights, bit for bit, on the same
machine: shuffling and noise are drawn anew from (seed, epoch), so an epoch depends on nothing but the weights and Adam's
state at its start.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import torch

from vaepipe.compute.device import setup_device
from vaepipe.compute.precision import choose_precision
from vaepipe.compute.randomness import seeded_generator
from vaepipe.datasets.prepared import read_digest
from vaepipe.datasets.resident import Resident
from vaepipe.models.build import build
from vaepipe.models.checkpoints import checkpoint_path
from vaepipe.models.family import find_family
from vaepipe.models.objectives import terms
from vaepipe.models.optimizer import Adam
from vaepipe.storage import provenance
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.locks import LOCKS_UNSUPPORTED
from vaepipe.storage.tables import write_rows
from vaepipe.storage.weights import read_weights, write_weights

HELD_OUT = 1000  # images of the held-out split that the ELBO is watched on during training


class Trainer:
    """A training that can be stopped and continued between epochs.

    Args:
        spec: seed, family, beta, d_z, model and train, as `vaepipe.study.config.Study.model_spec` gives them.
        train, test: the images, or points.
    """

    def __init__(self, spec: dict, train: Resident, test: Resident, device: torch.device):
        self.spec, self.options, self.device = spec, spec["train"], device
        self.x, self.test = train.to(device), test.to(device)[:HELD_OUT]
        self.batch = min(self.options["batch_size"], len(train))
        self.steps = len(train) // self.batch  # per epoch
        self.total = self.options["steps"] or self.options["epochs"] * self.steps
        self.epochs = -(-self.total // self.steps)
        self.precision = choose_precision(self.options["precision"], device)
        self.model = build(spec, train.shape).to(device)
        if len(train.shape) == 3:
            self.model.to(memory_format=torch.channels_last)  # twice as fast on CPUs, and what tensor cores want
        self.parameters = list(self.model.parameters())
        # a tensor on a GPU, where the graph of a step reads it
        rate = torch.tensor(self.options["learning_rate"], device=device) if device.type == "cuda" else 0.0
        self.adam = Adam(self.parameters, lr=rate, fused=True, capturable=device.type == "cuda")
        for p in self.parameters:
            step = torch.zeros((), device=device)
            self.adam.state[p] = {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        self.objective = find_family(spec["family"]).objective
        self.index = torch.zeros(self.batch, dtype=torch.long, device=device)
        self.noise = torch.zeros(self.batch, sum(self.model.latent_sizes), device=device)
        self.graph: StepGraph | None = None
        self.history: list[dict] = []

    def epoch(self) -> dict:
        """Train one epoch and return its row of the history. The last incomplete batch is left out.

        Raises:
            DataError: the loss is not finite; it names the epoch and the step.
        """
        epoch = len(self.history)
        random = seeded_generator(self.device, "train", self.spec["seed"], epoch)
        order = torch.randperm(len(self.x), generator=random, device=self.device)
        steps = min(self.steps, self.total - epoch * self.steps)
        values = torch.empty(steps, 3, device=self.device)
        self.model.train()
        take = self._taker(self._beta(epoch))
        for step in range(steps):
            self._set_learning_rate(self._learning_rate(epoch * self.steps + step))
            self.index.copy_(order[step * self.batch : (step + 1) * self.batch])
            self.noise.normal_(generator=random)
            values[step] = take()
        if not (finite := values[:, 0].isfinite()).all():
            step = int((~finite).nonzero()[0])
            raise DataError(f"training diverged: the loss is {float(values[step, 0])} at epoch {epoch + 1}, step {step + 1}")
        if not all(p.isfinite().all() for p in self.parameters):
            raise DataError(f"training diverged: weights are not finite after epoch {epoch + 1}, step {steps}")
        loss, log_likelihood, kl = values.mean(0).tolist()
        row = {"epoch": epoch + 1, "loss": loss, "log_likelihood": log_likelihood, "kl": kl, "held_out_elbo": self.held_out()}
        self.history.append(row)
        return row

    def step(self, beta: float) -> torch.Tensor:
        """One step of Adam on the images ``self.index`` with ``self.noise``: (3,) loss, log p(x|z) and KL before it."""
        x = self.x[self.index]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            t = terms(self.model, x, self.noise)
        loss = self.objective(t, beta, len(self.x), self.options)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        if self.options["clip"] is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.options["clip"])
        self.adam.step()
        return torch.stack([loss.detach(), t.log_likelihood.detach().mean(), t.kl.detach().mean()])

    def _taker(self, beta: float) -> Callable[[], torch.Tensor]:
        """`step` at this β: on a GPU the replay of its graph, one launch for hundreds of kernels."""
        if self.device.type != "cuda":
            return partial(self.step, beta)
        if self.graph is None or self.graph.beta != beta:
            try:
                self.graph = StepGraph(self, beta)
            except RuntimeError as error:
                print(f"no CUDA graph ({str(error).splitlines()[0]}): kernels are launched one by one", flush=True)
                return partial(self.step, beta)
        return self.graph.replay

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.adam.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    @torch.no_grad()
    def held_out(self) -> float:
        """β = 1 ELBO of the first held-out images, nats per image, with the same noise in every epoch."""
        self.model.eval()
        random = seeded_generator(self.device, "held-out", self.spec["seed"])
        noise = torch.randn(len(self.test), sum(self.model.latent_sizes), generator=random, device=self.device)
        return float(terms(self.model, self.test, noise).elbo.mean())

    def _learning_rate(self, step: int) -> float:
        if self.options["schedule"] == "constant":
            return self.options["learning_rate"]
        return self.options["learning_rate"] * 0.5 * (1 + math.cos(math.pi * step / self.total))

    def _beta(self, epoch: int) -> float:
        """β of an epoch: it rises in equal steps from 1 over the first ``beta_warmup`` epochs."""
        return 1 + (self.spec["beta"] - 1) * min(1.0, (epoch + 1) / (self.options["beta_warmup"] + 1))

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """A copy of everything that the next epoch depends on: (tensors, metadata)."""
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        for i, p in enumerate(self.parameters):
            tensors |= {f"adam.{i}.{name}": t for name, t in self.adam.state[p].items()}
        return {name: t.detach().cpu().clone() for name, t in tensors.items()}, {"history": json.dumps(self.history)}

    @torch.no_grad()
    def restore(self, tensors: dict[str, torch.Tensor], meta: dict[str, str]) -> None:
        """Go back to a `state`, in place: a graph goes on with the same memory."""
        for name, t in self.model.state_dict().items():
            t.copy_(tensors[f"model.{name}"])
        for i, p in enumerate(self.parameters):
            for name, t in self.adam.state[p].items():
                t.copy_(tensors[f"adam.{i}.{name}"])
        self.history = json.loads(meta["history"])


class StepGraph:
    """A step of a `Trainer` as one CUDA graph, for one β. ``replay()`` takes it and returns what `Trainer.step` returns."""

    def __init__(self, trainer: Trainer, beta: float):
        self.beta = beta
        before = trainer.state()
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):  # libraries choose their kernels and take their memory before the capture
                    trainer.step(beta)
            torch.cuda.current_stream().wait_stream(side)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._values = trainer.step(beta)
        finally:
            trainer.restore(*before)  # the steps that warmed up were none of the training's

    def replay(self) -> torch.Tensor:
        self._graph.replay()
        return self._values


def train(spec: dict, data: Path, out: Path, history: Path, checkpoint_seconds: float, device: torch.device) -> None:
    """Train to the last epoch, from the checkpoint if there is one, and write weights and history."""
    trainer = Trainer(spec, Resident.read(data, "train"), Resident.read(data, "test", HELD_OUT), device)
    code, digest = provenance.code_digest("stages.train"), read_digest(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    resume = checkpoint_path(out, spec, digest, code)
    # an orphan of a killed workflow may still be training: wait for it to end, and end with the same weights
    lock = open(out.with_name(f".{out.stem}.lock"), "w")  # noqa: SIM115  held until the process ends
    if _alone(lock):
        for left in out.parent.glob(f"*.{out.stem}.*tmp*"):  # by a job that was killed while it wrote; no other writes now
            left.unlink()
    full = json.dumps({**spec, "shape": list(trainer.x.shape)})
    meta = {**provenance.record(), "spec": full, "precision": trainer.precision, "code": code, "data": digest}
    if history.exists() and _made(out, meta):
        return print(f"{out} is there already: the process that had the lock made it", flush=True)
    if resume.exists():
        try:
            trainer.restore(*read_weights(resume))
            print(f"continuing after epoch {len(trainer.history)} from {resume}", flush=True)
        except DataError as error:
            print(f"starting again: {error}", flush=True)
    good, saved, begun, first = trainer.state(), time.monotonic(), time.monotonic(), len(trainer.history)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        while len(trainer.history) < trainer.epochs:
            row = trainer.epoch()
            good = trainer.state()
            if time.monotonic() - saved >= checkpoint_seconds:
                write_weights(resume, *good)
                saved = time.monotonic()
            _progress(row, trainer.epochs, time.monotonic() - begun, first)
    except (DataError, SystemExit) as error:
        write_weights(resume, *good)
        kept = f"the checkpoint after epoch {len(json.loads(good[1]['history']))} is kept at {resume}"
        if isinstance(error, SystemExit):
            sys.exit(f"stopped; {kept}")
        raise DataError(f"{out}: {error}; {kept}") from error
    # a workflow that was killed does not see this end, and deletes the outputs: then they are made again from here. What was
    # seen is evaluated, which deletes it
    write_weights(resume, *good)
    write_rows(history, trainer.history)
    write_weights(out, trainer.model.state_dict(), meta)


def _alone(lock: IO) -> bool:
    """Wait for the lock; False where the file system has none: then two processes may both train, to the same weights, and
    each renames whole files of its own."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return True
    except OSError as error:
        if error.errno not in LOCKS_UNSUPPORTED:
            raise
        print(f"{lock.name}: {error.strerror}: this file system has no locks, another process here would train too", flush=True)
        return False


def _made(out: Path, meta: dict[str, str]) -> bool:
    """Whether the weights are there, whole, and from the same spec, data, code and versions."""
    try:
        found = read_weights(out)[1]
    except DataError:
        return False
    return found | {"git": ""} == meta | {"git": ""}


def _stop(signum, frame):
    raise SystemExit(128 + signum)


def _progress(row: dict, epochs: int, seconds: float, first: int) -> None:
    left = seconds / (row["epoch"] - first) * (epochs - row["epoch"])
    values = ", ".join(f"{name.replace('_', ' ')} {row[name]:.2f}" for name in ("loss", "log_likelihood", "kl", "held_out_elbo"))
    print(f"epoch {row['epoch']}/{epochs}: {values} (nats per image); {left:.0f} s left", flush=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.train", description="Train one model of the grid.")
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: seed, family, beta, d_z, model, train")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--out", required=True, type=Path, help="weights to write (.safetensors)")
    parser.add_argument("--history", required=True, type=Path, help="table to write, one row per epoch (.csv)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--checkpoint-seconds", type=float, default=10, help="least time between checkpoints (default 10)")
    args = parser.parse_args(argv)
    train(args.spec, args.data, args.out, args.history, args.checkpoint_seconds, setup_device(args.threads))


if __name__ == "__main__":
    run_stage(main)
