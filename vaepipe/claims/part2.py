"""Claims of part 2: the Seatbelt-VAE against the β-TCVAE."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from vaepipe.analysis import trials as pairs
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.claims import Evidence, Finding, above, counted
from vaepipe.claims.attacks import NAMES, TRIAL, output_space


def _same_beta(e: Evidence) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(data set, loss, trials of the Seatbelt-VAE beside those of the β-TCVAE at the same β > 1)."""
    for (dataset, loss), rows in e.attacks[e.attacks["beta"] > 1].groupby(["dataset", "loss"], sort=False):
        a, b = rows[rows["family"] == "seatbelt"], rows[rows["family"] == "beta-tcvae"]
        both = a.merge(b.assign(beta_1=b["beta"]), on=[*TRIAL, "beta"], suffixes=("", "_1"))
        if len(both):
            yield dataset, loss, both


def _n(both: pd.DataFrame) -> str:
    return counted(both, pair="pairs", beta="β", d_z="d_z", seed="seeds") + f", {both['lambda'].nunique()} λ"


def higher_loss(e: Evidence) -> Iterator[Finding]:
    """Mean Δ of the Seatbelt-VAE over that of the β-TCVAE at the same β > 1, trial by trial."""
    for dataset, loss, both in _same_beta(e):
        interval, none = pairs.change(both, e.resamples)
        verdict = above(interval, none)
        note = output_space(both, e, verdict) + "; Δ sums over layers, so it grows with their number"
        yield Finding(dataset, f"{NAMES[none]}, Seatbelt against β-TCVAE, β > 1", interval, _n(both), verdict, loss, note)


def higher_nll(e: Evidence) -> Iterator[Finding]:
    """−log p(x_t|z*) of the Seatbelt-VAE less that of the β-TCVAE at the same β > 1, trial by trial."""
    for dataset, loss, both in _same_beta(e):
        ids = [both["pair"], both["seed"]]
        interval = clustered_interval(both["target_nll"], ids, against=both["target_nll_1"], resamples=e.resamples)
        headline = above(*pairs.change(both, e.resamples))
        verdict = above(interval, 0)
        note = f"the headline metric {'agrees' if headline == verdict else f'says: {headline}'}"
        yield Finding(dataset, "−log p(x_t|z*), Seatbelt − β-TCVAE, nats", interval, _n(both), verdict, loss, note)


def robust_at_equal_quality(e: Evidence) -> Iterator[Finding]:
    """AUDDC of each Seatbelt-VAE above β = 1 less that of β-TCVAEs at its ELBO, pair by pair.

    The β-TCVAE's AUDDC at that ELBO is interpolated between its two models, of the same d_z and seed, whose ELBOs enclose it;
    a Seatbelt-VAE outside their range has no equal and is left out.
    """
    elbo = e.images.groupby(["dataset", "family", "beta", "d_z", "seed"])["elbo"].mean()
    for (dataset, loss), rows in e.attacks.groupby(["dataset", "loss"], sort=False):
        areas = pairs.areas(rows[rows["family"].isin(["vae", "beta-tcvae", "seatbelt"])])
        quality = elbo.get(dataset)
        if quality is None or not (areas["family"] == "seatbelt").any():
            continue
        areas = areas.join(quality, on=["family", "beta", "d_z", "seed"])
        matched = [_matched(its) for _, its in areas.groupby(["d_z", "seed"])]
        found = pd.concat(matched, ignore_index=True)
        tried = areas[(areas["family"] == "seatbelt") & (areas["beta"] > 1)].groupby(["beta", "d_z", "seed"]).ngroups
        if found.empty:
            continue
        ids = [found["pair"], found["seed"]]
        interval = clustered_interval(found["auddc"], ids, against=found["equal"], resamples=e.resamples)
        note = (
            f"{found.groupby(['beta', 'd_z', 'seed']).ngroups} of {tried} Seatbelt-VAEs have β-TCVAEs on both sides of their ELBO"
        )
        n = counted(found, pair="pairs", beta="β", d_z="d_z", seed="seeds")
        yield Finding(dataset, "AUDDC at equal ELBO, Seatbelt − β-TCVAE", interval, n, above(interval, 0), loss, note)


def _matched(areas: pd.DataFrame) -> pd.DataFrame:
    """Rows of the Seatbelt-VAEs of one d_z and seed, with ``equal``: AUDDC of the same pair, interpolated at their ELBO."""
    seatbelt = areas[(areas["family"] == "seatbelt") & (areas["beta"] > 1)]
    others = {pair: its.sort_values("elbo") for pair, its in areas[areas["family"] != "seatbelt"].groupby("pair")}
    equal = [
        np.interp(row.elbo, others[row.pair]["elbo"], others[row.pair]["auddc"], left=np.nan, right=np.nan)
        if row.pair in others
        else np.nan
        for row in seatbelt.itertuples()
    ]
    return seatbelt.assign(equal=np.array(equal, dtype=float)).dropna(subset=["equal", "auddc"])
