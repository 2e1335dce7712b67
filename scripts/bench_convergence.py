"""Convergence of the attack: each row beside the lowest objective that any method has found for it.

    .venv/bin/python scripts/bench_convergence.py mnist-mlp-vae [--every 2] [--pairs 5] [--long adam lbfgs]

Attacks pairs of held-out images at λ from 2^-20 to 2^20 by latent-kl on one thread. By decile of λ it
prints objective / best known (mean, worst), the share of rows within 1 % and 5 % of it, evaluations, and
the share of rows that converged. Optimality is the mean of best known / objective, in the manner of
AttackBench (Cinà et al. 2025), whose budget of 2,000 forward and backward passes is 1,000 evaluations.
Seconds are of the processor.

`--long` first lowers what is known by long runs of other methods. The file of best known objectives belongs
to the weights, the pairs and the grid whose digest is in its name. Its values only fall.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import NullFormatter
from torch import Tensor

from vaepipe.attacks import AttackResult, rounds, run_attack
from vaepipe.attacks.loss import find_loss
from vaepipe.attacks.objective import Objective
from vaepipe.attacks.pairs import draw_pairs
from vaepipe.attacks.penalised_rows import PenalisedProblem
from vaepipe.attacks.rounds import EFFORTS
from vaepipe.compute.memory import keep_freed_memory
from vaepipe.datasets.prepared import read_split
from vaepipe.datasets.scale import to_unit_interval
from vaepipe.models.interface import Model
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage.checksums import tensors_digest
from vaepipe.storage.weights import read_weights
from vaepipe.study.types import lambda_values

GRID = {"log2_min": -20, "log2_max": 20, "count": 50}
BOLDNESS = (4.0, 2.0, 0.5)
"""Factors of the first step of the three long walks of momentum."""
VICTIMS = """how to train a victim, here mnist-mlp-vae (five minutes on one core):
  cd ~/.cache/vaepipe/victims
  vaepipe prepare --spec '{"dataset": "mnist", "kind": "mnist"}' --out mnist.h5
  vaepipe train --data mnist.h5 --out mnist-mlp-vae.safetensors --history mnist-mlp-vae.csv --spec '{
    "dataset": "mnist", "family": "vae", "beta": 1, "d_z": 16, "seed": 0,
    "model": {"network": "mlp", "hidden": [400, 400], "likelihood": "bernoulli"},
    "train": {"epochs": 50, "batch_size": 128, "learning_rate": 0.001, "schedule": "cosine",
      "precision": "float32"}}'
mnist-mlp-btcvae4: "family": "beta-tcvae", "beta": 4
dsprites-burgess-vae: "dataset": "dsprites", "d_z": 10, "network": "burgess", "epochs": 20
dsprites-conv-vae: "network": "conv" instead
dsprites-burgess-btcvae4, dsprites-conv-btcvae4: with "family": "beta-tcvae", "beta": 4
fashion-conv-vae: "dataset": "fashion-mnist", "d_z": 16, "network": "conv", "epochs": 20
"""


@dataclass
class Victim:
    """A trained model with pairs and λ; ``digest`` is of all of these."""

    model: Model
    x: Tensor
    target: Tensor
    lambdas: Tensor
    digest: str

    @classmethod
    def read(cls, name: str, args: argparse.Namespace) -> Victim:
        weights = args.victims / f"{name}.safetensors"
        model, spec = read_trained_model(weights)
        test = read_split(args.victims / f"{spec.dataset}.h5", "test")
        pairs = draw_pairs(test, args.pairs, args.pair_seed)
        x, target = (to_unit_interval(torch.from_numpy(test.x[pairs[:, i]])) for i in (0, 1))
        lambdas = torch.tensor(lambda_values(GRID), dtype=torch.float64)[:: args.every]
        digest = hashlib.sha256(tensors_digest(read_weights(weights)[0], {}).encode())
        for array in (x, target, lambdas):
            digest.update(array.numpy().tobytes())
        return cls(model, x, target, lambdas, digest.hexdigest()[:16])

    def problem(self, max_iterations: int = 500, tolerance: float = 1e-4) -> PenalisedProblem:
        loss = find_loss("latent-kl")
        objective = Objective(self.model, self.x, self.target, loss, seed=0, draws=4, batch_size=64)
        return PenalisedProblem(objective, solver="lbfgs", max_iterations=max_iterations, tolerance=tolerance)


class Known:
    """The lowest objectives (L, P) so far, their distortions (L, P, n), and by which method, in a file."""

    def __init__(self, path: Path, victim: Victim):
        shape = len(victim.lambdas), len(victim.x)
        self.path, self.lambdas = path, victim.lambdas.numpy()
        self.objective, self.by = np.full(shape, np.inf), np.full(shape, "", dtype="U24")
        self.distortion = np.zeros((*shape, victim.x[0].numel()), np.float32)
        self.scipy = np.full(shape, np.nan)  # of this run
        if path.exists():
            with np.load(path) as file:
                self.objective, self.by = file["objective"], file["by"]
                self.distortion = file["distortion"]

    def offer(self, objective: np.ndarray, distortion: np.ndarray, by: str, where=np.s_[:]) -> int:
        """Take in what is lower, at the rows ``where``; returns how many are."""
        old = self.objective[where]
        lower = np.isfinite(objective) & (objective < old)
        self.objective[where] = np.where(lower, objective, old)
        self.by[where] = np.where(lower, by, self.by[where])
        self.distortion[where] = np.where(lower[..., None], distortion, self.distortion[where])
        arrays = {"objective": self.objective, "by": self.by, "distortion": self.distortion}
        np.savez_compressed(self.path, **arrays)
        return int(lower.sum())

    def best_lines(self) -> tuple[Tensor, Tensor, Tensor]:
        """Distortions (R, n), λ numbers and pairs (R,): the lowest line of each row with d ≠ 0."""
        norm = np.linalg.norm(self.distortion.astype(np.float64), axis=-1)
        divergence = self.objective - self.lambdas[:, None] * norm
        line = (divergence[None] + self.lambdas[:, None, None] * norm[None]).argmin(1)
        start = torch.from_numpy(self.distortion[line, np.arange(norm.shape[1])])
        row, pair = (start != 0).any(-1).nonzero().unbind(1)
        return start[row, pair], row, pair


def long_adam(victim: Victim, known: Known, args: argparse.Namespace) -> None:
    """Long walks of momentum from the best known lines."""
    problem = victim.problem()
    for boldness in BOLDNESS:
        start, row, pair = known.best_lines()
        u = (problem.x[pair] + start).clamp(0, 1)
        rows = problem.walk(pair, victim.lambdas.float()[row], u, args.steps, boldness)
        by = f"adam {args.steps} × {boldness:g}"
        lower = known.offer(rows.objective.double().numpy(), rows.d.numpy(), by, (row, pair))
        print(f"  {by}: {lower} of {len(row)} rows lower", flush=True)


def long_restoration(victim: Victim, known: Known, args: argparse.Namespace) -> None:
    """Steps with restoration: many from the target and from the best known lines, some from points near x."""
    problem, random = victim.problem(), torch.Generator().manual_seed(0)
    for name in ("target", *2 * rounds.NEAR, "line"):
        start, row, pair = known.best_lines()
        x, lambda_, times = problem.x[pair], victim.lambdas.float()[row], 4
        if name != "line":
            start = problem.target[pair] - x
        if isinstance(name, float):
            noise = torch.randn(start.shape, generator=random)
            start, times = name * start.norm(dim=1, keepdim=True) * noise / start.shape[1] ** 0.5, 1
        u, _ = problem.restore(pair, lambda_, (x + start).clamp(0, 1), times * rounds.RESTORE, rounds.FIRST)
        rows = problem.restart(pair, lambda_, u, torch.zeros(len(row)), rounds.FINER, rounds.POLISH)
        by = f"restored, {name}"
        lower = known.offer(rows.objective.double().numpy(), rows.d.numpy(), by, (row, pair))
        print(f"  {by}: {lower} of {len(row)} rows lower", flush=True)


def long_lbfgs(victim: Victim, known: Known, args: argparse.Namespace) -> None:
    """L-BFGS with a tight tolerance, 4,000 evaluations, from the best known lines."""
    problem = victim.problem(4000, 1e-6)
    start, row, pair = known.best_lines()
    u, initial = (problem.x[pair] + start).clamp(0, 1), torch.zeros(len(row))
    rows = problem.restart(pair, victim.lambdas.float()[row], u, initial)
    lower = known.offer(rows.objective.double().numpy(), rows.d.numpy(), "lbfgs 4000", (row, pair))
    print(
        f"  lbfgs, {rows.iterations.float().mean():.0f} evaluations: {lower} of {len(row)} rows lower",
        flush=True,
    )


def long_scipy(victim: Victim, known: Known, args: argparse.Namespace) -> None:
    """The papers' solver in float64, from x, on about ``args.rows`` rows spread over λ ≤ 2^10."""
    P, below = len(victim.x), int((victim.lambdas <= 2**10).sum())
    sample = np.unique(np.linspace(0, below * P - 1, args.rows).astype(int))
    for row, pair in zip(sample // P, (sample + sample // P) % P):
        x, target = victim.x[pair : pair + 1], victim.target[pair : pair + 1]
        options = {"solver": "scipy", "precision": "float64", "envelope": False}
        result = run_attack(victim.model, x, target, victim.lambdas[row : row + 1], **options)
        known.scipy[row, pair] = float(result.objective)
        where, d = (np.array([row]), np.array([pair])), result.distortion[0].flatten(1).float().numpy()
        known.offer(result.objective[0].numpy(), d, "scipy", where)
    ratios = known.scipy / known.objective
    print(
        f"  scipy / best known: median {np.nanmedian(ratios):.3f}, least {np.nanmin(ratios):.3f}; "
        f"{np.isfinite(ratios).sum()} rows"
    )


LONG = {"adam": long_adam, "restoration": long_restoration, "lbfgs": long_lbfgs, "scipy": long_scipy}


def by_decile(result: AttackResult, known: Known) -> pd.DataFrame:
    """One row for each tenth of the λ, and one for all."""
    ratio = result.objective.double().numpy() / known.objective
    every, rows = np.arange(len(ratio)), []
    for those in (*np.array_split(every, 10), every):
        r, whole = ratio[those], len(those) == len(every)
        rows.append(
            {
                "lambda_from": "all" if whole else f"2^{np.log2(known.lambdas[those[0]]):.0f}",
                "mean": r.mean(),
                "worst": r.max(),
                "within_1": (r <= 1.01).mean(),
                "within_5": (r <= 1.05).mean(),
                "evaluations": float(result.iterations[those].float().mean()),
                "converged": float(result.converged[those].float().mean()),
            }
        )
    return pd.DataFrame(rows).round(4)


def print_table(result: AttackResult, known: Known, seconds: float) -> None:
    ratio = result.objective.double().numpy() / known.objective
    initial = result.initial_divergence[0].mean()
    print(f"{ratio.size} rows, Δ₀ {initial:.0f} nats on average, {seconds:.0f} s")
    print(by_decile(result, known).to_string(index=False))
    score, over = (1 / ratio).mean(), (result.iterations > 1000).float().mean()
    print(f"optimality {score:.3f}; more than 1,000 evaluations: {over:.0%} of the rows")
    above = ratio.mean(1)
    print(
        f"λ whose mean is more than 1 % above: {(above > 1.01).sum()} of {len(above)}, "
        f"the worst {above.max():.3f}"
    )
    beside = (result.objective.double().numpy() / known.scipy)[np.isfinite(known.scipy)]
    if len(beside):
        print(f"more than 1 % above SciPy: {(beside > 1.01).sum()} of {len(beside)} rows")


def write_csv(path: Path, victim: str, tables: dict[str, pd.DataFrame]) -> None:
    """Write the tables of a victim by effort, beside those of other victims in the file."""
    new = pd.concat(tables, names=["effort"]).droplevel(1).reset_index()
    new.insert(0, "victim", victim)
    old = pd.read_csv(path) if path.exists() else new[:0]
    pd.concat([old[old.victim != victim], new]).to_csv(path, index=False)


RANGES = {"λ ≥ 1": (2**-0.5, 2**11), "1 > λ ≥ 2⁻⁸": (2**-8.5, 2**-0.5), "λ < 2⁻⁸": (0, 2**-8.5)}
"""Ranges of λ that the figure shows apart; above 2¹⁰ hardly a row has a distortion."""


def draw(path: Path, name: str, results: dict[str, tuple[AttackResult, float]], known: Known) -> None:
    """Draw how far the mean objective is above the best known, against evaluations per row."""
    plt.rc("font", size=8)
    figure, axes = plt.subplots(figsize=(4.5, 3), layout="constrained")
    for label, (low, high) in RANGES.items():
        rows = (known.lambdas >= low) & (known.lambdas < high)
        evaluations = [float(r.iterations[rows].float().mean()) for r, _ in results.values()]
        ratios = [(r.objective.double().numpy() / known.objective)[rows] for r, _ in results.values()]
        above = [100 * (ratio.mean() - 1) for ratio in ratios]
        axes.plot(evaluations, above, "o-", label=label)
        for number, (effort, *point) in enumerate(zip(results, evaluations, above)):
            offset = (3, 3 - 10 * (number % 2))  # neighbours may be close
            axes.annotate(effort, point, offset, textcoords="offset points", fontsize=6)
    axes.set(
        xscale="log", xlabel="evaluations per row", ylabel="mean objective above best known, %", title=name
    )
    axes.set_yscale("symlog", linthresh=1)
    axes.margins(x=0.15)
    axes.set_ylim(0, 1.5 * axes.get_ylim()[1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.legend()
    figure.savefig(path, dpi=200)


def victim_parser(description: str, pairs: int) -> argparse.ArgumentParser:
    """Return a parser of the arguments that choose a victim, its pairs (by default so many) and the λ."""
    parser = argparse.ArgumentParser(
        description=description, epilog=VICTIMS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vaepipe" / "victims"
    parser.add_argument("victim", help="name of a trained model, NAME.safetensors in the folder")
    parser.add_argument("--victims", type=Path, default=folder, help="folder of models and data sets")
    parser.add_argument("--pairs", type=int, default=pairs, help=f"of held-out images (default {pairs})")
    parser.add_argument("--pair-seed", type=int, default=0, help="seed that draws them (default 0)")
    parser.add_argument("--every", type=int, default=1, help="take every so many of the 50 λ (default 1)")
    return parser


def main() -> None:
    parser = victim_parser(__doc__.splitlines()[0], pairs=20)
    parser.add_argument("--effort", nargs="*", default=list(EFFORTS), choices=EFFORTS, help="default: all")
    parser.add_argument(
        "--long", nargs="*", default=[], choices=LONG, help="methods that lower what is known"
    )
    parser.add_argument("--steps", type=int, default=2000, help="of the long momentum (default 2000)")
    parser.add_argument("--rows", type=int, default=40, help="that SciPy solves (default 40)")
    parser.add_argument("--csv", type=Path, help="replace the victim's rows of this file by the tables")
    parser.add_argument("--figure", type=Path, help="draw quality against evaluations to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    victim = Victim.read(args.victim, args)
    known, results = Known(args.victims / f"{args.victim}.known-{victim.digest}.npz", victim), {}
    for effort in args.effort:
        begun = time.process_time()
        result = run_attack(victim.model, victim.x, victim.target, victim.lambdas, effort=effort)
        results[effort] = result, time.process_time() - begun
        known.offer(result.objective.double().numpy(), result.distortion.flatten(2).numpy(), effort)
    for method in args.long:
        LONG[method](victim, known, args)
    for effort, (result, seconds) in results.items():
        print(f"\n{effort}")
        print_table(result, known, seconds)
    if args.csv:
        tables = {effort: by_decile(result, known) for effort, (result, _) in results.items()}
        write_csv(args.csv, args.victim, tables)
    if args.figure:
        draw(args.figure, args.victim, results, known)


if __name__ == "__main__":
    main()
