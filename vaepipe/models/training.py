"""The training of one model, which can stop and continue between epochs.

Shuffling and noise are drawn anew from (seed, epoch), so an epoch depends on nothing but the weights and
Adam's state at its start: a training that continues ends with the same bits on the same machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaepipe.compute.precision import choose_precision
from vaepipe.compute.randomness import seeded_generator
from vaepipe.models.build import build_model
from vaepipe.models.family import find_family
from vaepipe.models.objectives import terms
from vaepipe.models.optimizer import Adam
from vaepipe.models.snapshots import of_snapshot, snapshot_steps, snapshot_tensors
from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    from vaepipe.models.interface import Images, TrainedSpec

HELD_OUT = 1000
"""Images of the held-out split on which the ELBO is watched."""


class Trainer:
    """A training that can stop and continue between epochs.

    Args:
        spec: what decides the weights.
        train, test: images, or points.
        device: where the training computes.
    """

    def __init__(self, spec: TrainedSpec, train: Images, test: Images, device: torch.device):
        self.spec, self.settings, self.device = spec, spec.train, device
        self.x, self.test = train.to(device), test.to(device)[:HELD_OUT]
        self.batch = min(self.settings.batch_size, len(train))
        self.steps = len(train) // self.batch  # per epoch
        self.total = self.settings.steps or self.settings.epochs * self.steps
        self.epochs = -(-self.total // self.steps)
        self.precision = choose_precision(self.settings.precision, device)
        self.model = build_model(spec, train.shape).to(device)
        if len(train.shape) == 3:
            self.model.to(
                memory_format=torch.channels_last
            )  # twice as fast on CPUs; tensor cores need this layout
        self.parameters = list(self.model.parameters())
        self.adam = self._new_adam()
        self.objective = find_family(spec.family).objective
        self.index = torch.zeros(self.batch, dtype=torch.long, device=device)
        self.noise = torch.zeros(self.batch, sum(self.model.latent_sizes), device=device)
        self.graph: StepGraph | None = None
        self.history: list[dict[str, float]] = []
        self.snapshots: dict[int, dict[str, Tensor]] = {}
        """Weights, on the CPU, after each number of steps in ``train.snapshots`` so far."""
        if late := [step for step in self.settings.snapshots if step >= self.total]:
            raise DataError(
                f"train.snapshots: {late[0]} is not below {self.total}, the steps of the training"
            )

    def _new_adam(self) -> Adam:
        """Adam with its state in place from the start; CUDA graphs need that, and a tensor as rate."""
        on_gpu = self.device.type == "cuda"
        rate = torch.tensor(self.settings.learning_rate, device=self.device) if on_gpu else 0.0
        adam = Adam(self.parameters, lr=rate, fused=True, capturable=on_gpu)
        for p in self.parameters:
            step = torch.zeros((), device=self.device)
            adam.state[p] = {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        return adam

    def epoch(self) -> dict[str, float]:
        """Train one epoch and return its row of the history. The last incomplete batch is left out.

        Raises:
            DataError: the loss or a weight is not finite; it names the epoch and the step.
        """
        epoch = len(self.history)
        random = seeded_generator(self.device, "train", self.spec.seed, epoch)
        order = torch.randperm(len(self.x), generator=random, device=self.device)
        steps = min(self.steps, self.total - epoch * self.steps)
        values = torch.empty(steps, 3, device=self.device)
        self.model.train()
        take_step = self._step_function(self._beta(epoch))
        for step in range(steps):
            self._set_learning_rate(self._learning_rate(epoch * self.steps + step))
            self.index.copy_(order[step * self.batch : (step + 1) * self.batch])
            self.noise.normal_(generator=random)
            values[step] = take_step()
            if (done := epoch * self.steps + step + 1) in self.settings.snapshots:
                self.snapshots[done] = self._weights()
        self._check_finite(values, epoch)
        loss, log_likelihood, kl = values.mean(0).tolist()
        row = {"epoch": epoch + 1, "loss": loss, "log_likelihood": log_likelihood, "kl": kl}
        row["held_out_elbo"] = self.held_out()
        self.history.append(row)
        return row

    def step(self, beta: float) -> Tensor:
        """One step of Adam on the images ``self.index`` with ``self.noise``.

        Returns:
            (3,) loss, log p(x|z) and KL before the step, means over the batch.
        """
        x = self.x[self.index]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            batch_terms = terms(self.model, x, self.noise, self.settings.kl)
        loss = self.objective(batch_terms, beta, len(self.x), self.settings)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.adam.step()
        log_likelihood, kl = batch_terms.log_likelihood.detach(), batch_terms.kl.detach()
        return torch.stack([loss.detach(), log_likelihood.mean(), kl.mean()])

    @torch.no_grad()
    def held_out(self) -> float:
        """β = 1 ELBO of the first held-out images, nats per image, with the same noise in every epoch."""
        self.model.eval()
        random = seeded_generator(self.device, "held-out", self.spec.seed)
        shape = (len(self.test), sum(self.model.latent_sizes))
        noise = torch.randn(shape, generator=random, device=self.device)
        return float(terms(self.model, self.test, noise).elbo.mean())

    def _weights(self) -> dict[str, Tensor]:
        return {name: t.detach().cpu().clone() for name, t in self.model.state_dict().items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """A copy of everything that the next epoch depends on: (tensors on the CPU, metadata)."""
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        for i, p in enumerate(self.parameters):
            tensors |= {f"adam.{i}.{name}": t for name, t in self.adam.state[p].items()}
        copies = {name: t.detach().cpu().clone() for name, t in tensors.items()}
        copies |= snapshot_tensors(self.snapshots)
        return copies, {"history": json.dumps(self.history)}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
        """Go back to a `state`, in place: a graph keeps the memory that it was captured with."""
        for name, t in self.model.state_dict().items():
            t.copy_(tensors[f"model.{name}"])
        for i, p in enumerate(self.parameters):
            for name, t in self.adam.state[p].items():
                t.copy_(tensors[f"adam.{i}.{name}"])
        self.snapshots = {step: of_snapshot(tensors, step) for step in snapshot_steps(tensors)}
        self.history = json.loads(meta["history"])

    def _step_function(self, beta: float) -> Callable[[], Tensor]:
        """`step` at this β; on a GPU the replay of its graph: one launch instead of hundreds."""
        if self.device.type != "cuda":
            return partial(self.step, beta)
        if self.graph is None or self.graph.beta != beta:
            try:
                self.graph = StepGraph(self, beta)
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                print(f"no CUDA graph ({reason}): kernels are launched one by one", flush=True)
                return partial(self.step, beta)
        return self.graph.replay

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.adam.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _learning_rate(self, step: int) -> float:
        if self.settings.schedule == "constant":
            return self.settings.learning_rate
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.total))

    def _beta(self, epoch: int) -> float:
        """β of an epoch: it rises in equal steps from 1 over the first ``beta_warmup`` epochs."""
        return 1 + (self.spec.beta - 1) * min(1.0, (epoch + 1) / (self.settings.beta_warmup + 1))

    def _check_finite(self, values: Tensor, epoch: int) -> None:
        """Raise DataError if a loss among ``values`` (steps, 3) or a weight is not finite."""
        infinite = (~values[:, 0].isfinite()).nonzero()
        if len(infinite):
            step = int(infinite[0])
            where = f"epoch {epoch + 1}, step {step + 1}"
            raise DataError(f"training diverged: the loss is {float(values[step, 0])} at {where}")
        if not all(p.isfinite().all() for p in self.parameters):
            where = f"epoch {epoch + 1}, step {len(values)}"
            raise DataError(f"training diverged: weights are not finite after {where}")


class StepGraph:
    """A step of a `Trainer` as one CUDA graph, for one β."""

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
            trainer.restore(*before)  # the warm-up steps are no part of the training

    def replay(self) -> Tensor:
        """Take the step; (3,) as `Trainer.step` returns."""
        self._graph.replay()
        return self._values
