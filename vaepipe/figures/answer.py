"""What a study says of its question, does β > 1 make a VAE harder to fool: a paragraph per data set."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vaepipe.analysis.families import at_beta_one, label, varying_with_beta
from vaepipe.analysis.formatting import interval_text, short
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.analysis.trials import areas, change
from vaepipe.attacks.loss import find_loss

TRIAL = ["dataset", "d_z", "seed", "lam", "pair"]
"""Columns that name the same trial of two models, of one loss."""
LEADS = "latent-kl"
"""The attack of the original paper's central figure; without it a study is summed up by its first attack."""

SAME = 0.05
"""A ratio without an interval that is so near to 1 is called no change."""


def answers(attacks: pd.DataFrame, models: pd.DataFrame, resamples: int) -> dict[str, str]:
    """Return data set → paragraph, for the data sets with an attacked model at β = 1 and one above.

    The first sentence is the answer, the others are the evidence.

    Args:
        attacks, models: tables of `vaepipe.stages.collect`.
    """
    texts = {}
    for dataset, rows in attacks.groupby("dataset", sort=False):
        losses = list(rows["loss"].unique())
        loss = LEADS if LEADS in losses else losses[0]
        rows, own = rows[rows["loss"] == loss], models[models["dataset"] == dataset]
        found = [_of_family(family, rows, own, resamples) for family in _compared(rows)]
        if found := [each for each in found if each]:
            verdicts = ", ".join(verdict for verdict, _ in found)
            first = f"{dataset}, {find_loss(loss).title}, in image space against β = 1: {verdicts}."
            last = "Figures to read first: distortion and success; then adversarial_loss and precision."
            texts[str(dataset)] = " ".join([first, *(evidence for _, evidence in found), last])
    return texts


def _compared(rows: pd.DataFrame) -> list[str]:
    """Return the families with attacked models at β = 1 and above."""
    there = set(rows.groupby(["family", "beta"]).groups)
    return [
        family
        for family in varying_with_beta(rows["family"])
        if (at_beta_one(family), 1) in there and any(f == family and beta > 1 for f, beta in there)
    ]


def _of_family(
    family: str, rows: pd.DataFrame, models: pd.DataFrame, resamples: int
) -> tuple[str, str] | None:
    """Return what happens to one family from β = 1 to its largest β: the verdict in image space, and a
    sentence with the numbers of images, Δ and Δ₀."""
    beta = rows.loc[rows["family"] == family, "beta"].max()
    base = rows[(rows["family"] == at_beta_one(family)) & (rows["beta"] == 1)]
    raised = rows[(rows["family"] == family) & (rows["beta"] == beta)]
    both = raised.merge(base, on=TRIAL, suffixes=("", "_1"))
    if both.empty:
        return None
    word, text = _in_images(raised, base, resamples)
    verdict, text = f"{label(family)} at β = {beta:g} is {word}", f"{label(family)}: {text};"
    mean, no_change = change(both, resamples)
    if no_change != 1:
        return verdict, f"{text} mean Δ changes by {interval_text(mean)}."
    ids = [both["pair"], both["seed"]]
    options: dict[str, Any] = {"against": both["objective_1"], "compare": "ratio", "resamples": resamples}
    median = clustered_interval(both["objective"], ids, "median", **options)
    text += f" mean Δ {_factor(mean)}, median Δ {_factor(median)}"
    return verdict, f"{text}{_of_start(family, beta, models)}."


def _in_images(raised: pd.DataFrame, base: pd.DataFrame, resamples: int) -> tuple[str, str]:
    """Return how AUDDC, the robustness of what the decoder shows, differs: in words, and the numbers."""
    both = areas(raised).merge(areas(base), on=["d_z", "seed", "pair"], suffixes=("", "_1"))
    ids = [both["pair"], both["seed"]]
    gap = clustered_interval(both["auddc"], ids, against=both["auddc_1"], resamples=resamples)
    if gap.low > 0:
        word = "harder to fool"
    elif gap.high < 0:
        word = "easier to fool"
    else:
        word = "not decided"
    low, high = ("–" if end != end else f"{end:+.3f}" for end in gap[1:])
    return word, f"AUDDC changes by {gap.estimate:+.3f} [{low}, {high}]"


def _of_start(family: str, beta: float, models: pd.DataFrame) -> str:
    """Return how Δ₀ changes, and how much of it the precision of the latent code is."""
    columns = ["pair_divergence", "squared_precision"]
    base = models[(models["family"] == at_beta_one(family)) & (models["beta"] == 1)][columns].mean()
    raised = models[(models["family"] == family) & (models["beta"] == beta)][columns].mean()
    ratio = raised["pair_divergence"] / base["pair_divergence"]
    if not ratio > 0:
        return ""
    shares = [side["squared_precision"] / side["pair_divergence"] for side in (base, raised)]
    named = " and ".join(f"{100 * share:.0f} %" for share in shares)
    factor = _factor(Interval(ratio, ratio, ratio))
    return f", Δ₀ {factor}, of which precision makes up {named} at β = 1 and {beta:g}"


def _factor(ratio: Interval) -> str:
    """Return a ratio to β = 1 in words; with an interval only what the interval shows."""
    if not ratio.estimate > 0:
        return "cannot be compared"
    times = f"(× {short(ratio.estimate)})"
    if ratio.low != ratio.high:
        low, high = ("–" if end != end else short(end) for end in ratio[1:])
        times = f"(× {short(ratio.estimate)} [{low}, {high}])"
        if not (ratio.low > 1 or ratio.high < 1):
            return f"is not decided {times}"
    elif abs(ratio.estimate - 1) < SAME:
        return f"stays {times}"
    return f"{'rises' if ratio.estimate > 1 else 'falls'} {times}"
