"""The swiss roll: aggregate posterior and reconstructions of models with d_z = 2, as β grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from vaepipe.analysis.families import label
from vaepipe.figures import style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
Aggregate posterior q(z) and reconstructions on the swiss roll at d\ :sub:`z` = 2, a row for each of β =
{roll_betas}. Where the posterior collapses towards a curve, a dimension of the data is lost.
"""
Arrays = Mapping[str, np.ndarray]
"""Points ``x`` (K, 3), a posterior ``sample`` (K, 2) of each and its ``reconstruction`` (K, 3), of one model.
"""
MASS = (0.95, 0.8, 0.6, 0.4, 0.2)
"""The contours hold these shares of q(z)."""


@dataclass(frozen=True)
class Shared:
    """What all panels have in common: ±reach of the latent axes, (3, 2) limits of the data's axes, ends of
    the colours along the roll."""

    reach: float
    limits: np.ndarray
    start: float
    end: float


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A row for the VAE, then one for each β: q(z) and reconstructions of the β-VAE and of the β-TCVAE."""
    models = {(item.cell.family, item.cell.beta): item.arrays for item in data.arrays}
    if not models:
        return style.message("The swiss roll with d_z = 2 is not in this study.")
    betas = sorted({beta for family, beta in models if family != "vae"})
    shared, x = _shared(list(models.values())), next(iter(models.values()))["x"]
    figure = style.Page(figsize=(2 * style.COLUMN, 1.72 * (1 + len(betas))))
    grid = figure.add_gridspec(1 + len(betas), 4)
    _model(figure, grid[0, 0], grid[0, 1], models.get(("vae", 1.0)), "vae", shared).set_ylabel("β = 1")
    for i, beta in enumerate(betas, 1):
        for j, family in enumerate(("beta-vae", "beta-tcvae")):
            places = grid[i, 2 * j], grid[i, 2 * j + 1]
            left = _model(figure, *places, models.get((family, beta)), family, shared)
            left.set_ylabel("" if j else f"β = {beta:g}")
    names = ("x0", "x1", "x2", "z0", "z1", "rec0", "rec1", "rec2")
    for (family, beta), arrays in models.items():
        points = np.concatenate([arrays["x"], arrays["sample"], arrays["reconstruction"]], axis=1)
        figure.rows.extend(
            {"family": family, "beta": beta} | dict(zip(names, row)) for row in points.tolist()
        )
    scatter = _roll(figure.add_subplot(grid[0, 2], projection="3d"), "held-out points x", x, x, shared)
    _legend(figure.add_subplot(grid[0, 3]), scatter, len(x), data.arrays[0].cell.seed)
    return figure


def _shared(models: list[Arrays]) -> Shared:
    finite = [arrays["sample"][np.isfinite(arrays["sample"]).all(1)] for arrays in models]
    reach = 1.15 * max(np.quantile(np.abs(z), 0.998) for z in finite if len(z))
    x = models[0]["x"]
    # the data, and all but the outliers of the reconstructions
    inner = [np.nanquantile(arrays["reconstruction"], (0.005, 0.995), axis=0) for arrays in models]
    low = np.min([x.min(0), *(quantiles[0] for quantiles in inner)], axis=0)
    high = np.max([x.max(0), *(quantiles[1] for quantiles in inner)], axis=0)
    return Shared(reach, np.array([low, high]).T, _along(x).min(), _along(x).max())


def _model(
    figure: Figure,
    left_place: SubplotSpec,
    right_place: SubplotSpec,
    arrays: Arrays | None,
    family: str,
    shared: Shared,
) -> Axes:
    """Draw q(z) and, beside it, the reconstructions of one model; return the axes of q(z)."""
    left = figure.add_subplot(left_place)
    limits = (-shared.reach, shared.reach)
    left.set(xlim=limits, ylim=limits, aspect="equal", title=f"{label(family)}, q(z)")
    left.tick_params(labelsize=6)
    if arrays is None:
        left.text(0, 0, "not in\nthis study", ha="center", va="center", color=style.GREY)
    else:
        _contours(left, arrays, shared)
        right = figure.add_subplot(right_place, projection="3d")
        _roll(right, "reconstructions", arrays["reconstruction"], arrays["x"], shared)
    return left


def _contours(ax: Axes, arrays: Arrays, shared: Shared) -> None:
    """Draw the samples, coloured by where x lies along the roll, and contours of their kernel density."""
    from scipy.stats import gaussian_kde

    z, t = arrays["sample"], _along(arrays["x"])
    kept = np.isfinite(z).all(1)
    z, t = z[kept].astype(float), t[kept]
    ax.scatter(
        z[:, 0], z[:, 1], c=t, s=1.5, linewidths=0, rasterized=True, vmin=shared.start, vmax=shared.end
    )
    try:
        kde = gaussian_kde(z.T)  # Scott's bandwidth
    except np.linalg.LinAlgError:  # all samples on a line: the points alone show it
        return
    # a grid over the samples, not over the axes: a narrow q(z) is resolved as well as a wide one
    low, high = z.min(0) - 0.15 * np.ptp(z, 0), z.max(0) + 0.15 * np.ptp(z, 0)
    u, v = np.meshgrid(*np.linspace(low, high, 90).T)
    p = kde(np.array([u.ravel(), v.ravel()])).reshape(u.shape)
    falling = np.sort(p.ravel())[::-1]
    share = np.cumsum(falling) / falling.sum()
    levels = [falling[np.searchsorted(share, mass)] for mass in MASS]
    ax.contour(u, v, p, np.unique(levels), colors="#222222", linewidths=0.4, alpha=0.8)


def _along(x: np.ndarray) -> np.ndarray:
    """Return the position along the roll: the radius in the plane of the spiral, √(x₀² + x₂²)."""
    return np.hypot(x[:, 0], x[:, 2])


def _roll(ax: Any, title: str, points: np.ndarray, x: np.ndarray, shared: Shared) -> Any:
    """Draw points in 3-D, coloured by where their x lies along the roll; return the artist."""
    ax.view_init(elev=8, azim=-82)
    limits = dict(zip(("xlim", "ylim", "zlim"), shared.limits))
    ax.set(**limits, xticklabels=[], yticklabels=[], zticklabels=[])
    ax.set_title(title, pad=7)
    ax.tick_params(color="none")
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.line.set_color("#bbbbbb")
    ax.set_box_aspect(np.ptp(shared.limits, axis=1), zoom=1.15)
    look: dict[str, Any] = {
        "s": 2,
        "linewidths": 0,
        "depthshade": False,
        "axlim_clip": True,
        "rasterized": True,
        "vmin": shared.start,
        "vmax": shared.end,
    }
    return ax.scatter(*points.T, c=_along(x), **look)


def _legend(ax: Axes, scatter: Any, n: int, seed: int) -> None:
    """Draw the colour bar and the note, in the empty cell of the first row."""
    ax.axis("off")
    bar = ax.figure.colorbar(scatter, cax=ax.inset_axes((0.0, 0.86, 0.9, 0.07)), orientation="horizontal")
    bar.ax.tick_params(labelsize=6)
    bar.set_label("along the roll: √(x₀² + x₂²) of x", fontsize=6)
    text = (
        f"{n:,} held-out points; one sample z ~ q(z|x)\nand the mean of p(x|z) at it for each.\n"
        f"Contours hold {', '.join(f'{100 * m:.0f} %' for m in MASS[:2])} … {100 * MASS[-1]:.0f} % of q(z)\n"
        f"(Gaussian kernel, Scott's bandwidth).\nSame axes in all panels of a kind; outliers\n"
        f"beyond them are not drawn. Training seed {seed}."
    )
    ax.text(0, 0.5, text, va="top", gid="note", transform=ax.transAxes, **style.SMALL)
