"""Claims of part 2: the Seatbelt-VAE against the β-TCVAE."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from vaepipe.analysis.intervals import clustered_interval
from vaepipe.analysis.trials import areas, change
from vaepipe.claims import Evidence, Finding, above, counted, counted_trials
from vaepipe.claims.attacks import TRIAL, change_called, output_space


def _same_beta(evidence: Evidence) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (data set, loss, trials of the Seatbelt-VAE beside those of the β-TCVAE at the same β > 1)."""
    for (dataset, loss), rows in evidence.attacks[evidence.attacks["beta"] > 1].groupby(
        ["dataset", "loss"], sort=False
    ):
        a, b = rows[rows["family"] == "seatbelt"], rows[rows["family"] == "beta-tcvae"]
        both = a.merge(b.assign(beta_1=b["beta"]), on=[*TRIAL, "beta"], suffixes=("", "_1"))
        if len(both):
            yield dataset, loss, both


def higher_loss(evidence: Evidence) -> Iterator[Finding]:
    """Mean Δ of the Seatbelt-VAE over that of the β-TCVAE at the same β > 1, trial by trial."""
    for dataset, loss, both in _same_beta(evidence):
        interval, no_change = change(both, evidence.resamples)
        verdict = above(interval, no_change)
        note = output_space(both, evidence, verdict) + "; Δ sums over layers, so it grows with their number"
        statistic = f"{change_called(no_change, loss)}, Seatbelt against β-TCVAE, β > 1"
        yield Finding(dataset, statistic, interval, counted_trials(both), verdict, loss, note)


def higher_nll(evidence: Evidence) -> Iterator[Finding]:
    """−log p(x_t|z*) of the Seatbelt-VAE less that of the β-TCVAE at the same β > 1, trial by trial."""
    for dataset, loss, both in _same_beta(evidence):
        ids = [both["pair"], both["seed"]]
        interval = clustered_interval(
            both["target_nll"], ids, against=both["target_nll_1"], resamples=evidence.resamples
        )
        of_loss, verdict = above(*change(both, evidence.resamples)), above(interval, 0)
        note = "the headline metric " + ("agrees" if of_loss == verdict else f"says: {of_loss}")
        statistic = "−log p(x_t|z*), Seatbelt − β-TCVAE, nats"
        yield Finding(dataset, statistic, interval, counted_trials(both), verdict, loss, note)


def robust_at_equal_quality(evidence: Evidence) -> Iterator[Finding]:
    """AUDDC of each Seatbelt-VAE above β = 1 less that of β-TCVAEs at its ELBO, pair by pair.

    The β-TCVAE's AUDDC at that ELBO is interpolated between its two models, of the same d_z and seed, whose
    ELBOs enclose it; a Seatbelt-VAE outside their range has no equal and is left out.
    """
    elbo = evidence.images.groupby(["dataset", "family", "beta", "d_z", "seed"])["elbo"].mean()
    for (dataset, loss), rows in evidence.attacks.groupby(["dataset", "loss"], sort=False):
        auddc = areas(rows[rows["family"].isin(["vae", "beta-tcvae", "seatbelt"])])
        quality = elbo.get(dataset)
        if quality is None or not (auddc["family"] == "seatbelt").any():
            continue
        auddc = auddc.join(quality, on=["family", "beta", "d_z", "seed"])
        matched = pd.concat(
            [_matched(models) for _, models in auddc.groupby(["d_z", "seed"])], ignore_index=True
        )
        if matched.empty:
            continue
        seatbelt = auddc[(auddc["family"] == "seatbelt") & (auddc["beta"] > 1)]
        n_matched, n_all = (frame.groupby(["beta", "d_z", "seed"]).ngroups for frame in (matched, seatbelt))
        ids = [matched["pair"], matched["seed"]]
        interval = clustered_interval(
            matched["auddc"], ids, against=matched["equal"], resamples=evidence.resamples
        )
        note = f"{n_matched} of {n_all} Seatbelt-VAEs have β-TCVAEs on both sides of their ELBO"
        n = counted(matched, pair="pairs", beta="β", d_z="d_z", seed="seeds")
        statistic = "AUDDC at equal ELBO, Seatbelt − β-TCVAE"
        yield Finding(dataset, statistic, interval, n, above(interval, 0), loss, note)


def _matched(areas: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the Seatbelt-VAEs of one d_z and seed, with ``equal``: the β-TCVAE's AUDDC at their
    ELBO.

    It is of the same pair, interpolated; rows without it are left out.
    """
    seatbelt = areas[(areas["family"] == "seatbelt") & (areas["beta"] > 1)]
    others = {
        pair: rows.sort_values("elbo") for pair, rows in areas[areas["family"] != "seatbelt"].groupby("pair")
    }
    equal = []
    for row in seatbelt.itertuples():
        curve = others.get(row.pair)
        if curve is None:
            equal.append(np.nan)
        else:
            equal.append(np.interp(row.elbo, curve["elbo"], curve["auddc"], left=np.nan, right=np.nan))
    return seatbelt.assign(equal=np.array(equal, dtype=float)).dropna(subset=["equal", "auddc"])
