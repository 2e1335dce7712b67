"""The table of all models and attacks: its intervals by their formulas."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vaepipe.analysis.overview import overview

CELL = {"dataset": "digits", "family": "vae", "beta": 1.0, "d_z": 2}


def tables():
    models = pd.DataFrame(
        [CELL | {"seed": s, "snapshot": k, "elbo": -10.0 - s, "elbo_se": 0.5} for s in (0, 1) for k in (0, 9)]
    )
    attack = {"loss": "latent-kl", "pairs": 20, "auddc": 0.3, "auddc_sd": 0.1, "auddc_pairs": 16}
    attack |= {"success_50": 0.9, "masked": np.nan}
    rows = [CELL | attack | {"seed": s, "snapshot": k} for s in (0, 1) for k in (0, 9)]
    rows[2] |= {"masked": "a longer search lowers the objective", "success_50": np.nan, "auddc_pairs": 1}
    return models, pd.DataFrame(rows)


def test_each_model_at_the_end_of_its_training_has_its_row_and_the_intervals_of_the_formulas():
    table = overview(*tables())
    assert table["seed"].to_list() == [0, 1] and table["elbo"].to_list() == [-10, -11]
    row, other = table.iloc[0], table.iloc[1]
    assert (row["elbo_low"], row["elbo_high"]) == pytest.approx((-10 - 0.98, -10 + 0.98), abs=1e-4)
    half = stats.t.ppf(0.975, 15) * 0.1 / 4
    assert (row["auddc_low"], row["auddc_high"]) == pytest.approx((0.3 - half, 0.3 + half))
    z, n, p = stats.norm.ppf(0.975), 20, 0.9  # Wilson's interval
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    width = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert (row["success_low"], row["success_high"]) == pytest.approx((middle - width, middle + width))
    assert row["weak"] == "" and other["weak"].startswith("a longer search")
    assert other[["auddc_low", "success", "success_low"]].isna().all()


def test_a_study_without_attacks_has_an_empty_table():
    models, robustness = tables()
    assert overview(models, robustness[:0]).empty
