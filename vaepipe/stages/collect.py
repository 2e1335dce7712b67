"""Stage: what all jobs measured, as tidy tables.

python -m vaepipe.stages.collect --spec JSON --models models.csv --images images.parquet --attacks attacks.parquet
                          --robustness robustness.csv --ball ball.csv --pairs pairs.csv --columns columns.csv
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pandas as pd

from vaepipe.analysis import robustness
from vaepipe.analysis.verdict import verdict
from vaepipe.storage import checksums as integrity
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import run_stage
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.storage.tables import write_table
from vaepipe.study import grid
from vaepipe.study.grid import Cell

CELL = {
    "dataset": "data set",
    "family": "model family; vae is beta = 1 of every family",
    "beta": "beta of the objective",
    "d_z": "latent dimensions",
    "seed": "training seed",
}
IMAGE = {
    "image": "row of the held-out split",
    "log_likelihood": "log p(x|z), z ~ q(z|x), nats per image",
    "kl": "KL summed over dimensions and layers, nats per image",
    "elbo": "log_likelihood - kl, the beta = 1 ELBO, nats per image",
    "bound": "importance-weighted bound on log p(x), nats per image",
    "reconstruction_error": "2-norm of x - E[x|z], z ~ q(z|x), over all pixels",
    "sigma_norm": "2-norm of the top layer's posterior standard deviations",
    "mean_norm": "2-norm of the top layer's posterior means",
}
MEASURES = tuple(name for name in IMAGE if name != "image")
AGGREGATE = {
    "mutual_information": "I(z; x) of the top layer over the held-out images, nats",
    "total_correlation": "KL(q(z) || prod q(z_k)) of the top layer over the held-out images, nats",
    "dimension_kl": "sum of KL(q(z_k) || p(z_k)) of the top layer over the held-out images, nats",
    "overlap": "mean Bhattacharyya coefficient of two images' posteriors, top layer",
    "active_units": "dimensions of the top layer whose means vary over images by more than 0.01",
    "mig": "mutual information gap, top layer; empty where no factors are known",
}
MODEL = {"images": "held-out images measured", "state": "latent space: ok, collapsed or exploded"}
for _name in MEASURES:
    MODEL |= {
        _name: f"mean over images of the column {_name} of images",
        f"{_name}_se": f"standard error of {_name}, over images",
    }
for _name, _text in AGGREGATE.items():
    MODEL |= {_name: _text, f"{_name}_se": f"standard error of {_name}: Monte-Carlo, of active_units a bootstrap over images"}
MODEL |= {
    "kl_layers": "mean KL of each layer, the bottom one first, nats per image, separated by blanks",
    "kl_layers_se": "standard error of kl_layers, over images",
}
ATTACK = {
    "loss": "what the attack minimises beside lambda * norm",
    "lambda": "weight of the penalty",
    "pair": "number of the pair, the same images for every model of a data set",
    "image": "attacked image, row of the held-out split",
    "target": "target image, row of the held-out split",
    "objective": "value that the attack reached, divergence + lambda * norm, nats: the adversarial loss",
    "own_objective": "objective that the row reached by itself, before other lambdas of its pair were looked at, nats",
    "divergence": "objective without the penalty, nats",
    "norm": "2-norm of the distortion over all pixels, images in [0,1]",
    "initial_divergence": "divergence without distortion, nats",
    "iterations": "evaluations of the network",
    "converged": "stopped as five steps gained little beside objective + 10 % of initial_divergence, not by the bound",
    "residual": "2-norm of the projected gradient step at the end",
    "adversarial_distance": "A: mean over samples of ||rec(x+d) - x_t||",
    "target_distance": "T: mean over samples of ||rec(x_t) - x_t||",
    "original_distance": "O: mean over samples of ||rec(x) - x_t||",
    "input_distance": "||x - x_t||",
    "ratio": "(A - T)/(O - T): 1 as without distortion, 0 as the target's own reconstruction; empty where O <= T",
    "target_nll": "-log p(x_t|z*), z* ~ q(z|x+d), nats per image",
    "input_similarity": "MS-SSIM of x and x+d",
    "reconstruction_similarity": "MS-SSIM of the reconstructions of x and x+d",
    "target_similarity": "MS-SSIM of the reconstructions of x_t and x+d",
    "masked": "as in robustness: why the attacks with this loss on this model may be too weak; empty where no check says so",
}
_KEPT = ("loss", "pair", "image", "target", "initial_divergence", "adversarial_distance", "target_distance", "original_distance")
BALL = {
    "ball": "norm of the distortion that is bounded: l2, over all pixels, or linf, the largest",
    "radius": "its bound, images in [0,1]",
    "divergence": "what the attack minimises, reached within the bound, nats",
    "norm": "of the distortion, the norm that is bounded",
    "restart": "start that the distortion came from: 0 is d = 0, 1 the target (of a loss that has one), the others are random",
    "iterations": "evaluations of the network, all starts together",
    "success": f"1 where ratio < {robustness.SUCCESS:g}, as in robustness; empty where O <= T",
}
_AFTER = ("input_distance", "ratio", "target_nll", "masked")
BALL = {name: (BALL | ATTACK)[name] for name in (*_KEPT[:4], *BALL, *_KEPT[4:], *_AFTER)}
PAIR = {key: (CELL | ATTACK)[key] for key in ("dataset", "pair", "image", "target")} | {
    "image_label": "class of the image; empty where no classes are known",
    "target_label": "class of the target; empty where no classes are known",
}
TABLES = {
    "models": CELL | MODEL,
    "images": CELL | IMAGE,
    "attacks": CELL | ATTACK,
    "robustness": CELL | {quantity.name: quantity.description for quantity in robustness.COLUMNS},
    "ball": CELL | BALL,
    "pairs": PAIR,
}


WORTH = 20
"""Models for which a further process pays its start."""


def evaluated(cell: Cell, path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(one row per held-out image of one model, its `model_row`)."""
    with open_h5(path, "evaluation") as file:
        found = {name: file[name][:] for name in MEASURES if name != "elbo"}
        found["elbo"] = found["log_likelihood"] - found["kl"]
        images = _with_cell(cell, {"image": np.arange(len(found["kl"]))} | found, TABLES["images"])
        return images, model_row(images, file)


def model_row(images: pd.DataFrame, file) -> pd.DataFrame:
    """One row per model: means and standard errors over its images, and what was measured of its aggregate posterior."""
    with np.errstate(invalid="ignore"):  # the autoencoder's infinite KL
        mean = images[list(MEASURES)].mean()
        error = images[list(MEASURES)].std(ddof=1) / np.sqrt(len(images))
    numbers = {name + suffix: float(value[name]) for name in MEASURES for suffix, value in (("", mean), ("_se", error))}
    numbers |= {name + suffix: float(file[name][i]) for name in AGGREGATE for i, suffix in enumerate(("", "_se"))}
    numbers["state"] = read_text(file, "state")
    for name, values in zip(("kl_layers", "kl_layers_se"), file["kl_layers"][:]):
        numbers[name] = " ".join(f"{value:.6g}" for value in values)
    row = images[list(CELL)].iloc[0].to_dict() | {"images": len(images)} | numbers
    return pd.DataFrame([row], columns=list(TABLES["models"]))


def attack_rows(cell: Cell, loss: str, path: str | Path) -> pd.DataFrame:
    """One row per (λ, pair) of one attack file."""
    with open_h5(path, "attack") as file:
        return _trials(cell, file, "attacks", {"loss": loss, "lambda": file["lambdas"][:]})


def ball_rows(cell: Cell, loss: str, path: str | Path) -> pd.DataFrame:
    """One row per (norm, radius, pair) of one file of attacks of bounded size."""
    with open_h5(path, "ball") as file:
        its = {"loss": loss, "ball": file["ball"].asstr()[:], "radius": file["radius"][:]}
        rows = _trials(cell, file, "ball", its)
    return rows.assign(success=(rows["ratio"] < robustness.SUCCESS).astype(float).where(rows["ratio"].notna()))


def _trials(cell: Cell, file, table: str, leading: dict) -> pd.DataFrame:
    """Rows (K, P) of a file; ``leading``: columns (K,), or one value, that tell the K apart."""
    K, P = file["divergence"].shape
    found = {name: np.repeat(value, P) if np.ndim(value) else value for name, value in leading.items()}
    found |= {name: np.tile(column, K) for name, column in zip(("pair", "image", "target"), (np.arange(P), *file["pairs"][:].T))}
    for name in TABLES[table].keys() - CELL.keys() - found.keys() - {"ratio", "success", "masked"}:
        found[name] = np.broadcast_to(file[name][:], (K, P)).reshape(-1)
    found["ratio"] = robustness.ratio(*(found[f"{name}_distance"] for name in ("adversarial", "target", "original")))
    return _with_cell(cell, found | {"masked": ""}, TABLES[table])


def pair_rows(dataset: str, path: str | Path, kind: str) -> pd.DataFrame:
    """One row per pair of a data set, from any of its files of attacks or of attacks of bounded size."""
    with open_h5(path, kind) as file:
        pairs = file["pairs"][:]
        labels = file["pair_labels"][:] if "pair_labels" in file else np.full(pairs.shape, None)
    columns = (np.arange(len(pairs)), *pairs.T, *labels.T)
    return pd.DataFrame({"dataset": dataset} | dict(zip(list(PAIR)[1:], columns)))


def robustness_rows(cell: Cell, attacks: dict[str, pd.DataFrame], checked: bool, balls: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per loss of one model, from its rows of attacks by loss, its files, and its rows of attacks of bounded size."""
    best, rows = robustness.best(list(attacks.values())), []
    for loss, frame in attacks.items():
        found = {"loss": loss, **robustness.summary(frame), **best, "bytes": Path(cell.attack(loss)).stat().st_size}
        checks = {}
        if checked:
            with open_h5(cell.check(loss), "check") as file:
                checks = {name: file[name][()] for name in file}
        if loss in balls:
            within = balls[loss][balls[loss]["ball"] == "l2"].pivot(index="radius", columns="pair")
            checks |= {f"ball_{name}": within[name].to_numpy(float) for name in ("divergence", "norm")} if len(within) else {}
        found |= verdict(frame, checks) if checks else {}
        rows.append(vars(cell) | found)
    return pd.DataFrame(rows, columns=list(TABLES["robustness"]))


def _with_cell(cell: Cell, columns: dict, order: dict) -> pd.DataFrame:
    return pd.DataFrame(vars(cell) | columns, columns=list(order))


def cell_rows(cell: Cell, spec: dict) -> dict[str, pd.DataFrame]:
    """What one model adds to each table, but for the pairs."""
    images, models = evaluated(cell, cell.model("evaluation.h5"))
    wanted = {key: grid.losses(cell, spec[key], spec["external"]) for key in ("losses", "ball")}
    attacks = {loss: attack_rows(cell, loss, cell.attack(loss)) for loss in wanted["losses"]}
    balls = {loss: ball_rows(cell, loss, cell.ball(loss)) for loss in wanted["ball"]}
    robust = robustness_rows(cell, attacks, spec["checked"], balls)
    for loss, masked in zip(robust["loss"], robust["masked"]):
        for frames in (attacks, balls):
            if loss in frames and isinstance(masked, str):
                frames[loss]["masked"] = masked
    every = {"attacks": attacks, "ball": balls}
    found = {name: pd.concat(frames.values()) for name, frames in every.items() if frames}
    return {"models": models, "images": images, "robustness": robust} | found


def collect(study: dict, threads: int = 1) -> dict[str, pd.DataFrame]:
    """Tables models, images, attacks, robustness, ball, pairs and columns.

    Args:
        study: per data set its grid, external models, losses (``ball``: of the attacks of bounded size) and whether attacks were
            checked, as `vaepipe.study.config.Study.collect_spec` gives them.
        threads: processes, where there are many models.
    """
    work, pairs = [], []
    for dataset, spec in study.items():
        models = spec["external"]
        cells = [*grid.cells(dataset, spec["grid"]), *grid.external(dataset, models)]
        work += [(cell, spec) for cell in cells]
        attacked = [(cell.attack(loss), "attack") for cell in cells for loss in grid.losses(cell, spec["losses"], models)]
        bounded = [(cell.ball(loss), "ball") for cell in cells for loss in grid.losses(cell, spec["ball"], models)]
        pairs += [pair_rows(dataset, *file) for file in (attacked + bounded)[:1]]
    if (processes := min(threads, len(work) // WORTH)) > 1:
        with multiprocessing.get_context("forkserver").Pool(processes) as pool:
            parts = pool.starmap(cell_rows, work, chunksize=1)
    else:
        parts = [cell_rows(*its) for its in work]
    frames = {name: [part[name] for part in parts if name in part] for name in TABLES} | {"pairs": pairs}
    tables = {
        name: pd.concat(frames[name], ignore_index=True) if frames[name] else pd.DataFrame(columns=list(TABLES[name]))
        for name in TABLES
    }
    tables["attacks"] = tables["attacks"].sort_values([*CELL, "loss", "lambda", "pair"], kind="stable", ignore_index=True)
    columns = [(table, name, text) for table, names in TABLES.items() for name, text in names.items()]
    return tables | {"columns": pd.DataFrame(columns, columns=["table", "column", "meaning"])}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.collect", description="Make the tables of a study.")
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: data set → grid, losses, checked, external")
    for table in (*TABLES, "columns"):
        parser.add_argument(f"--{table}", required=True, type=Path, help="table to write (.csv or .parquet)")
    parser.add_argument("--sums", type=Path, help="SHA256SUMS of the tables, to write beside them")
    parser.add_argument("--threads", type=int, default=1, help="processes, where there are many models (default 1)")
    args = parser.parse_args(argv)
    tables = collect(args.spec, args.threads)
    for name, frame in tables.items():
        write_table(getattr(args, name), frame)
    if args.sums:
        with atomic(args.sums) as temporary:
            integrity.write_sums(temporary, [getattr(args, name) for name in tables])


if __name__ == "__main__":
    run_stage(main)
