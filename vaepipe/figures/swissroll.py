"""The swiss roll: aggregate posterior and reconstructions of models with two latent dimensions, as β grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaepipe.figures import style
from vaepipe.figures.registry import Data
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5

MASS = (0.95, 0.8, 0.6, 0.4, 0.2)
"""The contours hold these shares of q(z)."""


@dataclass(frozen=True)
class Shared:
    """What all panels have in common: ±reach of the latent axes, (3, 2) limits of the data's axes, ends of the colour scale."""

    reach: float
    limits: np.ndarray
    colours: dict[str, float]


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """A row for the VAE, then one for each β: q(z) and reconstructions of the β-VAE and of the β-TCVAE."""
    read = {(cell.family, cell.beta): read_roll(path) for cell, path in data.arrays}
    if not read:
        return style.message("The swiss roll with d_z = 2 is not in this study.")
    betas = sorted({beta for family, beta in read if family != "vae"})
    shared, x = _shared(list(read.values())), next(iter(read.values()))["x"]
    figure = style.Page(figsize=(2 * style.COLUMN, 1.72 * (1 + len(betas))))
    grid = figure.add_gridspec(1 + len(betas), 4)
    _model(figure, grid[0, 0], grid[0, 1], read.get(("vae", 1.0)), "VAE", shared).set_ylabel("β = 1")
    for i, beta in enumerate(betas, 1):
        for j, family in enumerate(("beta-vae", "beta-tcvae")):
            parts = read.get((family, beta))
            left = _model(figure, grid[i, 2 * j], grid[i, 2 * j + 1], parts, style.NAMES[family], shared)
            left.set_ylabel("" if j else f"β = {beta:g}")
    for (family, beta), parts in read.items():
        arrays = np.concatenate([parts["x"], parts["sample"], parts["reconstruction"]], axis=1)
        names = ("x0", "x1", "x2", "z0", "z1", "rec0", "rec1", "rec2")
        figure.rows.extend({"family": family, "beta": beta} | dict(zip(names, row)) for row in arrays.tolist())
    scatter = _roll(figure.add_subplot(grid[0, 2], projection="3d"), "held-out points x", x, x, shared)
    _legend(figure.add_subplot(grid[0, 3]), scatter, len(x), data.arrays[0][0].seed)
    return figure


def read_roll(path: str) -> dict[str, np.ndarray]:
    """Points ``x`` (K, 3), a posterior ``sample`` (K, 2) of each and its ``reconstruction`` (K, 3), of one evaluation."""
    with open_h5(path, "evaluation") as file:
        parts = {name: file[name][:] for name in ("x", "sample", "reconstruction")}
    if parts["sample"].shape[1:] != (2,) or parts["x"].shape[1:] != (3,):
        shapes = f"{parts['x'].shape} and {parts['sample'].shape}"
        raise DataError(f"{path}: needs points (K, 3) and samples (K, 2); holds {shapes}")
    return parts


def _shared(models: list[dict[str, np.ndarray]]) -> Shared:
    finite = [parts["sample"][np.isfinite(parts["sample"]).all(1)] for parts in models]
    reach = 1.15 * max(np.quantile(np.abs(z), 0.998) for z in finite if len(z))
    x = models[0]["x"]
    # the data, and all but the outliers of the reconstructions
    inner = [np.nanquantile(parts["reconstruction"], (0.005, 0.995), axis=0) for parts in models]
    low, high = np.min([x.min(0), *(q[0] for q in inner)], axis=0), np.max([x.max(0), *(q[1] for q in inner)], axis=0)
    return Shared(reach, np.array([low, high]).T, {"vmin": _along(x).min(), "vmax": _along(x).max()})


def _model(figure: Figure, left_place, right_place, parts: dict | None, name: str, shared: Shared) -> Axes:
    """q(z) and, beside it, the reconstructions of one model; returns the axes of q(z)."""
    left = figure.add_subplot(left_place)
    left.set(xlim=(-shared.reach, shared.reach), ylim=(-shared.reach, shared.reach), aspect="equal", title=f"{name}, q(z)")
    left.tick_params(labelsize=6)
    if parts is None:
        left.text(0, 0, "not in\nthis study", ha="center", va="center", color=style.GREY)
    else:
        _contours(left, parts, shared)
        _roll(figure.add_subplot(right_place, projection="3d"), "reconstructions", parts["reconstruction"], parts["x"], shared)
    return left


def _contours(ax: Axes, parts: dict, shared: Shared) -> None:
    """Contours of a kernel density of the samples, and the samples, coloured by where their x lies along the roll."""
    from scipy.stats import gaussian_kde  # a second, which the claims, that read what is drawn, would pay too

    z, t = parts["sample"], _along(parts["x"])
    kept = np.isfinite(z).all(1)
    z, t = z[kept].astype(float), t[kept]
    ax.scatter(*z.T, c=t, s=1.5, linewidths=0, rasterized=True, **shared.colours)
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
    """Position along the roll: the radius in the plane of the spiral, √(x₀² + x₂²)."""
    return np.hypot(x[:, 0], x[:, 2])


def _roll(ax, title: str, points: np.ndarray, x: np.ndarray, shared: Shared):
    """Points in 3-D, coloured by where their x lies along the roll."""
    ax.view_init(elev=8, azim=-82)
    low_high = dict(zip(("xlim", "ylim", "zlim"), shared.limits))
    ax.set(**low_high, xticklabels=[], yticklabels=[], zticklabels=[])
    ax.set_title(title, pad=7)
    ax.tick_params(color="none")
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.line.set_color("#bbbbbb")
    ax.set_box_aspect(np.ptp(shared.limits, axis=1), zoom=1.15)
    look = {"s": 2, "linewidths": 0, "depthshade": False, "axlim_clip": True, "rasterized": True}
    return ax.scatter(*points.T, c=_along(x), **look, **shared.colours)


def _legend(ax: Axes, scatter, n: int, seed: int) -> None:
    """Colour bar and note, in the empty cell of the first row."""
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
