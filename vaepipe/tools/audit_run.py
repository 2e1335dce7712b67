"""The stages of an audit: those of the workflow, one after the other, in one folder."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

Log = Callable[[str], None]

LOSSES = {
    ("wide", "quick"): ["latent-kl"],
    ("wide", "full"): ["latent-kl", "output", "latent-w2"],
    ("tiny", "quick"): ["latent-mean"],
    ("tiny", "full"): ["latent-mean", "latent-w2", "output"],
    ("point", "quick"): ["latent-mean", "output"],
    ("point", "full"): ["latent-mean", "output"],
}
"""State of the posterior and budget → losses, the one that leads first."""
BUDGETS: dict[str, dict[str, Any]] = {
    "quick": {
        "pairs": 8,
        "lambdas": 16,
        "attack": {"max_iterations": 60, "samples": 4, "draws": 1, "effort": "fast"},
        "checks": {"noise": 2, "transfer": False, "restarts": 1, "restart_steps": 20, "polish": 2},
        "evaluate": {"max_images": 500, "importance_samples": 4, "aggregate_samples": 200, "keep": 16},
    },
    "full": {
        "pairs": 40,
        "lambdas": 30,
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
QUICK = 1e12
"""Operations that the attacks of `quick` may take, about: a minute or two on two cores. Assumption."""
FEWEST_PAIRS, FEWEST_LAMBDAS = 4, 6


@dataclass(frozen=True)
class Plan:
    """A model, the images, and what is computed."""

    name: str
    found: Found
    dataset: str
    source: dict[str, Any]
    losses: list[str]
    budget: str
    pairs: int
    lambdas: int
    device: str = "auto"

    def config(self, held_out: int, lambdas: list[float] | None = None) -> dict[str, Any]:
        """Return the audit as the configuration of a study; ``held_out`` images there are."""
        sizes, found = BUDGETS[self.budget], self.found
        pairs = min(self.pairs, held_out)
        attack: dict[str, Any] = {**sizes["attack"], "losses": self.losses, "pairs": pairs}
        attack["batch_size"] = rows_per_batch(pairs * self.lambdas)
        if lambdas:
            attack["lambdas"] = lambdas
        external: dict[str, Any] = {"entry": found.entry, "weights": found.weights, "dataset": self.dataset}
        external |= {"shape": list(found.shape or ()), "d_z": found.d_z, "likelihood": found.likelihood}
        external |= {"range": list(found.range or ())} | ({"key": found.key} if found.key else {})
        own = {
            "grid": {"families": []},
            "attack": attack,
            "checks": sizes["checks"],
            "evaluate": sizes["evaluate"],
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


def affordable(model: Any, x: Tensor, budget: str, pairs: int | None, losses: int) -> tuple[int, int]:
    """Return the pairs and the values of λ of an audit: of `quick` fewer for networks that compute long.

    The operations of the network decide, not a clock, so that an audit is the same on every machine.

    Args:
        x: (1, C, H, W).
        pairs: as many as the user asks for; None leaves it to the budget.
        losses: number of attacks.
    """
    sizes = BUDGETS[budget]
    count, values = pairs or sizes["pairs"], sizes["lambdas"]
    if budget != "quick":
        return count, values
    with FlopCounterMode(display=False) as counter:
        model.posterior(x)
    evaluations = count * values * losses * sizes["attack"]["max_iterations"]
    share = QUICK / max(1, 3 * counter.get_total_flops() * evaluations)  # the gradient costs twice the value
    if share >= 1:
        return count, values
    return pairs or max(FEWEST_PAIRS, int(count * share**0.5)), max(FEWEST_LAMBDAS, int(values * share**0.5))


def run(plan: Plan, held_out: int, device: torch.device, say: Log) -> dict[str, pd.DataFrame]:
    """Adopt, evaluate, attack and measure the model in the current folder; return the tables.

    The data set is prepared already. The study is written as ``study.yaml``.
    """
    study = _study(plan.config(held_out))
    (cell,) = study.cells
    data, weights = Path(f"results/data/{plan.dataset}.h5"), Path(Job("adopt", cell.dataset, cell).output)
    with _stage(say, "read the model"):
        adopt(study.model_spec(cell), data, Path(plan.found.weights), weights)  # type: ignore[arg-type]
    model = read_trained_model(weights, device)[0]
    lambdas, seconds = scale(model, study, data, device, plan.lambdas)
    config = plan.config(held_out, lambdas)
    study = _study(config)
    Path("study.yaml").write_text(
        yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    with _stage(say, "evaluate"):
        evaluate(
            study.evaluate_spec(cell), data, weights, Path(Job("evaluate", cell.dataset, cell).output), device
        )
    losses, start = study.losses(cell), time.monotonic()
    for number, loss in enumerate(losses):
        solved, measured = (
            Path(Job(stage, cell.dataset, cell, loss).output) for stage in ("attack", "measure")
        )
        left = (len(losses) - number) * seconds
        if number:  # what the losses before took is the better guess
            left = (len(losses) - number) * (time.monotonic() - start) / number
        with _stage(
            say, f"attack by {loss} ({number + 1} of {len(losses)}), about {max(1, left):.0f} s left"
        ):
            attack(study.attack_spec(cell, loss), data, weights, solved, device)
        with _stage(say, "measure and check it"):
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


def scale(
    model: Any, study: Study, data: Path, device: torch.device, count: int
) -> tuple[list[float], float]:
    """Return ``count`` λ for the attacks, and about how many seconds an attack by one loss takes.

    Around λ = Δ₀ / ‖x − x_t‖₂, the price at which the whole way to the target costs what it gains, the λ go
    `BELOW` and `ABOVE` powers of two down and up, over all losses.
    """
    (cell,), lambdas, seconds = study.cells, [], 0.0
    for loss in study.losses(cell):
        spec = study.attack_spec(cell, loss)
        pairs = read_pairs(spec, data)
        x, target = to_images(pairs.x, device), to_images(pairs.target, device)
        options = {"seed": spec.pair_seed, "draws": spec.draws, "batch_size": len(x)}
        objective = Objective(model, x, target, find_loss(loss), **options)
        rows = torch.arange(len(x), device=device)
        value, _ = objective.value_and_grad(x.flatten(1), rows)  # the first call is no measure of time
        start = time.monotonic()
        gain = value - objective.value_and_grad(target.flatten(1), rows)[0]
        seconds = max(seconds, (time.monotonic() - start) / len(x))
        price = (gain.abs() / (x - target).flatten(1).norm(dim=1)).median()
        lambdas.append(float(price) if torch.isfinite(price) and price > 0 else 1.0)
    low, high = np.log2(min(lambdas)) - BELOW, np.log2(max(lambdas)) + ABOVE
    values = [float(f"{v:.4g}") for v in np.geomspace(2.0**low, 2.0**high, count)]
    return values, 2 * seconds * len(values) * spec.max_iterations * len(x)


def _study(config: dict[str, Any]) -> Study:
    try:
        return Study(config)
    except ConfigError as error:
        raise DataError(str(error)) from error


@contextlib.contextmanager
def _stage(say: Log, text: str) -> Iterator[None]:
    """Print what begins, and keep what the stage itself prints for audit.log."""
    say(text)
    with open("audit.log", "a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        print(f"# {text}")
        yield
