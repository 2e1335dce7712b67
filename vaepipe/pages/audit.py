"""The page of an audit: one file, which needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from vaepipe import pages
from vaepipe.analysis import robustness, trials
from vaepipe.attacks.loss import find_loss

BEHIND = ("attack", "purifier", "fooled at h ≤ 0.25", "by one that knows it", "pairs")
"""Columns of `purifier_rows`."""
GRID = np.linspace(0, 1, 41)


def share(success: Mapping[str, Any], pairs: int) -> str:
    """Return a share of pairs with its interval, as text."""
    if not pairs:
        return "–"
    return (
        f"{100 * success['fooled'] / pairs:.0f} % [{100 * success['low']:.0f}, {100 * success['high']:.0f}]"
    )


def interval(values: Sequence[float | None]) -> str:
    """Return an estimate with its interval, as text."""
    estimate, low, high = values
    if estimate is None:
        return "–"
    return f"{estimate:.2f}" if low is None else f"{estimate:.2f} [{low:.2f}, {high:.2f}]"


def one_line(text: str) -> str:
    """Return a text that a table does not break."""
    return text.replace(" ", "\u00a0").replace("-", "\u2011")


def purifier_rows(purifiers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return loss, purifier, share fooled, share fooled by an attack that knows it, and pairs, as text."""
    rows = []
    for row in purifiers:
        shares = (row["fooled"], row["fooled_adaptively"])
        texts = ["–" if value is None else f"{100 * value:.0f} %" for value in shares]
        rows.append([row["loss"], row["purifier"], *texts, str(row["pairs"])])
    return rows


def page(
    scorecard: Mapping[str, Any],
    attacks: pd.DataFrame,
    examples: Sequence[Mapping[str, Any]],
    flags: Sequence[Mapping[str, str]],
) -> str:
    """Return the page.

    Args:
        scorecard: as `vaepipe.tools.audit_report` writes it.
        attacks: the table of that name.
        examples: pictures of attacks, as `pictures` takes them.
        flags: raised flags: loss, reason, about.
    """
    lead = scorecard["losses"][0]["loss"]
    budgets = list(scorecard["losses"][0]["success"])
    rows = [
        [
            one_line(loss["loss"] + (" †" if loss["flags"] else "")),
            *(one_line(share(loss["success"][budget], loss["pairs"])) for budget in budgets),
            one_line(interval(loss["auddc"])),
            one_line(f"{loss['pairs']} of {loss['attacked']}"),
        ]
        for loss in scorecard["losses"]
    ]
    columns = ["attack", *(f"fooled at h ≤ {budget}" for budget in budgets), "AUDDC", "pairs"]
    return pages.render(
        "audit.html",
        card=scorecard,
        item={"columns": columns, "rows": rows},
        curve=_image(curve(attacks, lead)),
        pictures=_image(pictures(examples)),
        flags=flags,
        behind={"columns": BEHIND, "rows": purifier_rows(scorecard["purifiers"])},
        title=find_loss(lead).title,
    )


def curve(attacks: pd.DataFrame, lead: str) -> Figure:
    """Return the figure of the leading attack: each pair's curve, and the share of pairs that is fooled."""
    rows = trials.relative(attacks[attacks["loss"] == lead])
    mean = trials.mean_curve(rows, GRID)
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for _, pair in mean.groupby("pair"):
        left.plot(pair["h"], pair["v"], color="#0072b2", alpha=0.25, linewidth=0.8)
    if len(mean):
        average = mean.groupby("h")["v"].mean()
        left.plot(average.index, average, color="#0072b2", linewidth=2)
    left.axhline(robustness.SUCCESS, color="#b34700", linewidth=0.8, linestyle="--")
    left.set(xlabel="size of the distortion, h = ‖d‖ / ‖x − x_t‖", ylabel="v (1: unmoved, 0: target)",
             xlim=(0, 1), title="each pair, and their mean")  # fmt: skip
    known = rows.dropna(subset=["v"])
    pairs = max(1, known["pair"].nunique())
    fooled = [
        known[(known["h"] <= h) & (known["v"] < robustness.SUCCESS)]["pair"].nunique() / pairs for h in GRID
    ]
    right.step(GRID, fooled, where="post", color="#b34700", linewidth=2)
    right.set(xlabel="size of the distortion, h", ylabel="share of pairs fooled", title="v < 0.5 within h")
    right.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def pictures(examples: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the figure of attacks, one row each.

    Args:
        examples: ``title`` and ``panels``, name → (C, H, W) in [0,1].
    """
    count = len(examples[0]["panels"])
    figure = Figure(figsize=(1.25 * count, 1.65 * len(examples)), layout="constrained")
    parts = figure.subfigures(len(examples), 1, squeeze=False)[:, 0]
    for part, example in zip(parts, examples):
        part.suptitle(example["title"], fontsize=9, x=0.01, ha="left")
        for ax, (name, image) in zip(part.subplots(1, count), example["panels"].items()):
            pixels = image[0] if image.shape[0] == 1 else np.moveaxis(image[:3], 0, -1)
            ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(name, fontsize=8)
            ax.set_axis_off()
    return figure


def _image(figure: Figure) -> Markup:
    """Return a figure as the source of an HTML image."""
    file = io.BytesIO()
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return Markup("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
