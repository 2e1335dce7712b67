"""Claims of part 1 on attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from vaepipe.analysis import trials as pairs
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.claims import FAILS, HOLDS, UNDECIDED, Evidence, Finding, above, counted
from vaepipe.figures import disentanglement, style

TRIAL = ["dataset", "loss", "d_z", "seed", "lambda", "pair"]
NAMES = {1.0: "ratio of mean Δ", 0.0: "difference of mean Δ, nats"}
"""What `vaepipe.analysis.trials.change` is, by its value at no change."""
WEAK = 0.5
"""Rank correlations inside ±this count as none, where 0 is among them."""


def beta_raises(e: Evidence, loss: str, family: str = "beta-tcvae") -> Iterator[Finding]:
    """Mean Δ at all β > 1 over that at β = 1, trial by trial; the note has the output-space metrics and the single β."""
    for dataset, rows in e.attacks[e.attacks["loss"] == loss].groupby("dataset", sort=False):
        start = rows[(rows["family"] == style.base(family)) & (rows["beta"] == 1)]
        both = rows[(rows["family"] == family) & (rows["beta"] > 1)].merge(start, on=TRIAL, suffixes=("", "_1"))
        if both.empty:
            continue
        interval, none = pairs.change(both, e.resamples)
        verdict = above(interval, none)
        single = {beta: above(pairs.change(its, e.resamples)[0], none) for beta, its in both.groupby("beta")}
        other = [f"β = {beta:g}: {told}" for beta, told in single.items() if told != verdict]
        note = "; ".join([*other, output_space(both, e, verdict)])
        n = counted(both, pair="pairs", beta="β", d_z="d_z", seed="seeds") + f", {both['lambda'].nunique()} λ"
        yield Finding(dataset, f"{NAMES[none]}, β > 1 against β = 1", interval, n, verdict, loss, note)


def output_space(both: pd.DataFrame, e: Evidence, verdict: str) -> str:
    """What −log p(x_t|z*) and AUDDC say of the same trials, and whether that contradicts the headline metric's verdict."""
    ids = [both["pair"], both["seed"]]
    nll = clustered_interval(both["target_nll"], ids, against=both["target_nll_1"], resamples=e.resamples)
    told = above(nll, 0)
    word = "agrees" if told == verdict else "DISAGREES" if {told, verdict} == {HOLDS, FAILS} else f"says: {told}"
    area = _area_change(both, e)
    text = f"output space {word}: −log p(x_t|z*) {style.interval(nll)} nats"
    return text + (f", AUDDC {style.interval(area)}" if area else "")


def _area_change(both: pd.DataFrame, e: Evidence) -> Interval | None:
    """Difference of AUDDC between the two sides of a merge on `TRIAL`, pair by pair."""
    needed = ["norm", "input_distance", "adversarial_distance", "target_distance", "original_distance", "family", "beta"]
    if any(name not in both or f"{name}_1" not in both for name in needed):
        return None
    sides = []
    for suffix in ("", "_1"):
        side = both[TRIAL].assign(**{name: both[name + suffix] for name in needed}, of=both["beta"])
        sides.append(pd.concat([pairs.areas(its).assign(of=beta) for beta, its in side.groupby("of")]))
    joined = sides[0].merge(sides[1], on=["of", "d_z", "seed", "pair"], suffixes=("", "_1"))
    ids = [joined["pair"], joined["seed"]]
    return clustered_interval(joined["auddc"], ids, against=joined["auddc_1"], resamples=e.resamples)


def vae_over_ae(e: Evidence) -> Iterator[Finding]:
    """AUDDC of the VAE less that of the AE, pair by pair, under the same attack."""
    for (dataset, loss), rows in e.attacks.groupby(["dataset", "loss"], sort=False):
        a, b = rows[rows["family"] == "vae"], rows[rows["family"] == "ae"]
        both = pairs.areas(a).merge(pairs.areas(b), on=["d_z", "seed", "pair"], suffixes=("", "_1"))
        if both.empty:
            continue
        ids = [both["pair"], both["seed"]]
        interval = clustered_interval(both["auddc"], ids, against=both["auddc_1"], resamples=e.resamples)
        n = counted(both, pair="pairs", d_z="d_z", seed="seeds")
        note = "Δ of the two cannot be compared: an AE's posterior has no width"
        yield Finding(dataset, "AUDDC, VAE − AE", interval, n, above(interval, 0), loss, note)


def no_correlation(e: Evidence) -> Iterator[Finding]:
    """Spearman's correlation over models of AUDDC and MIG."""
    known = e.models.dropna(subset=["mig"])["dataset"].unique()
    for (dataset, loss), rows in e.attacks[e.attacks["dataset"].isin(known)].groupby(["dataset", "loss"], sort=False):
        models = disentanglement.models(e, rows)
        interval = Interval(*disentanglement.rank_correlation(models["mig"], models["auddc"]))
        if len(models) < disentanglement.LEAST:
            continue
        verdict = UNDECIDED
        if interval.low > 0 or interval.high < 0:
            verdict = FAILS
        elif interval.low > -WEAK and interval.high < WEAK:
            verdict = HOLDS
        losses = rows.groupby(["family", "beta", "d_z", "seed"])["objective"].mean().reset_index()
        both = models.merge(losses, on=["family", "beta", "d_z", "seed"])
        headline = disentanglement.rank_correlation(both["mig"], both["objective"])
        note = f"holds inside ±{WEAK:g}; of mean Δ: {headline.estimate:.2f} [{headline.low:.2f}, {headline.high:.2f}]"
        yield Finding(dataset, "Spearman's ρ of AUDDC and MIG", interval, f"{len(models)} models", verdict, loss, note)
