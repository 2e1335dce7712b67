"""Quality and speed of attacks: vaepipe, SciPy's L-BFGS-B row by row, a batched Adam, ART and foolbox.

    python scripts/bench_attacks.py --mnist DIR --work bench [--network mlp conv] [--others PYTHON]

The script trains a VAE and a β-TCVAE (β = 8) on MNIST, once. It attacks 20 pairs × 50 λ by latent-kl, and
compares rows with SciPy run to its own convergence in float64, as the papers do. With `--rows N`, SciPy
solves about N rows, evenly spaced; with 0, all. The time of its loop is the evaluations that it needed × the
time of one evaluation, measured on a few rows in turns with vaepipe. Times are those of the processor (all
threads of the process), so that other load on the machine counts little. ART and foolbox take part with
`--others`, the Python of an environment that has them, torch and this package; the script runs itself there.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads make SciPy's solver several times slower

import numpy as np
import torch

from vaepipe.attacks import penalised_rows
from vaepipe.attacks.loss import Setting, find_loss
from vaepipe.attacks.pairs import draw_pairs
from vaepipe.attacks.penalised import run_attack
from vaepipe.compute.memory import keep_freed_memory
from vaepipe.datasets.prepared import read_split
from vaepipe.datasets.scale import to_unit_interval
from vaepipe.stages.prepare import prepare
from vaepipe.stages.train import train
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.study.settings import Model, TrainOptions
from vaepipe.study.specs import ModelSpec, PrepareSpec
from vaepipe.study.types import lambda_values

MODELS = {"vae": 1.0, "beta-tcvae": 8.0}
STEPS = {"mlp": (900, 256), "conv": (120, 128)}
LAMBDAS = lambda_values({"log2_min": -20, "log2_max": 20, "count": 50})
CLOCK = time.process_time


def trained(work: Path, mnist: str, network: str, family: str, seed: int = 0) -> tuple:
    """(model, x, target): 20 pairs of held-out images of different digits."""
    data, weights = work / "mnist.h5", work / f"{network}-{family}.safetensors"
    if not data.exists():
        prepare(PrepareSpec(dataset="mnist", path=mnist), data)
    if not weights.exists():
        steps, batch = STEPS[network]
        model = Model(network=network, hidden=(400, 400), likelihood="bernoulli")
        options = TrainOptions(
            steps=steps, batch_size=batch, learning_rate=1e-3, schedule="cosine", precision="float32"
        )
        spec = ModelSpec(
            dataset="mnist", family=family, beta=MODELS[family], d_z=16, model=model, train=options
        )
        train(spec, data, weights, weights.with_suffix(".csv"), 1e9, torch.device("cpu"))
    test = read_split(data, "test")
    pairs = draw_pairs(test, 20, seed)
    return read_trained_model(weights)[0], *(
        to_unit_interval(torch.from_numpy(test.x[pairs[:, i]])) for i in (0, 1)
    )


class Timed:
    """Measures the time that `value_and_grad`, the network and its gradient, takes within attacks."""

    def __init__(self):
        self.seconds, self.rows = 0.0, 0
        self.plain = penalised_rows.SOLVERS["lbfgs"]

    def minimise(self, value_and_grad, *args, **options):
        def timed(u, row):
            begun = CLOCK()
            found = value_and_grad(u, row)
            self.seconds += CLOCK() - begun
            self.rows += len(u)
            return found

        return self.plain(timed, *args, **options)

    def __enter__(self):
        penalised_rows.SOLVERS["lbfgs"] = self.minimise
        return self

    def __exit__(self, *_):
        penalised_rows.SOLVERS["lbfgs"] = self.plain


def one_evaluation(model, x, target, batch: int, repeats: int) -> float:
    """Seconds of a row's KL and gradient in batches of ``batch``."""
    rows = torch.arange(batch) % len(x)
    goals = list(model.posterior(target))
    divergence = find_loss("latent-kl").build(Setting(model, x, target, goals, None, batch))
    times = []
    for _ in range(repeats):
        begun = CLOCK()
        u = x[rows].requires_grad_()
        torch.autograd.grad(divergence(u, rows).sum(), u)
        times.append(CLOCK() - begun)
    return float(np.median(times)) / batch


def reference(model, x, target, lam: torch.Tensor, count: int, cache: Path) -> dict:
    """SciPy on every k-th row of the grid, in float64, or from the cache of an earlier call."""
    L, P = len(lam), len(x)
    rows = np.arange(0, L * P, max(1, L * P // count) if count else 1)
    rows = np.unique(
        (rows + np.arange(len(rows)) * bool(count)) % (L * P)
    )  # on to the next pair with every step
    known = json.loads(cache.read_text()) if cache.exists() else {}
    for row in rows:
        if str(row) not in known:
            known[str(row)] = scipy_row(model, x, target, lam, row, "float64")
            cache.write_text(json.dumps(known))
    found = np.array([known[str(row)] for row in rows])
    return {"rows": rows, "objective": found[:, 0], "evaluations": found[:, 1]}


def scipy_row(model, x, target, lam: torch.Tensor, row: int, precision: str) -> list:
    """[objective, evaluations, seconds]."""
    p = row % len(x)
    one = slice(p, p + 1)
    model = copy.deepcopy(model).to(getattr(torch, precision))
    begun = CLOCK()
    options = {"solver": "scipy", "precision": precision, "envelope": False}
    r = run_attack(model, x[one], target[one], lam[row // len(x)][None], **options)
    return [float(r.objective), int(r.iterations), CLOCK() - begun]


def per_evaluation(model, x, target, lam: torch.Tensor, rows: np.ndarray) -> np.ndarray:
    """Seconds of SciPy's evaluations now, in float64 and in float32."""
    spent = [
        np.sum([scipy_row(model, x, target, lam, r, p)[1:] for r in rows], axis=0)
        for p in ("float64", "float32")
    ]
    return np.array([seconds / evaluations for evaluations, seconds in spent])


def adam(
    model, x, target, lam: torch.Tensor, rows: np.ndarray, steps: tuple[int, ...], rate: float
) -> list[tuple]:
    """(steps, seconds, best objective of each row) of a batched, projected Adam on the sampled rows."""
    pair = torch.from_numpy(rows % len(x))
    weight = lam.float()[torch.from_numpy(rows // len(x))]
    divergence = find_loss("latent-kl").build(
        Setting(model, x, target, list(model.posterior(target)), None, 64)
    )
    u = (
        (x[pair] + 1e-8 * torch.randn(x[pair].shape, generator=torch.Generator().manual_seed(0)))
        .clamp(0, 1)
        .requires_grad_()
    )
    optimiser, best, found, begun = (
        torch.optim.Adam([u], lr=rate),
        torch.full(weight.shape, torch.inf),
        [],
        CLOCK(),
    )
    for step in range(max(steps) + 1):
        value = divergence(u, pair) + weight * (u - x[pair]).flatten(1).norm(dim=1)
        best = torch.minimum(best, value.detach())
        if step in steps:
            found.append((step, CLOCK() - begun, best.numpy().copy()))
        optimiser.zero_grad()
        value.sum().backward()
        optimiser.step()
        with torch.no_grad():
            u.clamp_(0, 1)
    return found


def as_good(objective, other, initial) -> np.ndarray:
    return objective <= 1.01 * other + 1e-4 * initial


def compare(arguments, network: str, family: str) -> None:
    model, x, target = trained(arguments.work, arguments.mnist, network, family, arguments.pair_seed)
    lam = torch.tensor(LAMBDAS, dtype=torch.float64)
    L, P = len(lam), len(x)
    ref = reference(
        model,
        x,
        target,
        lam,
        arguments.rows,
        arguments.work / f"{network}-{family}-scipy-{arguments.pair_seed}.json",
    )
    rows, timed_rows = ref["rows"], (7 * np.arange(arguments.rounds * 5) + 3) * 53 % (L * P)
    runs, speeds = [], []
    for its in np.split(timed_rows, arguments.rounds):  # in turns
        speeds.append(per_evaluation(model, x, target, lam, its))
        with Timed() as timed:
            begun, wall = CLOCK(), time.perf_counter()
            ours = run_attack(model, x, target, lam, batch_size=arguments.batch, effort="fast")
            runs.append((CLOCK() - begun, time.perf_counter() - wall))
    seconds, wall = np.median(runs, axis=0)
    double, single = ref["evaluations"].mean() * L * P * np.array(speeds).T  # seconds of the grid, by round
    evaluations = int(ours.iterations.sum())
    print(f"{network} {family}: {L * P} rows in {seconds:.1f} s of processor ({wall:.1f} s by the clock)")
    print(f"  {evaluations / L / P:.0f} evaluations per row, {int(ours.converged.sum())} converged")
    print(f"  {100 * timed.seconds / seconds:.0f} % of the time in the network")
    objective, initial = (t.flatten().numpy()[rows] for t in (ours.objective, ours.initial_divergence))
    good = as_good(objective, ref["objective"], initial)
    ours_spent = np.array(runs)[:, 0]
    for precision, spent in (("float64", double), ("float32", single)):
        ratios = spent / ours_spent
        times = f"{np.median(ratios):.0f} times faster [{ratios.min():.0f}, {ratios.max():.0f}]"
        print(f"  SciPy, {precision}: {np.median(spent):.0f} s for the grid; ours {times}")
    per_row = ref["evaluations"].mean()
    print(f"    {per_row:.0f} evaluations per row ({len(rows)} rows), timed on {len(timed_rows)}")
    alone, batched = (
        one_evaluation(model, x, target, 1, 100),
        one_evaluation(model, x, target, arguments.batch, 20),
    )
    fewer = ref["evaluations"].mean() / (evaluations / L / P)
    rest = np.median(double / ours_spent) / fewer / (alone / batched)
    arithmetic = f"arithmetic around and in them {rest:.1f}"
    print(f"    = fewer evaluations {fewer:.1f} × batching {alone / batched:.1f} × {arithmetic}")
    print(f"  as good as SciPy (≤ 1.01 × + 1e-4 × initial): {good.sum()} of {len(rows)}")
    print("  by decile of λ: rows as good, our and SciPy's mean objective")
    decile, above = rows // P * 10 // L, []
    for k in range(10):
        own = decile == k
        low, means = np.log2(float(lam[k * L // 10])), (objective[own].mean(), ref["objective"][own].mean())
        print(f"    λ from 2^{low:.0f}: {good[own].sum()} of {own.sum()}, {means[0]:.4g}, {means[1]:.4g}")
    for row in range(L):
        its = rows // P == row
        ratio = objective[its].mean() / ref["objective"][its].mean() if its.any() else 1
        if ratio > 1 + 5e-6:  # of the rounding of float32
            above.append(f"2^{np.log2(float(lam[row])):.0f} (+{100 * (ratio - 1):.2g} %)")
    print(f"  λ whose mean lies above SciPy's: {', '.join(above) or 'none'}")
    if arguments.adam:
        best = None
        for rate in (0.003, 0.01, 0.03):
            for step, spent, found in adam(model, x, target, lam, rows, (100, 300, arguments.adam), rate):
                share, whole = as_good(found, objective, initial).mean(), spent / len(rows) * L * P
                text = f"lr {rate}, {step} steps: {100 * share:.0f} % of rows as good as ours"
                text += f", {whole:.0f} s for the grid"
                line = (share, -spent, f"{text}, {whole / seconds:.1f} × ours")
                best = max(best or line, line)
        print(f"  Adam, batched, at its best: {best[2]}")


def others(arguments) -> None:
    """Print rows per second of ART's feature adversaries and foolbox's L2 projected gradient descent."""
    model, x, target = trained(arguments.work, arguments.mnist, "mlp", "vae")
    steps, lam = 100, torch.tensor(LAMBDAS, dtype=torch.float64)
    begun = CLOCK()
    ours = run_attack(model, x, target, lam, batch_size=arguments.batch, effort="fast")
    print(f"  vaepipe, every row to convergence: {ours.norm.numel() / (CLOCK() - begun):.0f} rows/s")
    near = ours.norm.mean(1).sub(3).abs().argmin()
    kl_there, norm_there = ours.divergence[near].mean(), ours.norm[near].mean()
    print(f"    at λ = {lam[near]:.2g}: mean KL {kl_there:.3g}, mean ‖d‖₂ {norm_there:.2g}")

    def kl(u):
        return model.posterior(u)[0].kl(model.posterior(target)[0])

    for name, attack in (("foolbox", foolbox_pgd), ("ART", art_features)):
        try:
            begun = CLOCK()
            adversarial, version = attack(model, x, target, kl, steps)
            rate, norm = len(x) / (CLOCK() - begun), (adversarial - x).flatten(1).norm(dim=1).mean()
            reached = f"mean KL {kl(adversarial).mean():.3g}, mean ‖d‖₂ {norm:.2g}"
            print(f"  {name} {version}, {steps} steps: {rate:.0f} rows/s, {reached}")
        except Exception as error:
            print(f"  {name} did not run: {type(error).__name__}: {error}")


class Means(torch.nn.Module):
    """What ART and foolbox take for a classifier: the means of the posterior."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, u):
        return self.model.posterior(u)[0].mean


def foolbox_pgd(model, x, target, kl, steps):
    """L2 projected gradient descent within ε = 3 on the KL."""
    import eagerpy
    import foolbox

    class Attack(foolbox.attacks.L2ProjectedGradientDescentAttack):
        def get_loss_fn(self, _, labels):
            return lambda u: eagerpy.astensor(-kl(u.raw).sum())

    network = foolbox.PyTorchModel(Means(model).eval(), (0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(torch.zeros(len(x), dtype=torch.long))
    return Attack(steps=steps, random_start=False).run(
        network, x, criterion, epsilon=3.0
    ), foolbox.__version__


def art_features(model, x, target, kl, steps):
    """FeatureAdversaries: the squared distance of the means, no penalty, within ‖d‖_∞ ≤ 1."""
    import art
    from art.attacks.evasion.feature_adversaries.feature_adversaries_pytorch import FeatureAdversariesPyTorch
    from art.estimators.classification import PyTorchClassifier

    options = {"clip_values": (0, 1), "device_type": "cpu"}
    estimator = PyTorchClassifier(torch.nn.Sequential(Means(model)), None, tuple(x.shape[1:]), 16, **options)
    options = {
        "optimizer": torch.optim.Adam,
        "optimizer_kwargs": {"lr": 0.03},
        "lambda_": 0.0,
        "layer": 0,
        "max_iter": steps,
    }
    attack = FeatureAdversariesPyTorch(
        estimator, delta=1.0, batch_size=len(x), step_size=0.03, verbose=False, **options
    )
    return torch.from_numpy(attack.generate(x.numpy(), target.numpy())), art.__version__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", required=True, help="folder with the official MNIST files")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("bench"),
        help="where models and SciPy's rows are kept (default bench)",
    )
    parser.add_argument("--family", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--network", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument(
        "--rows", type=int, default=100, help="about as many rows are solved by SciPy; 0: all (default 100)"
    )
    parser.add_argument(
        "--pair-seed", type=int, default=0, help="draws the pairs; the constants were chosen on 1 (default 0)"
    )
    parser.add_argument(
        "--rounds", type=int, default=4, help="turns of the timing, each with 5 rows of SciPy's (default 4)"
    )
    parser.add_argument("--batch", type=int, default=64, help="rows at once (default 64)")
    parser.add_argument(
        "--adam", type=int, default=1000, help="most steps of the batched Adam; 0: without it (default 1000)"
    )
    parser.add_argument("--others", help="Python of an environment with ART and foolbox")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    if arguments.child:
        return others(arguments)
    for network in arguments.network:
        for family in arguments.family:
            compare(arguments, network, family)
    if arguments.others:
        command = [
            arguments.others,
            __file__,
            "--child",
            "--mnist",
            arguments.mnist,
            "--work",
            arguments.work,
        ]
        command += ["--threads", arguments.threads, "--batch", arguments.batch]
        subprocess.run(list(map(str, command)), check=False)


if __name__ == "__main__":
    main()
