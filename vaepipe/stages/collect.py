"""Stage: collect what all jobs measured as tidy tables.

python -m vaepipe.stages.collect --config config.json --models M.csv --images I.parquet --dimensions D.parquet
    --attacks A.parquet --robustness R.csv --ball B.csv --pairs P.csv --labels L.csv --purifiers U.csv
    --columns C.csv
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from vaepipe.analysis import purifiers, robustness
from vaepipe.analysis.verdict import verdict
from vaepipe.metrics.quantities import ELBO, KL_LAYERS, PER_IMAGE, STORED_PER_IMAGE
from vaepipe.stages.columns import CELL, COLUMNS, DIMENSIONS, LATENT, PAIR, TABLES, names
from vaepipe.storage import checksums
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import run_stage
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.storage.tables import write_table
from vaepipe.study.caveats import caveat
from vaepipe.study.cells import Cell
from vaepipe.study.jobs import Job, of_stage, read_jobs
from vaepipe.trust.quantities import CHECKS

PARALLEL_FROM = 20
"""Models for which starting one more process pays off."""


def evaluation_rows(cell: Cell, path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (rows of images, row of models) of one model from its evaluation."""
    with open_h5(path, "evaluation") as file:
        numbers = {quantity.name: file[quantity.name][:] for quantity in STORED_PER_IMAGE}
        numbers[ELBO.name] = numbers["log_likelihood"] - numbers["kl"]
        numbers["image"] = np.arange(len(numbers["kl"]))
        images = _with_cell(cell, numbers, "images")
        return images, model_row(images, file)


def model_row(images: pd.DataFrame, file: h5py.File) -> pd.DataFrame:
    """Return the row of models: means and standard errors over images, and the latent metrics."""
    measures = names(PER_IMAGE)
    with np.errstate(invalid="ignore"):  # the autoencoder's infinite KL
        mean = images[measures].mean()
        error = images[measures].std(ddof=1) / np.sqrt(len(images))
    row: dict[str, Any] = images[names(CELL)].iloc[0].to_dict() | {"images": len(images)}
    for name in measures:
        row |= {name: float(mean[name]), f"{name}_se": float(error[name])}
    for name in names(LATENT):
        row |= {name: float(file[name][0]), f"{name}_se": float(file[name][1])}
    row["steps"] = int(read_text(file, "steps") or 0) or None
    row["caveat"] = caveat(json.loads(read_text(file, "model")))
    row["state"] = read_text(file, "state")
    for name, values in zip((KL_LAYERS.name, f"{KL_LAYERS.name}_se"), file[KL_LAYERS.name][:]):
        row[name] = " ".join(f"{value:.6g}" for value in values)
    return pd.DataFrame([row], columns=names(TABLES["models"]))


def dimension_rows(cell: Cell, path: str | Path) -> pd.DataFrame:
    """Return the rows of dimensions of one model, one per dimension of the top layer."""
    with open_h5(path, "evaluation") as file:
        columns = {name: file[name][:] for name in names(DIMENSIONS)}
    order = np.argsort(-columns["precision"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    return _with_cell(
        cell, columns | {"rank": np.arange(1, len(order) + 1), "dimension": order}, "dimensions"
    )


def attack_rows(cell: Cell, loss: str, attack: str | Path, measure: str | Path) -> pd.DataFrame:
    """Return the rows of attacks, one per λ and pair, from the files of one attack."""
    with open_h5(attack, "attack") as file, open_h5(measure, "measure") as measured:
        return _trials(cell, file, measured, "attacks", {"loss": loss, "lam": file["lambdas"][:]})


def ball_rows(cell: Cell, loss: str, ball: str | Path, measure: str | Path) -> pd.DataFrame:
    """Return the rows of ball, one per norm, radius and pair, of one attack of bounded size."""
    with open_h5(ball, "ball") as file, open_h5(measure, "measure") as measured:
        leading = {"loss": loss, "ball": file["ball"].asstr()[:], "radius": file["radius"][:]}
        rows = _trials(cell, file, measured["ball"], "ball", leading)
    success = (rows["ratio"] < robustness.SUCCESS).astype(float).where(rows["ratio"].notna())
    return rows.assign(success=success)


def _trials(
    cell: Cell, file: h5py.File, measured: h5py.Group, table: str, leading: dict[str, Any]
) -> pd.DataFrame:
    """Return the K × P rows of a table.

    Args:
        file: what was solved. measured: what was measured of it.
        leading: columns (K,), or single values, that tell the K settings apart.
    """
    K, P = file["divergence"].shape
    columns = {name: np.repeat(value, P) if np.ndim(value) else value for name, value in leading.items()}
    by_pair = (np.arange(P), *file["pairs"][:].T)
    columns |= {name: np.tile(column, K) for name, column in zip(names(PAIR), by_pair)}
    columns["unit"] = read_text(file, "unit")
    computed = {*names(CELL), *columns, "ratio", "success", "masked", "caveat"}
    for name in [name for name in names(TABLES[table]) if name not in computed]:
        array = file[name] if name in file else measured[name]
        columns[name] = np.broadcast_to(array[:], (K, P)).reshape(-1)
    distances = (columns[f"{name}_distance"] for name in ("adversarial", "target", "original"))
    columns["ratio"] = robustness.ratio(*distances)
    return _with_cell(cell, columns | {"masked": ""}, table)


def pair_rows(job: Job) -> pd.DataFrame:
    """Return the rows of pairs of a data set, from any of its attacks or attacks of bounded size."""
    with open_h5(job.output, job.stage) as file:
        pairs = file["pairs"][:]
        labels = file["pair_labels"][:] if "pair_labels" in file else np.full(pairs.shape, None)
    columns = (np.arange(len(pairs)), *pairs.T, *labels.T)
    return pd.DataFrame({"dataset": job.dataset} | dict(zip(names(TABLES["pairs"])[1:], columns)))


def robustness_row(
    cell: Cell, loss: str, attack: pd.DataFrame, ball: pd.DataFrame | None, measure: str | Path
) -> dict[str, Any]:
    """Return the row of robustness of one attack, without the columns of all losses together and the bytes.

    Args:
        attack, ball: rows of the tables of these names; ``ball`` is None without attacks of bounded size.
        measure: file of the checks.
    """
    with open_h5(measure, "measure") as file:
        checks = {name: file[name][()] for name in names(CHECKS) if name in file}
    if ball is not None:
        within = ball[ball["ball"] == "l2"].pivot(index="radius", columns="pair")
        if len(within):
            checks |= {f"ball_{name}": within[name].to_numpy(float) for name in ("divergence", "norm")}
    row = vars(cell) | {"loss": loss, "unit": attack["unit"].iloc[0], **robustness.summary(attack)}
    return row | (verdict(attack, checks) if checks else {})


def label_rows(rows: pd.DataFrame, attack: str | Path, measure: str | Path) -> list[dict[str, Any]]:
    """Return success by class of one attack; none where classes are not known."""
    with open_h5(attack, "attack") as file:
        return robustness.by_label(rows, file["pair_labels"][:, 0]) if "pair_labels" in file else []


def purified_rows(rows: pd.DataFrame, attack: str | Path, measure: str | Path) -> list[dict[str, Any]]:
    """Return success of one attack behind purifiers; none where no purifier was asked for."""
    with open_h5(measure, "measure") as file:
        if "purifier" not in file:
            return []
        ratios = (file[name][:] for name in ("purified_ratio", "purified_adaptive_ratio"))
        return purifiers.purifier_rows([name.decode() for name in file["purifier"][:]], *ratios)


def _with_cell(cell: Cell, columns: dict[str, Any], table: str) -> pd.DataFrame:
    return pd.DataFrame(vars(cell) | columns, columns=names(TABLES[table]))


@dataclass(frozen=True)
class CellFiles:
    """The files of one model: its evaluation; by loss the attack, the attack in balls, the measures."""

    cell: Cell
    evaluation: str
    attacks: dict[str, str]
    balls: dict[str, str]
    measures: dict[str, str]


def files_of_cells(listed: list[Job]) -> list[CellFiles]:
    """Return the files of every model, by data set and, if they are trained elsewhere, by name."""
    by_loss: dict[tuple[str, Cell], dict[str, str]] = {}
    for job in of_stage(listed, "attack", "ball", "measure"):
        by_loss.setdefault((job.stage, job.model), {})[job.loss] = job.output
    adopted = {job.model for job in of_stage(listed, "adopt")}
    evaluations = of_stage(listed, "evaluate")
    evaluations.sort(key=lambda job: (job.dataset, job.model.family if job.model in adopted else ""))
    files = []
    for job in evaluations:
        parts = [by_loss.get((stage, job.model), {}) for stage in ("attack", "ball", "measure")]
        files.append(CellFiles(job.model, job.output, *parts))
    return files


def cell_rows(files: CellFiles) -> dict[str, pd.DataFrame]:
    """Return what one model adds to each table, but for the pairs."""
    cell, measures = files.cell, files.measures
    images, model = evaluation_rows(cell, files.evaluation)
    attacks = {loss: attack_rows(cell, loss, path, measures[loss]) for loss, path in files.attacks.items()}
    balls = {loss: ball_rows(cell, loss, path, measures[loss]) for loss, path in files.balls.items()}
    best, rows = robustness.best(list(attacks.values())), []
    for loss, attack in attacks.items():
        row = robustness_row(cell, loss, attack, balls.get(loss), measures[loss])
        size = sum(Path(path).stat().st_size for path in (files.attacks[loss], measures[loss]))
        rows.append(row | best | {"bytes": size})
        for frame in (attack, balls.get(loss)):
            if frame is not None and "masked" in row:
                frame["masked"] = row["masked"]
    tables = {"models": model, "images": images, "dimensions": dimension_rows(cell, files.evaluation)}
    tables["robustness"] = pd.DataFrame(rows, columns=names(TABLES["robustness"]))
    for table, of_attack in (("labels", label_rows), ("purifiers", purified_rows)):
        rows = [
            vars(cell) | {"loss": loss} | row
            for loss, attack in attacks.items()
            for row in of_attack(attack, files.attacks[loss], measures[loss])
        ]
        tables[table] = pd.DataFrame(rows, columns=names(TABLES[table]))
    for table, frames in (("attacks", attacks), ("ball", balls)):
        if frames:
            tables[table] = pd.concat(frames.values())
    return {table: rows.assign(caveat=model["caveat"].item()) for table, rows in tables.items()}


def collect(listed: list[Job], threads: int = 1) -> dict[str, pd.DataFrame]:
    """Return the tables of `vaepipe.stages.columns.TABLES`, and that of their columns.

    Args:
        listed: the jobs of the study.
        threads: number of processes, used if there are many models.
    """
    work = files_of_cells(listed)
    if (processes := min(threads, len(work) // PARALLEL_FROM)) > 1:
        with multiprocessing.get_context("forkserver").Pool(processes) as pool:
            parts = pool.map(cell_rows, work, chunksize=1)
    else:
        parts = [cell_rows(files) for files in work]
    frames = {table: [part[table] for part in parts if table in part] for table in TABLES}
    first: dict[str, Job] = {}
    for job in of_stage(listed, "attack") + of_stage(listed, "ball"):
        first.setdefault(job.dataset, job)
    frames["pairs"] = [pair_rows(job) for _, job in sorted(first.items())]
    tables = {table: _joined(parts, table) for table, parts in frames.items()}
    order = [*names(CELL), "loss", "lam", "pair"]
    tables["attacks"] = tables["attacks"].sort_values(order, kind="stable", ignore_index=True)
    return tables | {"columns": column_rows()}


def _joined(frames: list[pd.DataFrame], table: str) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names(TABLES[table]))


def column_rows() -> pd.DataFrame:
    """Return the description of every column of every table."""
    rows = [(table, q.name, q.unit, q.meaning) for table, columns in TABLES.items() for q in columns]
    return pd.DataFrame(rows, columns=names(COLUMNS))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.collect", description="Make the tables of a study."
    )
    parser.add_argument("--config", required=True, type=Path, help="effective configuration (.json)")
    parser.add_argument("--jobs", default="", help="digest of the jobs whose files are collected")
    for table in (*TABLES, "columns"):
        parser.add_argument(f"--{table}", required=True, type=Path, help="table to write (.csv or .parquet)")
    parser.add_argument("--sums", type=Path, help="SHA256SUMS of the tables, to write beside them")
    parser.add_argument("--threads", type=int, default=1, help="processes, used if there are many models")
    args = parser.parse_args(argv)
    tables = collect(read_jobs(args.config, args.jobs), args.threads)
    for table, frame in tables.items():
        write_table(getattr(args, table), frame)
    if args.sums:
        with atomic(args.sums) as temporary:
            checksums.write_sums(temporary, [getattr(args, table) for table in tables])


if __name__ == "__main__":
    run_stage(main)
