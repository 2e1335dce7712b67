"""Claims of part 1 on attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from vaepipe.analysis.correlation import FEWEST_MODELS, rank_correlation, robustness_and_disentanglement
from vaepipe.analysis.families import at_beta_one
from vaepipe.analysis.formatting import interval_text
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.analysis.trials import areas, change
from vaepipe.attacks.loss import find_loss
from vaepipe.claims import FAILS, HOLDS, UNDECIDED, Evidence, Finding, above, counted, counted_trials

TRIAL = ["dataset", "loss", "d_z", "seed", "lambda", "pair"]
"""Columns that name the same trial of two models."""
DISTANCES = [
    "norm",
    "input_distance",
    "adversarial_distance",
    "target_distance",
    "original_distance",
    "family",
    "beta",
]
WEAK = 0.5
"""Rank correlations inside ±this count as none, where 0 is among them."""


def change_called(no_change: float, loss: str) -> str:
    """Return what `vaepipe.analysis.trials.change` of means is, from its value at no change."""
    return "ratio of mean Δ" if no_change == 1 else f"difference of mean Δ, {find_loss(loss).unit}"


def beta_raises(
    evidence: Evidence, loss: str, family: str = "beta-tcvae", statistic: str = "mean"
) -> Iterator[Finding]:
    """Δ at all β > 1 over that at β = 1, trial by trial: ratio of the means, or the median of the ratios.

    The note has the output space and each β that differs.
    """
    resamples = evidence.resamples
    for dataset, rows in evidence.attacks[evidence.attacks["loss"] == loss].groupby("dataset", sort=False):
        start = rows[(rows["family"] == at_beta_one(family)) & (rows["beta"] == 1)]
        raised = rows[(rows["family"] == family) & (rows["beta"] > 1)]
        both = raised.merge(start, on=TRIAL, suffixes=("", "_1"))
        if both.empty:
            continue
        interval, no_change = change(both, resamples, statistic)
        verdict = above(interval, no_change)
        by_beta = {
            beta: above(change(trials, resamples, statistic)[0], no_change)
            for beta, trials in both.groupby("beta")
        }
        others = [f"β = {beta:g}: {other}" for beta, other in by_beta.items() if other != verdict]
        note = "; ".join([*others, output_space(both, evidence, verdict)])
        called = change_called(no_change, loss)
        if statistic == "median":
            called = called.replace("ratio of mean", "median ratio of").replace("of mean", "of median")
        yield Finding(
            dataset, f"{called}, β > 1 against β = 1", interval, counted_trials(both), verdict, loss, note
        )


def output_space(both: pd.DataFrame, evidence: Evidence, verdict: str) -> str:
    """Return what −log p(x_t|z*) and AUDDC of the same trials are, and whether that contradicts the loss's
    verdict."""
    ids = [both["pair"], both["seed"]]
    nll = clustered_interval(
        both["target_nll"], ids, against=both["target_nll_1"], resamples=evidence.resamples
    )
    text = f"output space {_comparison(above(nll, 0), verdict)}: −log p(x_t|z*) {interval_text(nll)} nats"
    area = _area_change(both, evidence)
    return text + (f", AUDDC {interval_text(area)}" if area else "")


def _comparison(verdict: str, of_loss: str) -> str:
    """Return how a verdict relates to that of the loss."""
    if verdict == of_loss:
        return "agrees"
    if {verdict, of_loss} == {HOLDS, FAILS}:
        return "disagrees"
    return f"says: {verdict}"


def _area_change(both: pd.DataFrame, evidence: Evidence) -> Interval | None:
    """Return the difference of AUDDC between the two sides of a merge on `TRIAL`, pair by pair."""
    if any(name not in both or f"{name}_1" not in both for name in DISTANCES):
        return None
    sides = []
    for suffix in ("", "_1"):
        side = both[TRIAL].assign(**{name: both[name + suffix] for name in DISTANCES}, of=both["beta"])
        sides.append(pd.concat([areas(trials).assign(of=beta) for beta, trials in side.groupby("of")]))
    joined = sides[0].merge(sides[1], on=["of", "d_z", "seed", "pair"], suffixes=("", "_1"))
    return _auddc_difference(joined, evidence)


def _auddc_difference(both: pd.DataFrame, evidence: Evidence) -> Interval:
    ids = [both["pair"], both["seed"]]
    return clustered_interval(both["auddc"], ids, against=both["auddc_1"], resamples=evidence.resamples)


def vae_over_ae(evidence: Evidence) -> Iterator[Finding]:
    """AUDDC of the VAE less that of the AE, pair by pair, under the same attack."""
    for (dataset, loss), rows in evidence.attacks.groupby(["dataset", "loss"], sort=False):
        vae, ae = areas(rows[rows["family"] == "vae"]), areas(rows[rows["family"] == "ae"])
        both = vae.merge(ae, on=["d_z", "seed", "pair"], suffixes=("", "_1"))
        if both.empty:
            continue
        interval = _auddc_difference(both, evidence)
        n = counted(both, pair="pairs", d_z="d_z", seed="seeds")
        note = "Δ of the two cannot be compared: an AE's posterior has no width"
        yield Finding(dataset, "AUDDC, VAE − AE", interval, n, above(interval, 0), loss, note)


def no_correlation(evidence: Evidence) -> Iterator[Finding]:
    """Spearman's correlation over models of AUDDC and MIG."""
    known = evidence.models.dropna(subset=["mig"])["dataset"].unique()
    attacks = evidence.attacks[evidence.attacks["dataset"].isin(known)]
    for (dataset, loss), rows in attacks.groupby(["dataset", "loss"], sort=False):
        models = robustness_and_disentanglement(rows, evidence.models)
        if len(models) < FEWEST_MODELS:
            continue
        interval = rank_correlation(models["mig"], models["auddc"])
        losses = rows.groupby(["family", "beta", "d_z", "seed"])["objective"].mean().reset_index()
        both = models.merge(losses, on=["family", "beta", "d_z", "seed"])
        of_loss = rank_correlation(both["mig"], both["objective"])
        note = (
            f"holds inside ±{WEAK:g}; of mean Δ: {of_loss.estimate:.2f} [{of_loss.low:.2f}, "
            f"{of_loss.high:.2f}]"
        )
        n = f"{len(models)} models"
        yield Finding(
            dataset, "Spearman's ρ of AUDDC and MIG", interval, n, _no_correlation(interval), loss, note
        )


def _no_correlation(interval: Interval) -> str:
    """Return the verdict on "the correlation is weak"."""
    if interval.low > 0 or interval.high < 0:
        return FAILS
    if interval.low > -WEAK and interval.high < WEAK:
        return HOLDS
    return UNDECIDED
