"""Claims of part 1 on attacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from vaepipe.analysis.correlation import FEWEST_MODELS, rank_correlation, robustness_and_disentanglement
from vaepipe.analysis.families import at_beta_one
from vaepipe.analysis.formatting import interval_text, short
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.analysis.trials import areas, change
from vaepipe.attacks.loss import find_loss
from vaepipe.claims import FAILS, HOLDS, UNDECIDED, Evidence, Finding, above, counted, counted_trials, latents

TRIAL = ["dataset", "loss", "d_z", "seed", "lam", "pair"]
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

    One finding at the end of the training, and one after each number of steps at which snapshots were
    attacked. The note has each β that differs, the output space and, for the KL, the precision behind Δ₀.
    """
    for snapshot, attacks in {0: evidence.attacks, **evidence.snapshot_attacks}.items():
        for dataset, rows in attacks[attacks["loss"] == loss].groupby("dataset", sort=False):
            start = rows[(rows["family"] == at_beta_one(family)) & (rows["beta"] == 1)]
            raised = rows[(rows["family"] == family) & (rows["beta"] > 1)]
            both = raised.merge(start, on=TRIAL, suffixes=("", "_1"))
            if both.empty:
                continue
            found = _raised(both, evidence, loss, statistic)
            mechanism = _start(evidence, dataset, snapshot, family) if loss == "latent-kl" else ""
            yield replace(found, dataset=dataset, snapshot=snapshot, note=found.note + mechanism)


def _start(evidence: Evidence, dataset: str, snapshot: int, family: str) -> str:
    """Return how Δ₀ of the same models, all pairs of images, differs, and what makes it up."""
    if evidence.path.empty:
        return ""
    rows = evidence.path[(evidence.path["dataset"] == dataset) & (evidence.path["snapshot"] == snapshot)]
    both = latents.starts(rows, family)
    if both.empty:
        return ""
    ratio = both["pair_divergence"].mean() / both["pair_divergence_1"].mean()
    return f"; before any attack: Δ₀ × {short(ratio)}, {latents.share_of_precision(both)}"


def _raised(both: pd.DataFrame, evidence: Evidence, loss: str, statistic: str) -> Finding:
    """Return what the trials of a data set show, joined with those at β = 1 (columns ending in ``_1``)."""
    resamples = evidence.resamples
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
    called += ", β > 1 against β = 1"
    return Finding("", called, interval, counted_trials(both), verdict, loss, note)


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
