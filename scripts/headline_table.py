"""The numbers of docs/headline.md, from the tables of `configs/headline.yaml`.

    python scripts/headline_table.py headline/results/tables > docs/headline.csv

Per arm, β and number of steps: Δ₀ (mean and median over pairs), its ratio R to β = 1 with the same seed, with
a 95 % interval over the training seeds where there are several, the KL, the ELBO, the share of Δ₀ that the
precision of the code makes up, and the precision of the two most precise dimensions. An arm without a model
at β = 1 is compared with the arm in `BASE`, whose training differs in nothing that β = 1 reads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from vaepipe.analysis.intervals import clustered_interval

BASE = {"mws": "mss", "near-one": "mss", "near-one-mws": "mss", "free-bits": "mss", "released": "mss"}
BASE |= {"mws-64": "mss-64"}


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
        both = own.merge(base, on="seed", suffixes=("", "_1"))
        row = {"arm": arm, "beta": beta, "steps": int(steps), "seeds": len(own)}
        row |= {"delta0": own["pair_divergence"].mean(), "median": own["pair_divergence_median"].mean()}
        for name, column in (("R", "pair_divergence"), ("R_median", "pair_divergence_median")):
            ratio = clustered_interval(
                both[column], [both["seed"]], "geometric mean", against=both[f"{column}_1"], compare="ratio"
            )
            row |= {name: ratio.estimate, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
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
