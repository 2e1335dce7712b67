"""The study in numbers, as plain text for a terminal."""

from __future__ import annotations

import numpy as np

from vaepipe.figures import Data, curves, style
from vaepipe.figures.adversarial_loss import ZERO
from vaepipe.stats import Interval, clustered_interval

LINES = 40
KEY = ["dataset", "loss", "d_z", "seed", "lambda", "pair"]


def differences(frame, family: str, beta: float, resamples: int) -> Interval:
    """Mean over trials of the loss at (family, β) less that at β = 1, trial by trial, with the clustered interval."""
    base = frame[frame["family"] == "vae"]
    raised = frame[(frame["family"] == family) & (frame["beta"] == beta)]
    both = raised.merge(base, on=KEY, suffixes=("", "_1"))
    return clustered_interval(
        both["objective"] - both["objective_1"], {"pair": both["pair"], "seed": both["seed"]}, resamples=resamples
    )


def text(data: Data, options: dict) -> str:
    """Loss at each β with its interval, its ratio to β = 1, and whether the paired difference excludes 0; then the ELBO."""
    groups = list(data.attacks.groupby(["dataset", "loss"], sort=False))
    room = (LINES - 1 - data.models["dataset"].nunique()) // max(1, len(groups)) - 8
    lines = []
    for (dataset, loss), frame in groups:
        lines += [*_attacked(dataset, loss, frame, options["resamples"], max(2, room)), ""]
    if not groups:
        lines += ["No image data set of this study was attacked.", ""]
    lines.append("ELBO of held-out data, taken at β = 1, nats; mean over images or points, d_z and seeds")
    for dataset, frame in data.models.groupby("dataset", sort=False):
        elbo = frame.groupby(["family", "beta"])["elbo"].mean().to_dict()
        ends = {family: max((b for f, b in elbo if f == family), default=None) for family in style.FAMILIES}
        parts = [f"{style.NAMES[f]} β = {beta:g}: {elbo[f, beta]:,.1f}" for f, beta in ends.items() if beta is not None]
        lines.append(f"  {dataset:<14}" + "".join(f"{part:<28}" for part in parts))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _attacked(dataset: str, loss: str, frame, resamples: int, room: int) -> list[str]:
    found = curves.points(frame, "objective", ("pair", "seed"), resamples)
    base = found.get(("vae", 1.0))
    families = [f for f in ("beta-vae", "beta-tcvae") if any(name == f for name, _ in found)]
    change = {key: differences(frame, *key, resamples) for key in found if key[0] != "vae"}
    betas = sorted({beta for name, beta in found if name != "vae"})
    betas = betas if len(betas) <= room else [*betas[: room - 1], betas[-1]]
    over = [
        style.count(frame[c].nunique(), p) for c, p in (("pair", "pairs"), ("lambda", "λ"), ("d_z", "d_z"), ("seed", "seeds"))
    ]
    single = "; one seed: variation between trainings is not in it" if frame["seed"].nunique() == 1 else ""
    lines = [
        f"{dataset}, attack {loss}: adversarial loss Δ = divergence + λ‖d‖₂, nats",
        f"  mean over {' × '.join(over)} [95 %: bootstrap over pairs and seeds{single}]",
        "      β" + "".join(f"  {style.NAMES[f]:<27}× β=1  change " for f in families),
    ]
    lines += [f"      1  {_show(base)}"] if base else ["  no model at β = 1: nothing to compare with"]
    for beta in betas:
        cells = [_cell(found.get((f, beta)), base, change.get((f, beta))) for f in families]
        lines.append(f"{beta:>7g}  " + "  ".join(cells))
    if base:
        lines += ["  " + _verdict(f, {beta: i for (name, beta), i in change.items() if name == f}) for f in families]
    return [*lines, "  " + _shares(frame)]


def _show(interval: Interval) -> str:
    low, high = (style.short(end) if not np.isnan(end) else "–" for end in interval[1:])
    return f"{style.short(interval.estimate)} [{low}, {high}]"


def _cell(interval: Interval | None, base: Interval | None, change: Interval | None) -> str:
    if interval is None:
        return f"{'–':<41}"
    ratio = style.short(interval.estimate / base.estimate) if base else ""
    return f"{_show(interval):<26}{ratio:>6}  {_sign(change) if base else '':<7}"


def _sign(change: Interval) -> str:
    """What the interval of the paired difference says."""
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
    start = (
        "raises the loss"
        if not by["lower"] + by["unclear"]
        else "does NOT raise the loss"
        if not by["higher"]
        else "raises it at some β only"
    )
    return f"{style.NAMES[family]}: β > 1 {start} ({said})." if said else f"{style.NAMES[family]}: no β > 1."


def _shares(frame) -> str:
    parts = []
    for family in style.FAMILIES:
        rows = frame[frame["family"] == family]
        if len(rows):
            parts.append(
                f"{style.NAMES[family]} {(rows['norm'] < ZERO).mean():.0%}, {rows['converged'].astype(float).mean():.1%}"
            )
    return f"Trials with d ≈ 0 (‖d‖₂ < {ZERO:g}), converged rows: {'; '.join(parts)}".replace("%", " %")
