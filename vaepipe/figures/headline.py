"""The study in numbers, as plain text for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vaepipe.analysis.families import at_beta_one, label, ordered, varying_with_beta
from vaepipe.analysis.formatting import count, short
from vaepipe.analysis.intervals import Interval
from vaepipe.analysis.means import TRIAL_AXES, TRIAL_CLUSTERS
from vaepipe.analysis.robustness import UNMOVED
from vaepipe.analysis.trials import change, is_flagged
from vaepipe.attacks.loss import find_loss
from vaepipe.figures import adversarial_loss, notes
from vaepipe.figures.answer import answers
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

LINES = 40
"""What a terminal shows at once; where there are more β, the verdict names those that the table leaves out.
"""
KEY = ["dataset", "loss", "d_z", "seed", "lam", "pair"]
"""Columns that name the same trial of two models."""
Changes = dict[tuple[str, float], Interval]
"""(family, β) → change of the loss from β = 1."""


def draw(data: Data, options: Plot) -> str:
    """Return the answer of each data set; the loss at each β with its interval, its ratio to β = 1 and what
    the interval of that ratio shows; then ELBOs."""
    attacks, models = data.table("attacks"), data.table("models")
    answer = [
        textwrap.fill(text, 110)
        for text in answers(data.targeted_attacks, models, options.resamples).values()
    ]
    groups = list(attacks.groupby(["dataset", "loss"], sort=False))
    room = (LINES - 1 - models["dataset"].nunique()) // max(1, len(groups)) - 11
    lines: list[str] = []
    for (dataset, loss), frame in groups:
        lines += _attack(dataset, loss, frame, options.resamples, max(2, room))
        lines += [f"  {data.caveats[dataset]}"] if dataset in data.caveats else []
        lines += [*_flags(data, dataset, loss), ""]
    if not groups:
        lines += ["No image data set of this study was attacked.", ""]
    lines = [*answer, *([""] if answer else []), *lines]
    lines.append("ELBO of held-out data, taken at β = 1, nats; mean over images or points, d_z and seeds")
    lines += [_elbos(dataset, frame) for dataset, frame in models.groupby("dataset", sort=False)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def excess(frame: pd.DataFrame, family: str, beta: float, resamples: int) -> Interval:
    """Return how far the mean loss at (family, β) lies above that at β = 1, compared trial by trial.

    It is the ratio less 1, or the difference where a loss is not positive.
    """
    base = frame[(frame["family"] == at_beta_one(family)) & (frame["beta"] == 1)]
    raised = frame[(frame["family"] == family) & (frame["beta"] == beta)]
    interval, no_change = change(raised.merge(base, on=KEY, suffixes=("", "_1")), resamples)
    return Interval(*(end - no_change for end in interval))


def _elbos(dataset: str, frame: pd.DataFrame) -> str:
    """Return a line with the ELBO of each family of a data set at its largest β."""
    elbo = frame.groupby(["family", "beta"])["elbo"].mean().to_dict()
    parts = []
    for family in ordered(family for family, _ in elbo):
        beta = max(b for f, b in elbo if f == family)
        parts.append(f"{label(family)}{f' β = {beta:g}' if beta else ''}: {elbo[family, beta]:,.1f}")
    return f"  {dataset:<14}" + "".join(f"{part:<28}" for part in parts)


def _attack(dataset: str, loss: str, frame: pd.DataFrame, resamples: int, room: int) -> list[str]:
    """Return the lines of one data set and attack, with at most ``room`` lines of β."""
    means = adversarial_loss.measure({"loss": loss}, frame).means(frame, resamples)
    families = varying_with_beta(family for family, _ in means)
    base = {family: means.get((at_beta_one(family), 1.0)) for family in families}
    changes = {key: excess(frame, *key, resamples) for key in means if key[0] in families and key[1] != 1}
    over = [count(frame[name].nunique(), plural.replace("$", "")) for name, plural in TRIAL_AXES.items()]
    resampled = notes.resampling(frame, TRIAL_CLUSTERS, resamples, "Brackets")
    starts = [f"{_show(base[family]):<41}" for family in families]
    lines = [
        f"{dataset}, attack {loss}: adversarial loss Δ = divergence + λ‖d‖₂, {find_loss(loss).unit}",
        f"  mean over {' × '.join(over)}",
        textwrap.fill(resampled, 98, initial_indent="  ", subsequent_indent="  "),
    ]
    if families:
        titles = "".join(f"  {label(family):<27}× β=1  change " for family in families)
        lines += ["      β" + titles, "      1  " + "  ".join(starts)]
    for beta in _shown({beta for _, beta in changes}, room):
        cells = [_cell(means.get((f, beta)), base[f], changes.get((f, beta))) for f in families]
        lines.append(f"{beta:>7g}  " + "  ".join(cells))
    lines += ["  " + _verdict(family, changes) for family in families if base[family]]
    alone = [key for key in means if key[0] not in families and (not families or key != ("vae", 1.0))]
    lines += [f"  {label(family)}: {_show(means[family, beta])}" for family, beta in alone]
    return [*lines, "  " + _shares(frame)]


def _shown(betas: set[float], room: int) -> list[float]:
    """Return the β that have a line: all, or the first ones and the last."""
    increasing = sorted(betas)
    return increasing if len(increasing) <= room else [*increasing[: room - 1], increasing[-1]]


def _show(interval: Interval | None) -> str:
    if interval is None:
        return "no model"
    low, high = (short(end) if not np.isnan(end) else "–" for end in interval[1:])
    return f"{short(interval.estimate)} [{low}, {high}]"


def _cell(interval: Interval | None, base: Interval | None, change: Interval | None) -> str:
    if interval is None:
        return f"{'–':<41}"
    ratio = short(interval.estimate / base.estimate) if base and base.estimate else ""
    direction = _direction(change) if base and change else ""
    return f"{_show(interval):<26}{ratio:>6}  {direction:<7}"


def _direction(change: Interval) -> str:
    """Return what the interval of a change shows."""
    if change.low > 0:
        return "higher"
    if change.high < 0:
        return "lower"
    return "unclear"


def _verdict(family: str, changes: Changes) -> str:
    """Return a sentence on whether β > 1 raises the loss of a family."""
    betas_by_direction: dict[str, list[str]] = {"higher": [], "lower": [], "unclear": []}
    for beta in sorted(beta for name, beta in changes if name == family and beta > 1):
        betas_by_direction[_direction(changes[family, beta])].append(f"{beta:g}")
    parts = [f"{word} at β = {', '.join(betas)}" for word, betas in betas_by_direction.items() if betas]
    if not parts:
        return f"{label(family)}: no β > 1."
    higher, lower, unclear = betas_by_direction.values()
    if higher:
        summary = "raises it at some β only" if lower or unclear else "raises the loss"
    else:
        summary = "does not raise the loss" if lower else "is not shown to change the loss"
    return f"{label(family)}: β > 1 {summary} ({'; '.join(parts)})."


def _flags(data: Data, dataset: str, loss: str) -> list[str]:
    """Return a line on the attacks that the checks of docs/robustness.md call too weak; nothing where none
    was checked."""
    if data.robustness is None or data.robustness["noise_gain"].isna().all():
        return []
    rows = data.robustness[(data.robustness["dataset"] == dataset) & (data.robustness["loss"] == loss)]
    flagged = rows[is_flagged(rows)]
    if flagged.empty:
        return [
            f"  checks (noise, transfer, restarts, polish): none of {len(rows)} attacks flagged as too weak"
        ]
    first = flagged.iloc[0]
    name = f"{label(first['family'])} β = {first['beta']:g}, d_z = {first['d_z']}"
    more = f"; and {len(flagged) - 1} more, see robustness.csv" if len(flagged) > 1 else ""
    return [
        f"  checks: {len(flagged)} of {len(rows)} attacks flagged as too weak: {name}: "
        f"{first['masked']}{more}"
    ]


def _shares(frame: pd.DataFrame) -> str:
    """Return a line with each family's shares of trials without distortion, and of those that converged."""
    unmoved, converged = [], []
    for family in ordered(frame["family"]):
        rows = frame[frame["family"] == family]
        unmoved.append(f"{label(family)} {100 * (rows['norm'] < UNMOVED).mean():.0f} %")
        converged.append(f"{label(family)} {100 * rows['converged'].astype(float).mean():.1f} %")
    return f"d ≈ 0 (‖d‖₂ < {UNMOVED:g}): {', '.join(unmoved)}; converged: {', '.join(converged)}"
