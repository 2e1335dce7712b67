"""The swiss roll: aggregate posterior and reconstructions of models with two latent dimensions, as β grows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from vaepipe import store
from vaepipe.figures import Data, style

MASS = (0.95, 0.8, 0.6, 0.4, 0.2)
"""The contours hold these shares of q(z)."""
ADJUST = 0.6
"""Of Scott's bandwidth, which is meant for one Gaussian and would smear a rolled-up density."""
VIEW = {"elev": 8, "azim": -82}


@style.house
def draw(data: Data, options: dict) -> Figure:
    """A row for the VAE, then one for each β: q(z) and reconstructions of the β-VAE and of the β-TCVAE."""
    read = {(cell.family, cell.beta): _read(path) for cell, path in data.arrays}
    if not read:
        return style.message("The swiss roll with d_z = 2 is not in this study.")
    betas = sorted({beta for family, beta in read if family != "vae"})
    everything = [parts["sample"] for parts in read.values()]
    reach = 1.06 * max(np.quantile(np.abs(z[np.isfinite(z).all(1)]), 0.998) for z in everything)
    any_x = next(iter(read.values()))["x"]
    limits = np.array([any_x.min(0), any_x.max(0)]).T
    colours = (np.hypot(any_x[:, 0], any_x[:, 2]).min(), np.hypot(any_x[:, 0], any_x[:, 2]).max())

    figure = Figure(figsize=(2 * style.COLUMN, 1.72 * (1 + len(betas))))
    grid = figure.add_gridspec(1 + len(betas), 4)
    _pair(figure, grid[0, 0:2], read.get(("vae", 1.0)), "VAE", "β = 1", reach, limits, colours)
    for i, beta in enumerate(betas, 1):
        for j, family in enumerate(("beta-vae", "beta-tcvae")):
            place = grid[i, 2 * j : 2 * j + 2]
            _pair(
                figure,
                place,
                read.get((family, beta)),
                style.NAMES[family],
                f"β = {beta:g}" if j == 0 else "",
                reach,
                limits,
                colours,
            )
    ax = figure.add_subplot(grid[0, 2], projection="3d")
    scatter = _roll(ax, any_x, any_x, limits, colours)
    ax.set_title("held-out points x", pad=0)
    _legend(figure, grid[0, 3], scatter, len(any_x), next(iter(data.arrays))[0].seed)
    return figure


def _read(path: str) -> dict[str, np.ndarray]:
    with store.open_h5(path, "evaluation") as file:
        parts = {name: file[name][:] for name in ("x", "sample", "reconstruction")}
    if parts["sample"].shape[1:] != (2,) or parts["x"].shape[1:] != (3,):
        raise store.DataError(
            f"{path}: needs points (K, 3) and samples (K, 2); holds {parts['x'].shape} and {parts['sample'].shape}"
        )
    return parts


def _pair(figure: Figure, place, parts: dict | None, family: str, row: str, reach: float, limits, colours) -> None:
    """q(z) and, beside it, the reconstructions of one model."""
    cells = place.get_gridspec(), place.rowspan.start, place.colspan.start
    left = figure.add_subplot(cells[0][cells[1], cells[2]])
    left.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    left.set_title(f"{family}, q(z)")
    left.tick_params(labelsize=6)
    if row:
        left.set_ylabel(row)
    if parts is None:
        left.text(0, 0, "not in\nthis study", ha="center", va="center", color=style.GREY)
        return
    _contours(left, parts, colours)
    right = figure.add_subplot(cells[0][cells[1], cells[2] + 1], projection="3d")
    _roll(right, parts["reconstruction"], parts["x"], limits, colours)
    right.set_title("reconstructions", pad=0)


def _contours(ax: Axes, parts: dict, colours) -> None:
    """Contours of a kernel density of the samples, and the samples, coloured by where their x lies along the roll."""
    z, t = parts["sample"], _along(parts["x"])
    kept = np.isfinite(z).all(1)
    z, t = z[kept].astype(float), t[kept]
    ax.scatter(*z.T, c=t, s=1.5, linewidths=0, vmin=colours[0], vmax=colours[1], rasterized=True)
    try:
        kde = gaussian_kde(z.T, lambda k: ADJUST * k.scotts_factor())
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
    """Position along the roll: the radius in the plane of the spiral, √(x₀² + x₂²)."""
    return np.hypot(x[:, 0], x[:, 2])


def _roll(ax, points: np.ndarray, x: np.ndarray, limits, colours):
    ax.view_init(**VIEW)
    ax.set(xlim=limits[0], ylim=limits[1], zlim=limits[2], xticklabels=[], yticklabels=[], zticklabels=[])
    ax.tick_params(length=0)
    ax.set_box_aspect(np.ptp(limits, 1), zoom=1.15)
    return ax.scatter(
        *points.T, c=_along(x), s=2, linewidths=0, vmin=colours[0], vmax=colours[1], depthshade=False, rasterized=True
    )


def _legend(figure: Figure, place, scatter, n: int, seed: int) -> None:
    """Colour bar and note in the empty cell of the first row."""
    ax = figure.add_subplot(place)
    ax.axis("off")
    bar = figure.colorbar(scatter, cax=ax.inset_axes((0.0, 0.86, 0.9, 0.07)), orientation="horizontal")
    bar.ax.tick_params(labelsize=6)
    bar.set_label("along the roll: √(x₀² + x₂²) of x", fontsize=6)
    text = (
        f"{n:,} held-out points; one sample z ~ q(z|x)\nand the mean of p(x|z) at it for each.\n"
        f"Contours hold {', '.join(f'{m:.0%}' for m in MASS[:2])} … {MASS[-1]:.0%} of q(z)\n"
        f"(Gaussian kernel, {ADJUST} × Scott's bandwidth).\nSame axes in all panels of a kind.\nTraining seed {seed}."
    )
    ax.text(
        0,
        0.5,
        text.replace("%", " %"),
        va="top",
        fontsize=5.8,
        color=style.GREY,
        linespacing=1.25,
        gid="note",
        transform=ax.transAxes,
    )
