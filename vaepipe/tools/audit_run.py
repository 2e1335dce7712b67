"""The stages of an audit: those of the workflow, one after the other, in one folder."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vaepipe.attacks.loss import find_loss
from vaepipe.attacks.objective import Objective
from vaepipe.stages.adopt import adopt
from vaepipe.stages.attack import attack
from vaepipe.stages.attack_files import read_pairs, to_images
from vaepipe.stages.collect import collect
from vaepipe.stages.evaluate import evaluate
from vaepipe.stages.measure import measure
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage import checksums
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError
from vaepipe.storage.tables import write_table
from vaepipe.study.jobs import Job, jobs
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.patterns import STAGES
from vaepipe.study.study import Study
from vaepipe.tools.audit_model import Found
from vaepipe.tools.audit_progress import Progress

LOSSES = {
    ("wide", "quick"): ["latent-kl"],
    ("wide", "full"): ["latent-kl", "output", "latent-w2"],
    ("tiny", "quick"): ["latent-mean"],
    ("tiny", "full"): ["latent-mean", "latent-w2", "output"],
    ("point", "quick"): ["latent-mean", "output"],
    ("point", "full"): ["latent-mean", "output"],
}
"""State of the posterior and budget → losses, the one that leads first."""


@dataclass(frozen=True)
class Size:
    """What an audit computes.

    Attributes:
        pairs, lambdas: their product is the number of rows.
        steps: evaluations of a row at most.
        polish: rows that a longer search goes on from.
        images: held-out images that are evaluated at most.
    """

    pairs: int
    lambdas: int
    steps: int
    polish: int
    images: int

    @property
    def evaluations(self) -> float:
        """Evaluations of the network for a row, about."""
        return SLACK * self.pairs * self.lambdas * (self.steps + START) + SEARCH * self.polish


BUDGETS: dict[str, dict[str, Any]] = {
    "quick": {
        "size": Size(pairs=8, lambdas=16, steps=60, polish=2, images=500),
        "attack": {"samples": 4, "draws": 1, "effort": "fast"},
        "checks": {"noise": 2, "transfer": False, "restarts": 1, "restart_steps": 20},
        "evaluate": {"importance_samples": 4, "aggregate_samples": 200, "keep": 16},
    },
    "full": {
        "size": Size(pairs=40, lambdas=30, steps=500, polish=12, images=10000),
        "attack": {"samples": 8},
        "checks": {"transfer": False, "purifiers": ["jpeg-75", "blur", "resize", "bit-depth", "vae"]},
        "evaluate": {"keep": 16},
    },
}
"""What each budget of `vaepipe audit` computes; the rest are the defaults of the configuration."""
BELOW, ABOVE = 7, 3
"""Powers of two below and above the λ at which going all the way to the target pays off. Too few λ miss
distortions that fool: a pair counts by the rows that were solved."""
ROWS = 64
QUICK = 2e12
"""Operations that the attacks of `quick` may take, about: a minute on one core at 30 billion per second."""
FULL = 1e14
"""Operations that bound the evaluated images of `full`. Assumption."""
SLACK, START, SEARCH = 1.6, 8, 2000
"""Evaluations of an attack over ``max_iterations`` + `START` of each row, and of a row in `polish`:
measured, the latter with 16 latent dimensions."""
TYPICAL = 60
"""Evaluations after which most rows have converged, for the time left."""
FEWEST = (4, 6, 15, 20)
"""Pairs, λ, evaluations of a row and evaluated images that every audit has."""
PASSES = 32
"""Times that all images may pass through encoder and decoder within `QUICK` or `FULL`: about eight passes in
a quarter of it."""


@dataclass(frozen=True)
class Plan:
    """A model, the images, and what is computed."""

    name: str
    found: Found
    dataset: str
    source: dict[str, Any]
    losses: list[str]
    budget: str
    size: Size
    purify_with: tuple[str, ...] = ()
    device: str = "auto"

    def config(self, held_out: int, lambdas: list[float] | None = None) -> dict[str, Any]:
        """Return the audit as the configuration of a study; ``held_out`` images there are."""
        sizes, found, size = BUDGETS[self.budget], self.found, self.size
        pairs = min(size.pairs, held_out)
        attack: dict[str, Any] = {**sizes["attack"], "losses": self.losses, "pairs": pairs}
        attack |= {"batch_size": rows_per_batch(pairs * size.lambdas), "max_iterations": size.steps}
        if lambdas:
            attack["lambdas"] = lambdas
        external: dict[str, Any] = {"entry": found.entry, "weights": found.weights, "dataset": self.dataset}
        external |= {"shape": list(found.shape or ()), "d_z": found.d_z, "likelihood": found.likelihood}
        external |= {"range": list(found.range or ())} | ({"key": found.key} if found.key else {})
        checks = {**sizes["checks"], "polish": size.polish}
        if self.purify_with:
            checks["purifiers"] = [*checks.get("purifiers", ()), *self.purify_with]
        own = {
            "grid": {"families": []},
            "attack": attack,
            "checks": checks,
            "evaluate": {**sizes["evaluate"], "max_images": size.images},
        }
        return {
            "study": [self.dataset],
            "device": self.device,
            "external": {self.name: external},
            "datasets": {self.dataset: {**self.source, **own}},
        }


def rows_per_batch(rows: int) -> int:
    """Return a size of batches that leaves little of the last one empty, at most `ROWS`."""
    return math.ceil(rows / math.ceil(rows / ROWS))


def affordable(model: Any, x: Tensor, budget: str, pairs: int | None, losses: list[str]) -> Size:
    """Return the size of an audit, which is smaller for networks that compute long.

    The operations of the network decide, not a clock, so that an audit is the same on every machine. Both
    budgets evaluate fewer images then. `quick` has fewer pairs and λ, down to `FEWEST`, then shorter
    searches.

    Args:
        x: (1, C, H, W).
        pairs: as many as the user asks for; None leaves it to the budget.
        losses: of the attacks.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.decode(*(q.mean for q in model.posterior(x))).mean  # noqa: B018  computed by the property
    given, is_quick = BUDGETS[budget]["size"], budget == "quick"
    images = int((QUICK if is_quick else FULL) / max(1, PASSES * counter.get_total_flops()))
    images = min(given.images, max(FEWEST[3], images))
    size = replace(given, pairs=pairs or given.pairs, images=images)
    if not is_quick:
        return size
    with FlopCounterMode(display=False) as counter:
        for loss in losses:
            objective = Objective(model, x, 1 - x, find_loss(loss), seed=0, draws=1, batch_size=1)
            objective.value_and_grad(x.flatten(1), torch.zeros(1, dtype=torch.long, device=x.device))
    evaluations = QUICK / max(1, counter.get_total_flops())  # of one row by all losses
    if size.evaluations <= evaluations:
        return size
    size = replace(size, polish=1)
    share = min(1.0, max(0.0, evaluations - SEARCH) / (size.evaluations - SEARCH)) ** 0.5
    count, lambdas = (
        max(least, int(number * share)) for number, least in zip((size.pairs, size.lambdas), FEWEST)
    )
    size = replace(size, pairs=pairs or count, lambdas=lambdas)
    if size.evaluations <= evaluations:
        return size
    steps = int(evaluations / (SLACK * size.pairs * size.lambdas)) - START
    return replace(size, polish=0, steps=min(size.steps, max(FEWEST[2], steps)))


def run(plan: Plan, held_out: int, device: torch.device, progress: Progress) -> dict[str, pd.DataFrame]:
    """Adopt, evaluate, attack and measure the model in the current folder; return the tables.

    The data set is prepared already. The study is written as ``study.yaml``.
    """
    study = _study(plan.config(held_out))
    (cell,) = study.cells
    data, weights = Path(f"results/data/{plan.dataset}.h5"), Path(Job("adopt", cell.dataset, cell).output)
    with _stage(progress, "read the model"):
        adopt(study.model_spec(cell), data, Path(plan.found.weights), weights)  # type: ignore[arg-type]
    model = read_trained_model(weights, device)[0]
    lambdas = scale(model, study, data, device, plan.size.lambdas)
    config = plan.config(held_out, lambdas)
    study = _study(config)
    Path("study.yaml").write_text(
        yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    with _stage(progress, "evaluate"):
        evaluate(
            study.evaluate_spec(cell), data, weights, Path(Job("evaluate", cell.dataset, cell).output), device
        )
    losses = study.losses(cell)
    likely = replace(plan.size, steps=min(plan.size.steps, TYPICAL))
    progress.expect(len(losses) * likely.evaluations)
    for number, loss in enumerate(losses, 1):
        solved, measured = (
            Path(Job(stage, cell.dataset, cell, loss).output) for stage in ("attack", "measure")
        )
        with _stage(progress, f"attack by {loss} ({number} of {len(losses)})"):
            attack(study.attack_spec(cell, loss), data, weights, solved, device)
        with _stage(progress, f"measure and check it ({number} of {len(losses)})"):
            measure(study.measure_spec(cell, loss), data, weights, measured, device, solved)
    return write_tables(study)


def write_tables(study: Study) -> dict[str, pd.DataFrame]:
    """Write the configuration and the tables of a study's files, as the workflow does; return the tables."""
    Path("results/config.json").write_text(json.dumps(study.effective(), indent=2) + "\n", encoding="utf-8")
    tables = collect([job for job in jobs(study) if job.stage != "ball"])
    paths = STAGES["collect"].outputs
    for table, frame in tables.items():
        write_table(paths[table], frame)
    with atomic(paths["sums"]) as temporary:
        checksums.write_sums(temporary, [Path(paths[table]) for table in tables])
    return tables


def scale(model: Any, study: Study, data: Path, device: torch.device, count: int) -> list[float]:
    """Return ``count`` λ for the attacks.

    Around λ = Δ₀ / ‖x − x_t‖₂, the price at which the whole way to the target costs what it gains, the λ go
    `BELOW` and `ABOVE` powers of two down and up, over all losses.
    """
    (cell,), prices = study.cells, []
    for loss in study.losses(cell):
        spec = study.attack_spec(cell, loss)
        pairs = read_pairs(spec, data)
        x, target = to_images(pairs.x, device), to_images(pairs.target, device)
        options = {"seed": spec.pair_seed, "draws": spec.draws, "batch_size": len(x)}
        objective = Objective(model, x, target, find_loss(loss), **options)
        rows = torch.arange(len(x), device=device)
        with torch.no_grad():
            gain = objective.value(x.flatten(1), rows) - objective.value(target.flatten(1), rows)
        price = (gain.abs() / (x - target).flatten(1).norm(dim=1)).median()
        prices.append(float(price) if torch.isfinite(price) and price > 0 else 1.0)
    low, high = np.log2(min(prices)) - BELOW, np.log2(max(prices)) + ABOVE
    return [float(f"{v:.4g}") for v in np.geomspace(2.0**low, 2.0**high, count)]


def _study(config: dict[str, Any]) -> Study:
    try:
        return Study(config)
    except ConfigError as error:
        raise DataError(str(error)) from error


@contextlib.contextmanager
def _stage(progress: Progress, text: str) -> Iterator[None]:
    """Say what is being done, and keep what the stage itself prints for audit.log."""
    with (
        progress.doing(text),
        open("audit.log", "a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
    ):
        print(f"# {text}")
        yield
