"""The study in numbers, as plain text for a terminal."""

from __future__ import annotations

import textwrap

import numpy as np

from vaepipe.analysis import trials as pairs
from vaepipe.analysis.intervals import Interval
from vaepipe.analysis.robustness import UNMOVED as ZERO
from vaepipe.figures import adversarial_loss, curves, flags, style
from vaepipe.figures.adversarial_loss import UNITS
from vaepipe.figures.curves import TRIAL_AXES as AXES
from vaepipe.figures.curves import TRIAL_CLUSTERS as CLUSTERS
from vaepipe.figures.registry import Data

LINES = 40
"""What a terminal shows at once; where there are more β, the verdict names those that the table leaves out."""
KEY = ["dataset", "loss", "d_z", "seed", "lambda", "pair"]


def excess(frame, family: str, beta: float, resamples: int) -> Interval:
    """Mean loss at (family, β) over that at β = 1, trial by trial, less 1, with the clustered interval; the difference of the
    two where a loss is not positive."""
    base = frame[(frame["family"] == style.base(family)) & (frame["beta"] == 1)]
    raised = frame[(frame["family"] == family) & (frame["beta"] == beta)]
    found, none = pairs.change(raised.merge(base, on=KEY, suffixes=("", "_1")), resamples)
    return Interval(*(end - none for end in found))


def text(data: Data, options: dict) -> str:
    """Loss at each β with its interval, its ratio to β = 1, and whether the interval of that ratio excludes 1; then the ELBO."""
    groups = list(data.attacks.groupby(["dataset", "loss"], sort=False))
    room = (LINES - 1 - data.models["dataset"].nunique()) // max(1, len(groups)) - 11
    lines = []
    for (dataset, loss), frame in groups:
        lines += [*_attacked(dataset, loss, frame, options["resamples"], max(2, room)), *_flags(data, dataset, loss), ""]
    if not groups:
        lines += ["No image data set of this study was attacked.", ""]
    lines.append("ELBO of held-out data, taken at β = 1, nats; mean over images or points, d_z and seeds")
    for dataset, frame in data.models.groupby("dataset", sort=False):
        elbo = frame.groupby(["family", "beta"])["elbo"].mean().to_dict()
        ends = {family: max(b for f, b in elbo if f == family) for family in style.present(f for f, _ in elbo)}
        parts = [f"{style.NAMES[f]}{f' β = {beta:g}' if beta else ''}: {elbo[f, beta]:,.1f}" for f, beta in ends.items()]
        lines.append(f"  {dataset:<14}" + "".join(f"{part:<28}" for part in parts))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _attacked(dataset: str, loss: str, frame, resamples: int, room: int) -> list[str]:
    found = adversarial_loss.measure({"loss": loss}, frame).points(frame, resamples)
    families = [f for f in style.LINES if any(name == f for name, _ in found)]
    base = {f: found.get((style.base(f), 1.0)) for f in families}
    change = {key: excess(frame, *key, resamples) for key in found if key[0] in families and key[1] != 1}
    betas = sorted({beta for _, beta in change})
    betas = betas if len(betas) <= room else [*betas[: room - 1], betas[-1]]
    over = [style.count(frame[name].nunique(), plural.replace("$", "")) for name, plural in AXES.items()]
    lines = [
        f"{dataset}, attack {loss}: adversarial loss Δ = divergence + λ‖d‖₂, {UNITS.get(loss, 'nats')}",
        f"  mean over {' × '.join(over)}",
        textwrap.fill(curves.resampled(frame, CLUSTERS, resamples, "interval"), 98, initial_indent="  ", subsequent_indent="  "),
        "      β" + "".join(f"  {style.NAMES[f]:<27}× β=1  change " for f in families),
    ]
    starts = [f"{_show(base[f]) if base[f] else 'no model':<41}" for f in families]
    lines.append("      1  " + "  ".join(starts))
    for beta in betas:
        cells = [_cell(found.get((f, beta)), base[f], change.get((f, beta))) for f in families]
        lines.append(f"{beta:>7g}  " + "  ".join(cells))
    lines += ["  " + _verdict(f, {b: i for (name, b), i in change.items() if name == f}) for f in families if base[f]]
    return [*lines, "  " + _shares(frame)]


def _show(interval: Interval) -> str:
    low, high = (style.short(end) if not np.isnan(end) else "–" for end in interval[1:])
    return f"{style.short(interval.estimate)} [{low}, {high}]"


def _cell(interval: Interval | None, base: Interval | None, change: Interval | None) -> str:
    if interval is None:
        return f"{'–':<41}"
    ratio = style.short(interval.estimate / base.estimate) if base and base.estimate else ""
    return f"{_show(interval):<26}{ratio:>6}  {_sign(change) if base else '':<7}"


def _sign(change: Interval) -> str:
    """What the interval of the change says."""
    if change.low > 0:
        return "higher"
    if change.high < 0:
        return "lower"
    return "unclear"


def _verdict(family: str, changes: dict[float, Interval]) -> str:
    by: dict[str, list[str]] = {"higher": [], "lower": [], "unclear": []}
    for beta in sorted(beta for beta in changes if beta > 1):
        by[_sign(changes[beta])].append(f"{beta:g}")
    said = "; ".join(f"{word} at β = {', '.join(betas)}" for word, betas in by.items() if betas)
    if by["higher"]:
        start = "raises it at some β only" if by["lower"] + by["unclear"] else "raises the loss"
    else:
        start = "does NOT raise the loss" if by["lower"] else "is not shown to change the loss"
    return f"{style.NAMES[family]}: β > 1 {start} ({said})." if said else f"{style.NAMES[family]}: no β > 1."


def _flags(data: Data, dataset: str, loss: str) -> list[str]:
    """The attacks that the checks of docs/robustness.md found too weak to rely on; nothing where none was checked."""
    if data.robustness is None or data.robustness["noise_gain"].isna().all():
        return []
    rows = data.robustness[(data.robustness["dataset"] == dataset) & (data.robustness["loss"] == loss)]
    flagged = rows[flags.weakness(rows)]
    if flagged.empty:
        return [f"  checks (noise, transfer, restarts): none of {len(rows)} attacks flagged as too weak"]
    first = flagged.iloc[0]
    name = f"{style.NAMES[first['family']]} β = {first['beta']:g}, d_z = {first['d_z']}"
    more = f"; and {len(flagged) - 1} more, see robustness.csv" if len(flagged) > 1 else ""
    return [f"  checks: {len(flagged)} of {len(rows)} attacks FLAGGED as too weak: {name}: {first['masked']}{more}"]


def _shares(frame) -> str:
    parts = {"d ≈ 0": [], "converged": []}
    for family in style.present(frame["family"]):
        rows = frame[frame["family"] == family]
        if len(rows):
            parts["d ≈ 0"].append(f"{style.NAMES[family]} {100 * (rows['norm'] < ZERO).mean():.0f} %")
            parts["converged"].append(f"{style.NAMES[family]} {100 * rows['converged'].astype(float).mean():.1f} %")
    return f"d ≈ 0 (‖d‖₂ < {ZERO:g}): {', '.join(parts['d ≈ 0'])}; converged: {', '.join(parts['converged'])}"
