"""The numbers of docs/headline.md, from the tables of `configs/headline.yaml`.

    python scripts/headline_table.py headline/results/tables > docs/headline.csv

Per arm, β and number of steps: Δ₀ (mean and median over pairs), the ratio R of its geometric mean over
training seeds to that at β = 1, the KL, the ELBO, the share of Δ₀ that the precision of the code makes up,
and the precision of the two most precise dimensions. The interval of R (95 %) is Welch's for the logarithms,
where both sides have several seeds. An arm without a model at β = 1 is compared with the arm in `BASE`, whose
training differs in nothing that β = 1 reads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from vaepipe.study.cells import token

BASE = {"mws": "mss", "near-one": "mss", "near-one-mws": "mss", "free-bits": "mss", "released": "mss"}
BASE |= {"mws-64": "mss-64"}


def ratio(values: pd.Series, base: pd.Series) -> tuple[float, float, float]:
    """Return the ratio of two geometric means and its ends; these are NaN where one side has one value."""
    difference = np.log(values).mean() - np.log(base).mean()
    ends = (np.nan, np.nan)
    if min(len(values), len(base)) > 1 and not values.equals(base):
        test = stats.ttest_ind(np.log(values), np.log(base), equal_var=False)
        ends = tuple(test.confidence_interval(0.95))
    return tuple(np.exp([difference, *ends]))


def rows(models: pd.DataFrame, dimensions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm, β and number of steps."""
    top = dimensions[dimensions["rank"] <= 2].pivot_table(
        index=["dataset", "family", "beta", "d_z", "seed", "snapshot"], columns="rank", values="precision"
    )
    models = models.merge(top.rename(columns={1: "first", 2: "second"}).reset_index())
    found = []
    for (arm, beta, steps), own in models.groupby(["dataset", "beta", "steps"], sort=False):
        base = models[
            (models["dataset"] == BASE.get(arm, arm)) & (models["beta"] == 1) & (models["steps"] == steps)
        ]
        row = {"arm": arm, "beta": token(beta), "steps": int(steps), "seeds": len(own)}
        row |= {"delta0": own["pair_divergence"].mean(), "median": own["pair_divergence_median"].mean()}
        for name, column in (("R", "pair_divergence"), ("R_median", "pair_divergence_median")):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ratio(own[column], base[column])))
        row |= {"kl": own["kl"].mean(), "elbo": own["elbo"].mean()}
        row |= {"share": (own["squared_precision"] / own["pair_divergence"]).mean()}
        found.append(row | {"first": own["first"].mean(), "second": own["second"].mean()})
    return pd.DataFrame(found).sort_values(["arm", "beta", "steps"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path, help="folder of models.csv and dimensions.parquet")
    folder = parser.parse_args().tables
    table = rows(pd.read_csv(folder / "models.csv"), pd.read_parquet(folder / "dimensions.parquet"))
    table.to_csv(sys.stdout, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
