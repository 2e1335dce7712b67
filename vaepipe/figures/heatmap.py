"""Adversarial loss over the whole grid, β × d_z."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm, Normalize

from vaepipe.figures import curves, flags, style
from vaepipe.figures.adversarial_loss import EMPTY
from vaepipe.figures.registry import Data


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """A row per data set and loss, a panel per family: mean over pairs, λ and seeds of Δ, its value in each cell, nats."""
    frame = data.attacks[data.attacks["beta"] > 0]
    groups = list(frame.groupby(["dataset", "loss"], sort=False))
    if not groups:
        return style.message(EMPTY)
    families = [f for f in style.LINES if (frame["family"] == f).any()] or ["vae"]
    sizes = [rows["d_z"].nunique() for _, rows in groups]
    width = style.COLUMN * (2 if len(families) > 1 else 1)
    page = style.Page(figsize=(width, 0.6 + sum(0.95 + 0.26 * n for n in sizes)))
    axes = page.subplots(len(groups), len(families), squeeze=False, gridspec_kw={"height_ratios": [n + 2 for n in sizes]})
    for row, ((dataset, loss), rows) in zip(axes, groups):
        _row(row, families, rows, {"dataset": dataset, "loss": loss})
    page.supxlabel(_note(frame), gid="note", x=0.01, ha="left", **style.SMALL)
    return page


def _row(row, families: list[str], frame, where: dict) -> None:
    groups = frame.assign(flagged=flags.weakness(frame)).groupby(["family", "beta", "d_z"])
    means, weak = groups["objective"].mean(), groups["flagged"].any()
    values = means[np.isfinite(means)]
    log = len(values) and values.min() > 0
    norm = (LogNorm if log else Normalize)(values.min(), values.max()) if len(values) else Normalize()
    d_zs = sorted(frame["d_z"].unique(), reverse=True)
    for ax, family in zip(row, families):
        betas = sorted(frame.loc[frame["family"] == family, "beta"].unique())
        starts = frame.loc[frame["family"] == style.base(family), "beta"].unique()
        betas = sorted({*betas, *(b for b in starts if b == 1)})
        own = {(b, d): means.get(_key(family, b, d), np.nan) for b in betas for d in d_zs}
        table = np.array([[own[b, d] for b in betas] for d in d_zs]).reshape(len(d_zs), len(betas))
        image = ax.imshow(table, norm=norm, cmap="cividis", aspect="auto")
        for (i, j), value in np.ndenumerate(table):
            dark = np.isfinite(value) and image.norm(value) < 0.55
            text = style.short(value) if np.isfinite(value) else "–"
            text += flags.SIGN if weak.get(_key(family, betas[j], d_zs[i]), False) else ""
            ax.text(j, i, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
        ax.set_xticks(range(len(betas)), [f"{b:g}" for b in betas])
        ax.set_yticks(range(len(d_zs)), [str(d) for d in d_zs])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(title=f"{curves.title(where)}\n{style.NAMES[family]}", xlabel="β")
        ax.figure.rows.extend({**where, "family": family, "beta": b, "d_z": d, "objective": own[b, d]} for b, d in own)
    row[0].set_ylabel("$d_z$")


def _key(family: str, beta: float, d_z: int) -> tuple[str, float, int]:
    return (style.base(family) if beta == 1 else family, beta, d_z)


def _note(frame) -> str:
    text = (
        f"Mean Δ, nats, over {style.count(frame['pair'].nunique(), 'pairs')}, {frame['lambda'].nunique()} λ and "
        f"{style.count(frame['seed'].nunique(), 'seeds')}. {curves.lambda_range(frame)} Colours: cividis, one scale per row; "
        "–: no such model."
    )
    text += f" {flags.SIGN}: too weak by its checks, do not call robust." if flags.weakness(frame).any() else ""
    return text + "\nΔ grows with the number of latents and their scale: compare along β, not along $d_z$. β = 1 is the VAE."
