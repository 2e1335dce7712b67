"""The swiss roll: aggregate posterior and reconstructions of models with d_z = 2, as β grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Circle

from vaepipe.analysis.families import label
from vaepipe.analysis.roll import explained
from vaepipe.figures import style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Swiss roll: aggregate posterior q(z) and reconstructions"
CAPTION = """
Models with d_z = 2, a row for each β, coloured by where the data point lies along the roll. Left of each
pair: one sample z ~ q(z|x) of each held-out point. Contours of their density hold 95, 80, 60, 40 and 20 % of
q(z) (Gaussian kernel, Scott's bandwidth). Right ("rebuilt"): the mean of p(x|z) at that sample. The number
is the share of the roll that it keeps, 1 − squared error / variance, of the height or of the place in the
spiral, whichever is kept worse. Where contours of different colours merge, posteriors overlap. A dimension
of the data is lost where q(z) is a curve or small beside the prior, or where the reconstructions lose the
roll's height or its turns. Each q(z) has axes of its own, whose ends are printed, and the grey circle is the
prior at one standard deviation. Reconstructions share their axes, and outliers beyond them are not drawn.
"""
EMPTY = "The swiss roll with d_z = 2 is not in this study."
Arrays = Mapping[str, np.ndarray]
"""Points ``x`` (K, 3), a posterior ``sample`` (K, 2) of each and its ``reconstruction`` (K, 3), of one model.
"""
MASS = (0.95, 0.8, 0.6, 0.4, 0.2)
"""The contours hold these shares of q(z)."""


@dataclass(frozen=True)
class Shared:
    """What all panels share: (3, 2) limits of the data's axes, ends of the colours along the roll."""

    limits: np.ndarray
    start: float
    end: float


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A row for each β: q(z) and reconstructions of each family; at β = 1 the VAE and the data."""
    models = {(item.cell.family, item.cell.beta): item.arrays for item in data.arrays}
    if not models:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    betas = sorted({beta for family, beta in models if family != "vae"})
    shared, x = _shared(list(models.values())), next(iter(models.values()))["x"]
    unit, width = style.LOOKS[options.style].text / 8, style.width_of(options)
    figure = style.Page(figsize=(width, 0.235 * width * (1 + len(betas)) + 0.35 * unit), options=options)
    figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.02, wspace=0.0, hspace=0.03)
    grid = figure.add_gridspec(1 + len(betas), 4)
    _model(figure, grid[0, 0], grid[0, 1], models.get(("vae", 1.0)), "vae", shared).set_ylabel("β = 1")
    for i, beta in enumerate(betas, 1):
        for j, family in enumerate(("beta-vae", "beta-tcvae")):
            places = grid[i, 2 * j], grid[i, 2 * j + 1]
            left = _model(figure, *places, models.get((family, beta)), family, shared, i == 1)
            left.set_ylabel("" if j else f"β = {beta:g}")
    names = ("x0", "x1", "x2", "z0", "z1", "rec0", "rec1", "rec2")
    for (family, beta), arrays in models.items():
        points = np.concatenate([arrays["x"], arrays["sample"], arrays["reconstruction"]], axis=1)
        figure.rows.extend(
            {"family": family, "beta": beta} | dict(zip(names, row)) for row in points.tolist()
        )
    scatter = _roll(figure.add_subplot(grid[0, 3], projection="3d"), "data x", x, x, shared)
    _legend(figure.add_subplot(grid[0, 2]), scatter)
    figure.line(f"{len(x):,} held-out points; prior: grey circle of radius 1")
    said = f"{len(x):,} held-out points, training seed {data.arrays[0].cell.seed}."
    absent = [
        f"{label(f)} β = {b:g}" for b in betas for f in ("beta-vae", "beta-tcvae") if (f, b) not in models
    ]
    figure.caption.say("", said + (f" Not in this study: {', '.join(absent)}." if absent else ""))
    return figure.describe(TITLE, CAPTION)


def _shared(models: list[Arrays]) -> Shared:
    x = models[0]["x"]
    # the data, and all but the outliers of the reconstructions
    inner = [np.nanquantile(arrays["reconstruction"], (0.005, 0.995), axis=0) for arrays in models]
    low = np.min([x.min(0), *(quantiles[0] for quantiles in inner)], axis=0)
    high = np.max([x.max(0), *(quantiles[1] for quantiles in inner)], axis=0)
    return Shared(np.array([low, high]).T, _along(x).min(), _along(x).max())


def _reach(sample: np.ndarray) -> float:
    """Return the end of the axes of one q(z): all but its outliers, and the prior's circle."""
    finite = np.abs(sample[np.isfinite(sample).all(1)])
    return max(1.25, 1.1 * float(np.quantile(finite, 0.998))) if len(finite) else 1.25


def _model(
    figure: Figure,
    left_place: SubplotSpec,
    right_place: SubplotSpec,
    arrays: Arrays | None,
    family: str,
    shared: Shared,
    titled: bool = True,
) -> Axes:
    """Draw q(z) and, beside it, the reconstructions of one model; return the axes of q(z)."""
    left = figure.add_subplot(left_place)
    left.set_title(f"{label(family)}, q(z)" if titled else "", fontsize=title_size(figure))
    left.tick_params(labelsize=style.size(6), length=2, pad=1)
    reach = 1.0 if arrays is None else _reach(arrays["sample"])
    end = round(0.8 * reach) or 1
    left.set(
        xlim=(-reach, reach),
        ylim=(-reach, reach),
        aspect="equal",
        xticks=(-end, 0, end),
        yticks=(-end, 0, end),
    )
    if arrays is None:
        left.text(0, 0, "not in\nthis study", ha="center", va="center", color=style.GREY)
        return left
    left.add_patch(Circle((0, 0), 1, fill=False, edgecolor="#555555", linewidth=style.size(0.8), zorder=4))
    _contours(left, arrays, shared)
    right = figure.add_subplot(right_place, projection="3d")
    kept = min(explained(arrays["x"], arrays["reconstruction"]).values())
    _roll(right, f"rebuilt, {kept:.2f}", arrays["reconstruction"], arrays["x"], shared)
    return left


def title_size(figure: Figure) -> float:
    """Return the size of the titles, in points: narrow pages have smaller ones."""
    return style.size(8 if style.page_of(figure.axes[0]).columns == "page" else 6)


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
    ax.set_title(title, fontsize=title_size(ax.figure))
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


def _legend(ax: Axes, scatter: Any) -> None:
    """Draw the colour bar, in the empty cell of the first row."""
    ax.axis("off")
    place = ax.inset_axes((0.1, 0.5, 0.9, 0.08))
    bar = ax.figure.colorbar(scatter, cax=place, orientation="horizontal")
    bar.ax.tick_params(labelsize=style.size(6))
    bar.set_label("along the roll", fontsize=style.size(7))
