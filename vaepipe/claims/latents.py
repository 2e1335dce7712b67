"""Claims on latent spaces and model quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from vaepipe.analysis.families import at_beta_one, label
from vaepipe.analysis.formatting import interval_text, singular
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.analysis.roll import DIRECTIONS, errors
from vaepipe.claims import Evidence, Finding, above, below, counted

SATURATED = 0.9
"""A posterior this wide, as a share of the prior's ‖σ‖₂ = √d_z, has saturated."""
SHEET = 0.5
"""A direction of the roll is lost where reconstructions explain less than this share of it."""


def beta_raises_start(evidence: Evidence, family: str = "beta-tcvae") -> Iterator[Finding]:
    """Ratio of Δ₀ at all β > 1 to that at β = 1, geometric mean over β, d_z and seeds, after each number of
    steps; the note has the ratio of the medians over pairs, and the share of Δ₀ that precision makes up."""
    if evidence.path.empty:
        return
    for (dataset, snapshot), rows in evidence.path.groupby(["dataset", "snapshot"], sort=False):
        both = starts(rows, family)
        if both.empty:
            continue
        options: dict[str, Any] = {"compare": "ratio", "resamples": evidence.resamples}
        mean, median = (
            clustered_interval(
                both[column], [both["seed"]], "geometric mean", against=both[f"{column}_1"], **options
            )
            for column in ("pair_divergence", "pair_divergence_median")
        )
        note = f"of medians over pairs: {interval_text(median)}; {share_of_precision(both)}"
        n = counted(both, beta="β", d_z="d_z", seed="seeds")
        verdict = above(mean, 1)
        yield Finding(dataset, "Δ₀, β > 1 ÷ β = 1", mean, n, verdict, note=note, snapshot=snapshot)


def starts(models: pd.DataFrame, family: str) -> pd.DataFrame:
    """Return the models of a family at β > 1, each with the one at β = 1 (columns ending in ``_1``); none
    where a Δ₀ is not known or 0."""
    start = models[(models["family"] == at_beta_one(family)) & (models["beta"] == 1)]
    raised = models[(models["family"] == family) & (models["beta"] > 1)]
    both = raised.merge(start, on=["d_z", "seed"], suffixes=("", "_1"))
    known = (both[["pair_divergence", "pair_divergence_1"]] > 0).all(axis=None)
    return both if known else both.iloc[:0]


def share_of_precision(both: pd.DataFrame) -> str:
    """Return the mean shares of Δ₀ that Σ (exp(2 I_k) − 1) is, from `starts`."""
    shares = [(both[f"squared_precision{end}"] / both[f"pair_divergence{end}"]).mean() for end in ("_1", "")]
    named = " and ".join(f"{100 * share:.0f} %" for share in shares)
    return f"precision is {named} of Δ₀ at β = 1 and above"


def overlap_grows(evidence: Evidence, family: str) -> Iterator[Finding]:
    """Ratio of the overlap coefficient at the largest β to that at β = 1, geometric mean over d_z."""
    for dataset, rows in evidence.models.groupby("dataset", sort=False):
        high, low, beta = ends(rows, family)
        both = high.merge(low, on=["d_z", "seed"], suffixes=("", "_1"))
        if both.empty or both["overlap"].isna().all():
            continue
        interval = clustered_interval(
            both["overlap"],
            [both["seed"]],
            "geometric mean",
            against=both["overlap_1"],
            compare="ratio",
            resamples=evidence.resamples,
        )
        source = "bootstrap over training seeds"
        if np.isnan(interval.low) and interval.estimate > 0:
            interval = _monte_carlo_interval(both, interval.estimate)
            source = "Monte-Carlo error only: one training seed"
        width = (both["sigma_norm"] / both["sigma_norm_1"]).mean()
        yield Finding(
            dataset,
            f"overlap coefficient, β = {beta:g} ÷ β = 1",
            interval,
            counted(both, d_z="d_z", seed="seeds"),
            above(interval, 1),
            note=f"{source}; ‖σ‖₂ × {width:.2g}",
        )


def _monte_carlo_interval(both: pd.DataFrame, estimate: float) -> Interval:
    """Return the interval of the error of the overlap estimates, which remains with one training."""
    errors = [(both[f"overlap_se{end}"] / both[f"overlap{end}"]) ** 2 for end in ("", "_1")]
    factor = float(np.exp(1.96 * np.sqrt((errors[0] + errors[1]).sum()) / len(both)))
    return Interval(estimate, estimate / factor, estimate * factor)


def elbo_falls(evidence: Evidence, family: str) -> Iterator[Finding]:
    """ELBO at the largest β less that at β = 1, image by image."""
    for dataset, rows in evidence.images.groupby("dataset", sort=False):
        high, low, beta = ends(rows, family)
        both = high.merge(low, on=["d_z", "seed", "image"], suffixes=("", "_1"))
        if len(both):
            interval = _paired(both, "elbo", "elbo_1", evidence)
            statistic = f"ELBO, β = {beta:g} − β = 1, nats per {singular(evidence.rows_called(dataset))}"
            yield Finding(
                dataset,
                statistic,
                interval,
                _images(both, dataset, evidence),
                below(interval, 0),
                note=_one_seed(both),
            )


def degrades_less(evidence: Evidence, column: str, families: tuple[str, str]) -> Iterator[Finding]:
    """A number of the first family less that of the second at the largest β of both, image by image."""
    for dataset, rows in evidence.images.groupby("dataset", sort=False):
        a, b = (rows[rows["family"] == family] for family in families)
        if shared := {beta for beta in a["beta"].unique() if beta > 1} & set(b["beta"]):
            beta = max(shared)
            both = a[a["beta"] == beta].merge(
                b[b["beta"] == beta], on=["d_z", "seed", "image"], suffixes=("", "_1")
            )
            interval = _paired(both, column, f"{column}_1", evidence)
            name = {"elbo": "ELBO", "log_likelihood": "log p(x|z)"}[column]
            first, second = (label(family) for family in families)
            statistic = (
                f"{name}, {first} − {second} at β = {beta:g}, nats per "
                f"{singular(evidence.rows_called(dataset))}"
            )
            yield Finding(
                dataset,
                statistic,
                interval,
                _images(both, dataset, evidence),
                above(interval, 0),
                note=_one_seed(both),
            )


def sigma_saturates(evidence: Evidence) -> Iterator[Finding]:
    """‖σ‖₂ / √d_z of β-VAEs at the largest β: 1 is the prior."""
    for dataset, rows in evidence.images.groupby("dataset", sort=False):
        high, _, beta = ends(rows, "beta-vae")
        if len(high):
            share = high["sigma_norm"] / np.sqrt(high["d_z"])
            interval = clustered_interval(share, [high["image"], high["seed"]], resamples=evidence.resamples)
            verdict = above(interval, SATURATED)
            note = f"saturated: above {SATURATED:g}; {_one_seed(high)}".rstrip("; ")
            statistic = f"‖σ‖₂ / √d_z at β = {beta:g}; the prior's is 1"
            yield Finding(dataset, statistic, interval, _images(high, dataset, evidence), verdict, note=note)


def sigma_exceeds(evidence: Evidence) -> Iterator[Finding]:
    """‖σ‖₂ of the β-TCVAE over that of the β-VAE at the largest β that both have."""
    for dataset, rows in evidence.images.groupby("dataset", sort=False):
        a, b = (
            rows[(rows["family"] == family) & (rows["beta"] > 1)] for family in ("beta-tcvae", "beta-vae")
        )
        if shared := set(a["beta"]) & set(b["beta"]):
            beta = max(shared)
            both = a[a["beta"] == beta].merge(
                b[b["beta"] == beta], on=["d_z", "seed", "image"], suffixes=("", "_1")
            )
            interval = clustered_interval(
                both["sigma_norm"],
                [both["image"], both["seed"]],
                against=both["sigma_norm_1"],
                compare="ratio",
                resamples=evidence.resamples,
            )
            statistic = f"‖σ‖₂, β-TCVAE ÷ β-VAE at β = {beta:g}"
            note = _one_seed(both)
            yield Finding(
                dataset, statistic, interval, _images(both, dataset, evidence), above(interval, 1), note=note
            )


def roll_kept(evidence: Evidence, family: str, kept: bool) -> Iterator[Finding]:
    """Share that reconstructions explain of the roll's worse-kept direction, height or place in the spiral's
    plane.

    A sheet keeps both; towards a curve one is lost, so the smaller share tells.
    """
    betas = [beta for name, beta in evidence.roll if name == family and beta > 1]
    if not betas:
        return
    parts = evidence.roll[family, max(betas)]
    x, picture = parts["x"], parts["reconstruction"]
    shares = {name: _explained(x, picture, name, evidence) for name in DIRECTIONS}
    worse = min(shares, key=lambda name: shares[name].estimate)
    interval = shares[worse]
    note = "; ".join(f"{name} {share.estimate:.2f}" for name, share in shares.items()) + "; one training seed"
    verdict = above(interval, SHEET) if kept else below(interval, SHEET)
    statistic = f"share of the {worse} kept at β = {max(betas):g}; lost below {SHEET:g}"
    n = f"{len(x):,} points × 1 seed"
    yield Finding(evidence.roll_dataset, statistic, interval, n, verdict, note=note)


def _explained(x: np.ndarray, picture: np.ndarray, direction: str, evidence: Evidence) -> Interval:
    """1 − error / variance in one direction, with an interval over points."""
    error, spread = errors(x, picture, direction)
    lost = clustered_interval(
        error, [np.arange(len(x))], against=spread, compare="ratio", resamples=evidence.resamples
    )
    return Interval(1 - lost.estimate, 1 - lost.high, 1 - lost.low)


def ends(rows: pd.DataFrame, family: str) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Return the rows at the family's largest β, those at its β = 1, and that β; the first is empty without a
    β above 1."""
    raised = rows[(rows["family"] == family) & (rows["beta"] > 1)]
    start = rows[(rows["family"] == at_beta_one(family)) & (rows["beta"] == 1)]
    beta = raised["beta"].max()
    return raised[raised["beta"] == beta], start, beta


def _paired(both: pd.DataFrame, a: str, b: str, evidence: Evidence) -> Interval:
    return clustered_interval(
        both[a], [both["image"], both["seed"]], against=both[b], resamples=evidence.resamples
    )


def _images(rows: pd.DataFrame, dataset: str, evidence: Evidence) -> str:
    return counted(rows, image=evidence.rows_called(dataset), d_z="d_z", seed="seeds")


def _one_seed(rows: pd.DataFrame) -> str:
    return "variation between trainings is not in it" if rows["seed"].nunique() == 1 else ""
