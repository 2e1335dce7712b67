"""Figures by name: the module that draws each, the tables and arrays that it reads. Loads no figure's code.

A figure's module has ``draw(data, options)`` and, if it is a picture, its ``CAPTION``. ``draw`` takes a
`vaepipe.figures.data.Data` and the section ``plot`` of the configuration. It returns a
`vaepipe.figures.style.Page`, a matplotlib figure that carries the numbers it shows, or text. It reads and
writes no file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vaepipe.analysis.selection import representatives
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot


@dataclass(frozen=True)
class Entry:
    """What the workflow must know of a figure before it is drawn.

    Attributes:
        module: file below ``vaepipe/figures``.
        tables: table → columns that the figure needs beside those of the cell.
        arrays: kind of HDF5 file → name of array → its axes; of the axis P only the first ``plot.pairs`` are
            read.
        suffixes: formats that it is written in.
        snapshots: whether the figure shows models in the course of their training too.
    """

    module: str
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    arrays: dict[str, dict[str, str]] = field(default_factory=dict)
    suffixes: tuple[str, ...] = (".pdf", ".png", ".csv")
    snapshots: bool = False

    def load(self) -> Callable:
        """Return the figure's function of (data, options)."""
        return importlib.import_module(f"vaepipe.figures.{self.module}").draw


TRIAL = ("loss", "lambda", "pair", "objective")
START = (*TRIAL, "initial_divergence", "norm")
DISTANCES = (*TRIAL, "norm", "input_distance", "adversarial_distance", "target_distance", "original_distance")
BALL = ("loss", "ball", "radius", "pair", "divergence", "initial_divergence")
LATENT = ("active_units", "kl", "total_correlation", "sigma_norm", "mean_norm", "state")
START_OF_ATTACKS = ("pair_divergence", "pair_divergence_median", "squared_precision")
ROLL = {"x": "K", "sample": "K", "reconstruction": "K"}
FOUND = {"lambdas": "L", "x": "P", "target": "P", "distortion": "L,P", "norm": "L,P", "objective": "L,P"}
MEASURED = {"adversarial_distance": "L,P", "adversarial_reconstruction": "L,P"}
MEASURED |= {"reconstruction": "P", "target_reconstruction": "P"}

FIGURES: dict[str, Entry] = {
    "adversarial_loss": Entry("adversarial_loss", {"attacks": START}),
    "likelihood": Entry("likelihood", {"images": ("image", "log_likelihood")}),
    "elbo": Entry("elbo", {"images": ("image", "elbo")}),
    "sigma_density": Entry("sigma_density", {"images": ("image", "sigma_norm")}),
    "relative_loss": Entry("relative_loss", {"attacks": START}),
    "target_nll": Entry("target_nll", {"attacks": (*TRIAL, "target_nll")}),
    "distortion": Entry("distortion", {"attacks": DISTANCES}),
    "success": Entry("success", {"attacks": DISTANCES}),
    "ball": Entry("ball", {"ball": BALL}),
    "frontier": Entry("frontier", {"attacks": DISTANCES, "images": ("image", "elbo")}),
    "disentanglement": Entry("disentanglement", {"attacks": DISTANCES, "models": ("mig",)}),
    "heatmap": Entry("heatmap", {"attacks": TRIAL}),
    "collapse": Entry("collapse", {"models": LATENT}),
    "part2": Entry("part2", {"attacks": (*TRIAL, "target_nll"), "images": ("image", "elbo")}),
    "precision": Entry("precision", {"models": START_OF_ATTACKS, "dimensions": ("rank", "precision")}),
    "path": Entry("path", {"models": (*START_OF_ATTACKS, "steps", "elbo")}, snapshots=True),
    "swissroll": Entry("swissroll", arrays={"evaluation": ROLL}),
    "montage": Entry("montage", arrays={"attack": FOUND, "measure": MEASURED}),
    "headline": Entry(
        "headline",
        {
            "attacks": (*DISTANCES, "converged"),
            "models": ("elbo", "pair_divergence", "squared_precision"),
            "robustness": ("loss", "noise_gain", "masked"),
        },
        suffixes=(".txt",),
    ),
}


def cells_for(name: str, dataset: str, cells: Iterable[Cell], options: Plot) -> list[Cell]:
    """Return the cells of a data set whose arrays a figure shows; none for a figure that shows none.

    For the figure swissroll, the caller names a data set of the kind swissroll.
    """
    cells = [cell for cell in cells if cell.dataset == dataset]
    if name == "montage":
        return representatives(cells, options.beta, options.d_z)
    if name == "swissroll":
        flat = [cell for cell in cells if cell.d_z == 2]
        return [cell for cell in flat if cell.seed == min(other.seed for other in flat)]
    return []
