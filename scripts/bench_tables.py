"""Time and peak memory of the tables and figures of the full study, on stand-ins for the files that its jobs would leave.

    PYTHONPATH=. .venv/bin/python scripts/bench_tables.py [--directory FOLDER] [--cores N] [--betas 1 2 4 6 8]

With N cores as many figures are drawn at a time, as by `snakemake --cores N`. Five β give 324,000 trials and 1.8 million images.

The stand-ins have the shapes and sizes of the real ones, configs/seed.yaml with two losses, and made-up numbers: 396,000
trials, 2.1 million images. They take 10 GB, are left in the folder for the next call, and made only where they are absent.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from vaepipe.analysis import robustness
from vaepipe.figures.registry import FIGURES
from vaepipe.stages import attack, check, evaluate
from vaepipe.stages.collect import AGGREGATE, MEASURES, TABLES
from vaepipe.storage.atomic import atomic
from vaepipe.storage.checksums import write_h5_digest
from vaepipe.storage.h5 import write_h5
from vaepipe.study.study import Study
from vaepipe.tools.plan import merged

ROOT = Path(__file__).parent.parent
LOSSES = ["latent-kl", "latent-w2"]
IMAGE = (1, 64, 64)
TABLES_FOR = ("models", "images", "attacks")


def evaluation(random, spec: dict, cell) -> dict[str, np.ndarray]:
    n, k = spec["max_images"], spec["keep"]
    arrays = {name: random.gamma(4, cell.beta, n) for name in MEASURES if name != "elbo"}
    arrays["log_likelihood"] *= -1
    arrays |= {name: np.array([random.random() * cell.d_z, 0.01]) for name in AGGREGATE}
    arrays |= {name: random.normal(size=(k, cell.d_z)) for name in ("mean", "log_std", "sample")}
    shape = (k, 3) if cell.dataset == "swissroll" else (k, *IMAGE)
    return arrays | {"kl_layers": np.ones((2, 1)), "x": random.random(shape), "reconstruction": random.random(shape)}


def numbers(random, lambdas: np.ndarray, pairs: int, beta: float) -> dict[str, np.ndarray]:
    """Of attacks whose norm falls with λ and whose divergence rises to what it is without distortion."""
    weight, p = lambdas[:, None], random.gamma(4, 1, pairs)
    norm, initial = 8 * p / (1 + weight), 100 * p / beta
    rows = {
        "norm": norm,
        "divergence": initial * (weight + 0.01) / (1 + weight),
        "initial_divergence": np.broadcast_to(initial, norm.shape),
    }
    rows["objective"] = rows["own_objective"] = rows["divergence"] + weight * norm
    o, t = 12 + p, 4 + random.random(pairs)
    rows["adversarial_distance"] = t + (o - t) * rows["divergence"] / initial
    rows |= {"target_distance": t, "original_distance": o, "input_distance": 10 + p, "target_nll": rows["divergence"] + 50}
    rows |= {name: random.random(norm.shape) for name in ("residual", "input_similarity", "reconstruction_similarity")}
    whole = {"iterations": np.full(norm.shape, 60), "converged": random.random(norm.shape) < 0.9}
    return rows | whole | {"target_similarity": random.random(norm.shape), "lambdas": lambdas}


def attacked(random, spec: dict, beta: float) -> dict[str, np.ndarray]:
    lambdas, pairs = np.array(spec["lambdas"]), spec["pairs"]
    shape = (len(lambdas), pairs, *IMAGE)
    one = random.integers(0, 256, (5, pairs, *IMAGE), np.uint8)
    arrays = dict(zip(("x", "target", "reconstruction", "target_reconstruction"), one))
    arrays |= {"distortion": random.normal(0, 0.1, shape).astype(np.float32)}
    arrays |= {"adversarial_reconstruction": random.integers(0, 256, shape, np.uint8)}
    return arrays | {"pairs": random.integers(0, 1000, (pairs, 2))} | numbers(random, lambdas, pairs, beta)


def checked(random, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    shape = (len(robustness.BUDGETS), rows["norm"].shape[1])
    found = {f"{name}_divergence": rows["divergence"] * (1 + random.random(rows["norm"].shape)) for name in ("noise", "transfer")}
    found |= {"restart_divergence": random.random(shape) * 100, "restart_norm": random.random(shape) * 8}
    return found | {"transfer_norm": rows["norm"], "lambdas": rows["lambdas"], "budgets": np.array(robustness.BUDGETS)}


def save(path: str, kind: str, arrays: dict[str, np.ndarray], what: dict[str, str]) -> None:
    write_h5(path, kind, {name: (array, what.get(name, name)) for name, array in arrays.items()}, {"state": "ok"})


def make(study: Study) -> None:
    """Files that are absent. The pictures, which no table reads, are the same in all files of attacks."""
    losses = {cell: [loss for its, loss in study.attacks() if its == cell] for cell in study.cells}
    template = ""
    for number, cell in enumerate(study.cells):
        spec, random = study.specs[cell.dataset], np.random.default_rng(number)
        if not Path(path := cell.model("evaluation.h5")).exists():
            save(path, "evaluation", evaluation(random, spec["evaluate"], cell), evaluate.DESCRIPTIONS)
        for loss in losses[cell]:
            rows = numbers(random, np.array(spec["attack"]["lambdas"]), spec["attack"]["pairs"], cell.beta)
            if not Path(path := cell.attack(loss)).exists():
                if not template:
                    save(path, "attack", attacked(random, spec["attack"], cell.beta), attack.DESCRIPTIONS)
                else:
                    with atomic(path) as temporary:
                        shutil.copyfile(template, temporary)
                        with h5py.File(temporary, "r+") as file:
                            for name, array in rows.items():
                                file[name][...] = array
                        write_h5_digest(temporary)
            template = template or path
            if not Path(path := cell.check(loss)).exists():
                save(path, "check", checked(random, rows), check.DESCRIPTIONS)


def timed(*command: str) -> tuple[float, float, float]:
    """(seconds, seconds of CPU without those of its processes, GB at its peak) of one stage."""
    begun = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", *command], env=os.environ | {"PYTHONPATH": str(ROOT)})
    _, status, used = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"error: {command[0]} failed")
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def stages(study: Study, cores: int) -> dict[str, list[str]]:
    """Commands as the rules give them."""
    folder = Path("results/tables")
    paths = {name: folder / f"{name}.{'parquet' if name in ('images', 'attacks') else 'csv'}" for name in (*TABLES, "columns")}
    tables = [word for name in TABLES_FOR for word in (f"--{name}", str(paths[name]))]
    outs = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    spec = json.dumps({"plot": study.plot, "cells": []})
    outs += ["--sums", str(folder / "SHA256SUMS"), "--threads", str(cores)]
    found = {"collect": ["collect", "--spec", json.dumps(study.collect_spec()), *outs]}
    for name, entry in FIGURES.items():
        if entry.tables and "ball" not in entry.tables:  # this study has no attacks in balls
            files = [f"results/figures/{name}{suffix}" for suffix in entry.suffixes]
            found[name] = ["plot", name, "--spec", spec, *tables, "--out", *files]
    roll = [cell for cell in study.cells if cell.dataset == "swissroll"]
    spec = json.dumps({"plot": study.plot, "cells": [vars(cell) for cell in roll]})
    claims = [f"results/{name}" for name in ("tables/claims.csv", "tables/claims.md", "claims.txt")]
    arrays = [cell.model("evaluation.h5") for cell in roll]
    return found | {"claims": ["claims", "--spec", spec, *tables, "--arrays", *arrays, "--out", *claims]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path("/tmp/vaepipe-bench-tables"), help="where the files lie")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="processes at a time (default: all cores)")
    parser.add_argument("--betas", type=float, nargs="+", help="β of the grid (default: those of configs/seed.yaml)")
    args = parser.parse_args()
    config = merged([ROOT / "configs/seed.yaml"])
    config["attack"] = config.get("attack", {}) | {"losses": LOSSES}
    if args.betas:
        config["grid"] = config["grid"] | {"betas": args.betas}
    args.directory.mkdir(parents=True, exist_ok=True)
    os.chdir(args.directory)
    study = Study(config)
    make(study)
    print(f"{'stage':<24}{'s':>8}{'s of CPU':>10}{'GB':>8}")
    begun, commands = time.monotonic(), stages(study, args.cores)

    def run(name: str) -> None:
        seconds, cpu, peak = timed(f"vaepipe.{commands[name][0]}", *commands[name][1:])
        print(f"{name:<24}{seconds:8.1f}{cpu:10.1f}{peak:8.2f}", flush=True)

    run("collect")
    with ThreadPoolExecutor(args.cores) as pool:
        list(pool.map(run, sorted(commands.keys() - {"collect"}, key="claims".__ne__)))  # by the rules' priority
    print(f"{'together':<24}{time.monotonic() - begun:8.1f}")


if __name__ == "__main__":
    main()
