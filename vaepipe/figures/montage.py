"""Attacks in pictures: from the original to the target, for the first pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from vaepipe.analysis.families import label
from vaepipe.analysis.formatting import count, short
from vaepipe.analysis.trials import best_lambda
from vaepipe.attacks.loss import find_loss
from vaepipe.figures import curves, flags, style
from vaepipe.figures.data import Data
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Attacks in pictures"
CAPTION = """
A group of columns per model and a column per pair, the same pairs for all models. The upper block has a λ of
its own for each model and pair, chosen as by Gondim-Ribeiro et al. 2018: of the λ whose reconstruction is at
most as far from the target as on average over λ, the farthest one. This is the weakest attack that still
succeeds. In the lower block every model is attacked with about the same ‖d‖₂, the median of the models'
norms above, so that columns compare. Numbers: λ, ‖d‖₂ and Δ = divergence + λ‖d‖₂ of the upper block, then
‖d‖₂ of the lower. Pixels lie in [0,1]. The distortion is white at 0, red where it adds and blue where it
takes away. Reconstructions are the mean of p(x|z) at one posterior sample z.
"""
EMPTY = "None of the models of this montage was attacked."
ROWS = (
    "original x",
    "reconstruction",
    "x + d",
    "distortion d",
    "reconstruction",
    "x + d, equal ‖d‖",
    "reconstruction",
    "target's rec.",
    "target $x_t$",
)
DISTORTION = ROWS.index("distortion d")
SMALL = 32
"""Pixels of a side below which the eye sees each pixel of a distortion."""
SIDE = 64
"""Pixels to which smaller images are enlarged, so that the gaps between them can be narrow."""
LEAST = 0.44
"""Width of a column on a printed page, inches, at least."""
NAMES = 0.78
"""Width of the names of the rows, inches."""


@dataclass
class Column:
    """One attack: its pictures (C,H,W) uint8 in the order of `ROWS`, d (C,H,W) for the distortion; λ, ‖d‖₂
    and Δ of the λ shown; and ‖d‖₂ of the one at the pair's common norm."""

    pictures: list[np.ndarray]
    lambda_: float
    norm: float
    objective: float
    equal_norm: float


Groups = dict[tuple[Cell, str], list[Column]]
"""(cell, loss) → its columns."""


def common_norms(models: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Return (P,) the median over models of ‖d‖₂ at the λ that `best_lambda` chooses for each pair."""
    norms = [
        [
            arrays["norm"][best_lambda(distance), p]
            for p, distance in enumerate(arrays["adversarial_distance"].T)
        ]
        for arrays in models
    ]
    return np.median(np.array(norms), axis=0)


def columns(arrays: Mapping[str, np.ndarray], norms: np.ndarray) -> list[Column]:
    """Return a column for each pair: the attack at the λ that `best_lambda` chooses, and at the λ whose
    distortion has the norm nearest to the pair's of ``norms`` (P,).

    Args:
        arrays: of the attack and measure files of one model and loss, as `vaepipe.figures.registry` names
            them.
    """
    made = []
    for p, distance in enumerate(arrays["adversarial_distance"].T):
        row, equal = best_lambda(distance), int(np.argmin(np.abs(arrays["norm"][:, p] - norms[p])))
        x, rebuilt = arrays["x"][p], arrays["adversarial_reconstruction"]
        pictures = [x, arrays["reconstruction"][p]]
        pictures += [_distorted(arrays, row, p), arrays["distortion"][row, p], rebuilt[row, p]]
        pictures += [_distorted(arrays, equal, p), rebuilt[equal, p]]
        pictures += [arrays["target_reconstruction"][p], arrays["target"][p]]
        lambda_, norm = float(arrays["lambdas"][row]), float(arrays["norm"][row, p])
        objective, equal_norm = float(arrays["objective"][row, p]), float(arrays["norm"][equal, p])
        made.append(Column(pictures, lambda_, norm, objective, equal_norm))
    return made


def _distorted(arrays: Mapping[str, np.ndarray], row: int, p: int) -> np.ndarray:
    """Return x + d of one pair and λ as a picture."""
    return (np.clip(arrays["x"][p] / 255 + arrays["distortion"][row, p], 0, 1) * 255).round().astype("uint8")


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A group of columns for each model and loss, a column for each pair."""
    if not data.arrays:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    norms = common_norms([item.arrays for item in data.arrays])
    groups: Groups = {
        (item.cell, item.attributes["loss"]): columns(item.arrays, norms) for item in data.arrays
    }
    unit, width = style.LOOKS[options.style].text / 8, style.width_of(options)
    room = int((width - NAMES * unit) / (LEAST * unit) / len(groups))
    pairs = max(1, min(room, len(norms)))
    groups = {key: group[:pairs] for key, group in groups.items()}
    reach = max(np.nanmax(np.abs(c.pictures[DISTORTION])) for group in groups.values() for c in group)
    each = (width - NAMES * unit) / (len(groups) * (pairs + 0.15))
    figure = style.Page(figsize=(width, len(ROWS) * each + 0.9 * unit), options=options)
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    losses = list(dict.fromkeys(loss for _, loss in groups))
    flagged = {} if data.robustness is None else flags.flagged(data.robustness)
    for ax, ((cell, loss), group) in zip(axes, groups.items()):
        side = _mosaic(ax, group, reach)
        for p, column in enumerate(group):
            numbers = {"lam": column.lambda_, "norm": column.norm, "objective": column.objective}
            numbers |= {"equal_norm": column.equal_norm}
            row = vars(cell) | {"loss": loss, "pair": p} | numbers
            style.add_row(ax, row, (p + 0.5) * side - 0.5, (ROWS.index("x + d") + 0.5) * side - 0.5)
        ax.set_title(_title(cell, (cell.family, cell.beta) in flagged, loss if len(losses) > 1 else ""))
    labels = [f"{row}\n±{reach:.2g}" if r == DISTORTION else row for r, row in enumerate(ROWS)]
    places = [(r + 0.5) * side - 0.5 for r in range(len(ROWS))]
    axes[0].set_yticks(places, labels, fontsize=style.size(6.5))
    first = next(iter(groups))[0]
    name = {"dataset": first.dataset} | ({"loss": losses[0]} if len(losses) == 1 else {}) | {"d_z": first.d_z}
    figure.line(curves.name_of(name).replace("d_z", "$d_z$"), f"the first {count(pairs, 'pairs')}")
    units = " or ".join(dict.fromkeys(find_loss(loss).unit for loss in losses))
    figure.caption.say("", f"Shown: {curves.name_of(name)}, training seed {first.seed}. Δ in {units}.")
    height, width_of_image = data.arrays[0].arrays["x"].shape[-2:]
    if max(height, width_of_image) < SMALL:
        size = f"{height} × {width_of_image}"
        figure.caption.say("", f"In images of {size} pixels even a small ‖d‖₂ is large to the eye.")
    if data.robustness is not None:
        figure.caption.say("", flags.note(data.robustness))
    return figure.describe(f"{TITLE}: {first.dataset}", CAPTION)


def _title(cell: Cell, flagged: bool, loss: str) -> str:
    beta = f", β = {cell.beta:g}" if cell.beta else ""
    sign = f" {flags.SIGN}" if flagged else ""
    return label(cell.family) + beta + sign + (f"\n{curves.words('loss', loss)}" if loss else "")


def _mosaic(ax: Axes, group: list[Column], reach: float) -> int:
    """Draw all pictures of a group as one image, H,W,3, with white gaps, and the numbers under it; return the
    pixels of a picture's side."""
    tiles = []
    for column in group:
        pictures = list(column.pictures)
        pictures[DISTORTION] = _distortion(pictures[DISTORTION], reach)
        tiles.append(np.concatenate([tile(picture) for picture in pictures], axis=0))
    ax.imshow(np.concatenate(tiles, axis=1), interpolation="nearest")
    side = tiles[0].shape[1]
    texts = [
        f"λ {short(c.lambda_)}\n‖d‖ {short(c.norm)}\nΔ {short(c.objective)}\n‖d‖ {short(c.equal_norm)}"
        for c in group
    ]
    places = [(i + 0.5) * side - 0.5 for i in range(len(group))]
    ax.set_xticks(places, texts, fontsize=style.size(5.5))
    ax.set_yticks([])
    ax.tick_params(length=0, pad=1)
    ax.spines[:].set_visible(False)
    return side


def _distortion(d: np.ndarray, reach: float) -> np.ndarray:
    """Return a picture (3,H,W) of d (C,H,W), the mean of its channels: white at 0, red at reach, blue at
    −reach."""
    share = np.nan_to_num(0.5 + 0.5 * d.mean(0) / (reach or 1), nan=0.5)
    return (255 * matplotlib.colormaps["RdBu_r"](share)[..., :3]).round().astype("uint8").transpose(2, 0, 1)


def tile(picture: np.ndarray) -> np.ndarray:
    """Return (C,H,W) uint8 as (H',W',3) with a hairline frame, so that a white picture's edge shows, and a
    gap."""
    channels, height, width = picture.shape
    enlarge = -(-SIDE // max(height, width))
    rgb = np.repeat(picture, 3, axis=0) if channels == 1 else picture[:3]
    rgb = rgb.repeat(enlarge, 1).repeat(enlarge, 2).transpose(1, 2, 0)
    framed = np.pad(rgb, ((1, 1), (1, 1), (0, 0)), constant_values=190)
    gap = max(2, len(framed) // 24)
    return np.pad(framed, ((gap, gap), (gap, gap), (0, 0)), constant_values=255)
