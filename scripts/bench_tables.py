"""Time and peak memory of the tables and figures of a full study, made from stand-ins for its files.

    python scripts/bench_tables.py [--directory FOLDER] [--cores N] [--betas 1 2 4 6 8]

The study is configs/paper.yaml with two losses. Stand-ins have the shapes and sizes of the real files, and
random numbers: 396,000 trials and 2.1 million images. They take 10 GB, stay in the folder for the next call,
and are made only where they are absent. Five β give 324,000 trials and 1.8 million images. N figures are
drawn at a time, as by `snakemake --cores N`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from vaepipe.analysis.robustness import BUDGETS
from vaepipe.attacks.quantities import ATTACK
from vaepipe.metrics.latent_metric import dimension_quantities, latent_quantities
from vaepipe.metrics.quantities import FIRST_IMAGES, KL_LAYERS, STORED_PER_IMAGE
from vaepipe.metrics.registry import LATENT_METRICS, TRIAL_METRICS
from vaepipe.metrics.trial_metric import trial_quantities
from vaepipe.stages.columns import TABLES
from vaepipe.storage.atomic import atomic
from vaepipe.storage.checksums import write_h5_digest
from vaepipe.storage.h5 import write_h5
from vaepipe.study import drawings
from vaepipe.study.cells import Cell
from vaepipe.study.jobs import Job, digest, jobs, of_stage, output
from vaepipe.study.patterns import STAGES
from vaepipe.study.settings import Evaluate
from vaepipe.study.study import Study
from vaepipe.tools.plan import merge_configs
from vaepipe.trust.quantities import CHECKS, STRONGEST

ROOT = Path(__file__).resolve().parent.parent
LOSSES = ["latent-kl", "latent-w2"]
IMAGE = (1, 64, 64)
LATENT = latent_quantities(LATENT_METRICS)
DIMENSIONS = dimension_quantities(LATENT_METRICS)
MEANINGS = {
    quantity.name: quantity.description
    for quantity in (
        *STORED_PER_IMAGE,
        *LATENT,
        *DIMENSIONS,
        *FIRST_IMAGES,
        KL_LAYERS,
        *ATTACK,
        *trial_quantities(TRIAL_METRICS),
        *STRONGEST,
        *CHECKS,
    )
}

Arrays = dict[str, np.ndarray]
Random = np.random.Generator


def evaluation(random: Random, options: Evaluate, cell: Cell, points: bool) -> Arrays:
    """Return the arrays of an evaluation."""
    n, k = options.max_images, options.keep
    arrays = {quantity.name: random.gamma(4, cell.beta, n) for quantity in STORED_PER_IMAGE}
    arrays["log_likelihood"] *= -1
    arrays |= {quantity.name: np.array([random.random() * cell.d_z, 0.01]) for quantity in LATENT}
    arrays |= {quantity.name: random.gamma(2, 1, cell.d_z) for quantity in DIMENSIONS}
    arrays |= {name: random.normal(size=(k, cell.d_z)) for name in ("mean", "log_std", "sample")}
    shape = (k, 3) if points else (k, *IMAGE)
    arrays |= {name: random.random(shape) for name in ("x", "reconstruction")}
    return arrays | {KL_LAYERS.name: np.ones((2, 1))}


def solved(random: Random, lambdas: np.ndarray, pairs: int, beta: float) -> Arrays:
    """Return the numbers of attacks: with λ, the norm falls and the divergence rises to its initial value."""
    weight, size = lambdas[:, None], random.gamma(4, 1, pairs)
    norm, initial = 8 * size / (1 + weight), 100 * size / beta
    divergence = initial * (weight + 0.01) / (1 + weight)
    objective = divergence + weight * norm
    return {
        "lambdas": lambdas,
        "objective": objective,
        "own_objective": objective,
        "divergence": divergence,
        "norm": norm,
        "initial_divergence": np.broadcast_to(initial, norm.shape),
        "iterations": np.full(norm.shape, 60),
        "converged": random.random(norm.shape) < 0.9,
        "residual": random.random(norm.shape),
    }


def measured(random: Random, rows: Arrays) -> Arrays:
    """Return the numbers that are measured of these attacks, and the checks of them."""
    shape = rows["norm"].shape
    target, within = 4 + random.random(shape[1]), (len(BUDGETS), shape[1])
    original = target + 8 + random.gamma(4, 1, shape[1])
    ratio = rows["divergence"] / rows["initial_divergence"]
    columns = {quantity.name for quantity in TABLES["attacks"]}
    others = [q.name for q in trial_quantities(TRIAL_METRICS) if q.name in columns]
    checks = ("noise_divergence", "transfer_divergence")
    return {name: random.random(shape) for name in others} | {
        "lambdas": rows["lambdas"],
        "adversarial_distance": target + (original - target) * ratio,
        "target_distance": target,
        "original_distance": original,
        "input_distance": original - 2,
        "target_nll": rows["divergence"] + 50,
        **{name: rows["divergence"] * (1 + random.random(shape)) for name in checks},
        "transfer_norm": rows["norm"],
        "budgets": np.array(BUDGETS),
        "row": np.zeros(within, int),
        "restart_divergence": random.random(within) * 100,
        "restart_norm": random.random(within) * 8,
    }


def attack_pictures(random: Random, count: int, pairs: int) -> Arrays:
    """Return the pictures of an attack at ``count`` λ, and its pairs."""
    images = random.integers(0, 256, (2, pairs, *IMAGE), np.uint8)
    distortion = random.normal(0, 0.1, (count, pairs, *IMAGE)).astype(np.float32)
    rows = random.integers(0, 1000, (pairs, 2))
    return {"x": images[0], "target": images[1], "distortion": distortion, "pairs": rows}


def measured_pictures(random: Random, count: int, pairs: int) -> Arrays:
    """Return the pictures that a measure file of an attack at ``count`` λ holds."""
    images = random.integers(0, 256, (2, pairs, *IMAGE), np.uint8)
    adversarial = random.integers(0, 256, (count, pairs, *IMAGE), np.uint8)
    names = ("reconstruction", "target_reconstruction", "adversarial_reconstruction")
    return dict(zip(names, (*images, adversarial)))


PICTURES = {"attack": attack_pictures, "measure": measured_pictures}


def save(path: str, kind: str, arrays: Arrays, attributes: dict[str, str]) -> None:
    described = {name: (array, MEANINGS[name]) for name, array in arrays.items()}
    write_h5(path, kind, described, attributes)


def save_like(path: str, kind: str, rows: Arrays, pictures: Callable[[], Arrays], template: str) -> None:
    """Write a file: the template itself with pictures, any other one as a copy of it with other numbers."""
    if path == template:
        save(path, kind, rows | pictures(), {"unit": "nats"})
        return
    with atomic(path) as temporary:
        shutil.copyfile(template, temporary)
        with h5py.File(temporary, "r+") as file:
            for name, array in rows.items():
                file[name][...] = array
        write_h5_digest(temporary)


def make(study: Study) -> None:
    """Write the files that are absent. All attacks have the same pictures, which no table reads."""
    attacks = study.attacks()
    templates = {stage: output(stage, *attacks[0]) for stage in ("attack", "measure")}
    for number, cell in enumerate(study.cells):
        options, random = study.settings[cell.dataset], np.random.default_rng(number)
        if not Path(path := output("evaluate", cell)).exists():
            points = options.kind == "swissroll"
            model = {"family": cell.family, "beta": cell.beta}
            about = {"state": "ok", "steps": "1000", "model": json.dumps(model)}
            save(path, "evaluation", evaluation(random, options.evaluate, cell, points), about)
        lambdas, pairs = np.array(options.attack.lambdas), options.attack.pairs
        for loss in study.losses(cell):
            rows = solved(random, lambdas, pairs, cell.beta)
            numbers = {"attack": rows, "measure": measured(random, rows)}
            for stage, template in templates.items():
                if not Path(path := output(stage, cell, loss)).exists():
                    draw = partial(PICTURES[stage], random, len(lambdas), pairs)
                    save_like(path, stage, numbers[stage], draw, template)
    config = Path(STAGES["config"].outputs["config"])
    config.write_text(json.dumps(study.effective(), indent=2), encoding="utf-8")


def timed(*command: str) -> tuple[float, float, float]:
    """Return (seconds, seconds of CPU without those of its processes, GB at its peak) of one stage."""
    begun = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", *command])
    _, status, used = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"error: {command[0]} failed")
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def named(paths: dict[str, str], *names: str) -> list[str]:
    """Return options of the command line: the name and the path of each table."""
    return [word for name in names or paths for word in (f"--{name}", paths[name])]


def command(job: Job, study: Study, cores: int) -> list[str]:
    """Return the command of a job, as its rule gives it."""
    tables = STAGES["collect"].outputs
    if job.stage == "collect":
        words = ["collect", "--config", STAGES["config"].outputs["config"], "--jobs", digest(jobs(study))]
        return [*words, *named(tables), "--threads", str(cores)]
    outs = ["--out", *job.outputs.values()]
    if job.stage == "claims":
        roll = drawings.swissroll_cells(study)
        arrays = [output("evaluate", cell) for cell in roll]
        words = ["claims", "--spec", study.figure_spec(roll).to_json()]
        return [*words, *named(tables, "models", "images", "attacks"), "--arrays", *arrays, *outs]
    words = ["plot", job.figure or job.stage, "--spec", study.figure_spec(()).to_json()]
    if job.stage == "headline":
        return [*words, *named(tables, "models", "attacks", "robustness"), *outs]
    return [*words, *named(tables, "models", "images", "dimensions", "attacks", "ball", "robustness"), *outs]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = Path("/tmp/vaepipe-bench-tables")
    parser.add_argument("--directory", type=Path, default=folder, help="where the files lie")
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count(), help="processes at a time (default: all)"
    )
    parser.add_argument("--betas", type=float, nargs="+", help="β of the grid (default: configs/paper.yaml)")
    args = parser.parse_args()
    config = merge_configs([ROOT / "configs/paper.yaml"])
    config["attack"] = config.get("attack", {}) | {"losses": LOSSES}
    if args.betas:
        config["grid"] = config["grid"] | {"betas": args.betas}
    args.directory.mkdir(parents=True, exist_ok=True)
    os.chdir(args.directory)
    study = Study(config)
    make(study)
    print(f"{'stage':<24}{'s':>8}{'s of CPU':>10}{'GB':>8}")
    begun, listed = time.monotonic(), jobs(study)

    def run(job: Job) -> None:
        words = command(job, study, args.cores)
        seconds, cpu, peak = timed(f"vaepipe.stages.{words[0]}", *words[1:])
        print(f"{job.figure or job.stage:<24}{seconds:8.1f}{cpu:10.1f}{peak:8.2f}", flush=True)

    run(*of_stage(listed, "collect"))
    with ThreadPoolExecutor(args.cores) as pool:
        # the claims take longest and begin first, as in the workflow
        list(pool.map(run, of_stage(listed, "claims") + of_stage(listed, "plot", "headline")))
    print(f"{'together':<24}{time.monotonic() - begun:8.1f}")


if __name__ == "__main__":
    main()
