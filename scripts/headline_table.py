"""The numbers of docs/headline.md, from the tables of `configs/headline.yaml`.

    python scripts/headline_table.py headline/results/tables docs

writes two tables. headline.csv has a row per arm, β and number of steps: Δ₀ (mean and median over pairs), the
ratio R of its geometric mean over training seeds to that at β = 1, the KL, the ELBO, the share of Δ₀ that the
precision of the code makes up, and the precision of the two most precise dimensions. The interval of R (95 %)
is Welch's for the logarithms, where both sides have several seeds. Trainings that end with one precise
dimension are `collapsed` and have rows of their own. headline-models.csv has a row per training and number of
steps: the same without means, R to β = 1 with the same seed, and what the attack found.

An arm without a model at β = 1 is compared with the arm in `BASE`, whose training differs in nothing that
β = 1 reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from vaepipe.storage.tables import read_table
from vaepipe.study.cells import token

BASE = {"mws": "mss", "near-one": "mss", "near-one-mws": "mss", "free-bits": "mss", "released": "mss"}
BASE |= {"mws-64": "mss-64"}
TRAINING = ["dataset", "family", "beta", "d_z", "seed"]
KEY = [*TRAINING, "snapshot"]
PRECISE = 0.1
"""Nats of a dimension that tells images apart."""


def ratio(values: pd.Series, base: pd.Series) -> tuple[float, float, float]:
    """Return the ratio of two geometric means and its ends; these are NaN where one side has one value."""
    difference = np.log(values).mean() - np.log(base).mean()
    ends = (np.nan, np.nan)
    if min(len(values), len(base)) > 1 and not values.equals(base):
        test = stats.ttest_ind(np.log(values), np.log(base), equal_var=False)
        ends = tuple(test.confidence_interval(0.95))
    return tuple(np.exp([difference, *ends]))


def models_of(folder: Path) -> pd.DataFrame:
    """Return a row per training and number of steps, with the precision of its two best dimensions."""
    models, dimensions = read_table(folder / "models.csv"), read_table(folder / "dimensions.parquet")
    top = dimensions[dimensions["rank"] <= 2].pivot_table(index=KEY, columns="rank", values="precision")
    models = models.merge(top.rename(columns={1: "first", 2: "second"}).reset_index(), on=KEY)
    models = models.rename(columns={"pair_divergence": "delta0", "pair_divergence_median": "median"})
    models["share"] = models["squared_precision"] / models["delta0"]
    ends = models[models["snapshot"] == 0].set_index(TRAINING)["second"] < PRECISE
    models["collapsed"] = ends.loc[pd.MultiIndex.from_frame(models[TRAINING])].to_numpy()
    return models.sort_values(["dataset", "beta", "collapsed", "steps", "seed"])


def base_of(models: pd.DataFrame, arm: str, steps: float) -> pd.DataFrame:
    """Return the models at β = 1 with which an arm is compared."""
    same = (models["dataset"] == BASE.get(arm, arm)) & (models["steps"] == steps)
    return models[same & (models["beta"] == 1)]


def per_arm(models: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm, β, collapse and number of steps."""
    found = []
    for (arm, beta, collapsed, steps), own in models.groupby(["dataset", "beta", "collapsed", "steps"]):
        base = base_of(models, arm, steps)
        row = {
            "arm": arm,
            "beta": token(beta),
            "collapsed": collapsed,
            "steps": int(steps),
            "seeds": len(own),
        }
        row |= own[["delta0", "median"]].mean().to_dict()
        for name, column in (("R", "delta0"), ("R_median", "median")):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ratio(own[column], base[column])))
        found.append(row | own[["kl", "elbo", "share", "first", "second"]].mean().to_dict())
    return pd.DataFrame(found)


def per_training(models: pd.DataFrame, attacks: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return one row per training and number of steps, with what the attack found."""
    loss = attacks.groupby(KEY)["objective"].agg(["mean", "median"]).add_prefix("loss_").reset_index()
    models = models.merge(loss, on=KEY, how="left")
    models = models.merge(robustness[[*KEY, "auddc", "success_25"]], on=KEY, how="left")
    R = []
    for row in models.itertuples():
        base = base_of(models, row.dataset, row.steps).set_index("seed")["delta0"]
        R.append(row.delta0 / base.get(row.seed, np.nan))
    columns = ["delta0", "median", "R", "kl", "elbo", "share", "first", "second"]
    columns += ["loss_mean", "loss_median", "auddc", "success_25"]
    named = models.assign(R=R, arm=models["dataset"], beta=models["beta"].map(token))
    return named[["arm", "beta", "seed", "steps", "collapsed", *columns]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path, help="folder of the study's tables")
    parser.add_argument("out", type=Path, help="folder of the two tables")
    args = parser.parse_args()
    models = models_of(args.tables)
    attacks, robustness = (read_table(args.tables / name) for name in ("attacks.parquet", "robustness.csv"))
    written = {"headline": per_arm(models), "headline-models": per_training(models, attacks, robustness)}
    for name, table in written.items():
        table.to_csv(args.out / f"{name}.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
