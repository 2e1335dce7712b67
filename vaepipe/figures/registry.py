"""Figures: one file each, and the registry. Importing this loads no figure's code, and neither matplotlib nor pandas.

A figure's module has ``draw(data, options) -> style.Page``, a matplotlib figure that carries the numbers it shows. It reads what
it draws from a `Data` and writes nothing; the headline has ``text(data, options) -> str`` instead. ``options`` is the section
``plot`` of the config.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from vaepipe.study.grid import Cell


@dataclass
class Data:
    """What figures read: the tables of `vaepipe.stages.collect` as data frames, and (cell, path) of HDF5 files."""

    models: object = None
    images: object = None
    attacks: object = None
    ball: object = None
    robustness: object = None
    arrays: list[tuple[Cell, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """A registry entry.

    ``tables``: which it reads, and the columns it needs beside those of the cell; ``arrays``: kind of the HDF5 files it reads;
    ``keywords`` go to the module's function.
    """

    module: str
    caption: str
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    arrays: str = ""
    function: str = "draw"
    suffixes: tuple[str, ...] = (".pdf", ".png", ".csv")
    keywords: dict = field(default_factory=dict)

    def load(self) -> Callable:
        """The function of (data, options) that makes the figure."""
        module = importlib.import_module(f"vaepipe.figures.{self.module}")
        return partial(getattr(module, self.function), **self.keywords)


TRIAL = ("loss", "lambda", "pair", "objective")
DISTANCES = ("norm", "input_distance", "adversarial_distance", "target_distance", "original_distance")

FIGURES: dict[str, Entry] = {
    "adversarial_loss": Entry(
        "adversarial_loss",
        "Adversarial loss, the mean over pairs, λ and d_z of the value the attack reached, against β; higher is more robust.",
        tables={"attacks": (*TRIAL, "initial_divergence", "norm")},
    ),
    "likelihood": Entry(
        "quality",
        "Log likelihood log p(x|z) of held-out data, z ~ q(z|x), against β.",
        tables={"images": ("image", "log_likelihood")},
        keywords={"column": "log_likelihood", "label": "log p(x|z)"},
    ),
    "elbo": Entry(
        "quality",
        "ELBO of held-out data, taken at β = 1 whatever the model was trained with, against β.",
        tables={"images": ("image", "elbo")},
        keywords={"column": "elbo", "label": "ELBO (at β = 1)"},
    ),
    "sigma_density": Entry(
        "sigma_density",
        "Density over held-out data of ‖σ(x)‖₂, the size of the encoder's noise: how much posteriors can overlap.",
        tables={"images": ("image", "sigma_norm")},
    ),
    "relative_loss": Entry(
        "relative_loss",
        "Adversarial loss as a share of the loss without distortion, Δ / Δ₀, against β; 1: the attack changed nothing.",
        tables={"attacks": (*TRIAL, "initial_divergence", "norm")},
    ),
    "target_nll": Entry(
        "target_nll",
        "Adversarial likelihood −log p(x_t|z*), z* ~ q(z|x + d), against β; higher is more robust.",
        tables={"attacks": (*TRIAL, "target_nll")},
    ),
    "distortion": Entry(
        "distortion",
        "Distortion-distortion curves with their area (AUDDC): distance to the target against ‖d‖₂, both relative.",
        tables={"attacks": (*TRIAL, *DISTANCES)},
    ),
    "success": Entry(
        "success",
        "Share of pairs that were fooled, against the distortion ‖d‖₂ that it took.",
        tables={"attacks": (*TRIAL, *DISTANCES)},
    ),
    "ball": Entry(
        "ball",
        "Attacks of bounded size: divergence that they leave, as a share of that without distortion, against the bound.",
        tables={"ball": ("loss", "ball", "radius", "pair", "divergence", "initial_divergence")},
    ),
    "frontier": Entry(
        "frontier",
        "Robustness (AUDDC) against quality (β = 1 ELBO) for each family; filled points are not beaten in both.",
        tables={"attacks": (*TRIAL, *DISTANCES), "images": ("image", "elbo")},
    ),
    "disentanglement": Entry(
        "disentanglement",
        "Robustness (AUDDC) against disentanglement (MIG), with their rank correlation.",
        tables={"attacks": (*TRIAL, *DISTANCES), "models": ("mig",)},
    ),
    "heatmap": Entry(
        "heatmap",
        "Adversarial loss over the grid, β × d_z, a panel for each family.",
        tables={"attacks": TRIAL},
    ),
    "collapse": Entry(
        "collapse",
        "Diagnostics of the latent space against β: active latents, KL, total correlation, ‖σ‖₂, ‖μ‖₂.",
        tables={"models": ("active_units", "kl", "total_correlation", "sigma_norm", "mean_norm", "state")},
    ),
    "part2": Entry(
        "part2",
        "Seatbelt-VAE against β-TCVAE for every attack: adversarial loss, adversarial likelihood, and β = 1 ELBO.",
        tables={"attacks": (*TRIAL, "target_nll"), "images": ("image", "elbo")},
    ),
    "swissroll": Entry(
        "swissroll",
        "Swiss roll: aggregate posterior q(z) and reconstructions as β grows.",
        arrays="evaluation",
    ),
    "montage": Entry(
        "montage",
        "Attacks in pictures: the first pairs, from the original to the target.",
        arrays="attack",
    ),
    "headline": Entry(
        "headline",
        "The adversarial loss and the ELBO in numbers, with intervals.",
        tables={"attacks": (*TRIAL, "norm", "converged"), "models": ("elbo",)},
        function="text",
        suffixes=(".txt",),
    ),
}


def nearest(values: Iterable[float], wanted: float) -> float:
    """The value nearest to ``wanted``; of two equally near, the smaller."""
    return min(values, key=lambda value: (abs(value - wanted), value))


def chosen(cells: Iterable[Cell], options: Mapping) -> list[Cell]:
    """Of the cells of one data set, one of each family: d_z nearest ``options["d_z"]``, β nearest ``options["beta"]``
    (the VAE is at β = 1), lowest seed. In the order vae, beta-vae, beta-tcvae, seatbelt; then those trained elsewhere."""
    cells, ours = list(cells), ("ae", "vae", "beta-vae", "beta-tcvae", "seatbelt")
    others = [cell for cell in cells if cell.family not in ours]
    cells = [cell for cell in cells if cell.family in ours]
    if not cells:
        return others
    d_z = nearest({cell.d_z for cell in cells}, options["d_z"])
    found = []
    for family in ("vae", "beta-vae", "beta-tcvae", "seatbelt"):
        its = [cell for cell in cells if cell.family == family and cell.d_z == d_z]
        if its:
            beta = nearest({cell.beta for cell in its}, options["beta"])
            found.append(min((cell for cell in its if cell.beta == beta), key=lambda cell: cell.seed))
    return found + others


def cells_for(name: str, dataset: str, cells: Iterable[Cell], options: Mapping) -> list[Cell]:
    """The cells whose HDF5 files a figure reads: evaluations for the swiss roll, attacks for the montage, else none."""
    its = [cell for cell in cells if cell.dataset == dataset]
    if name == "montage":
        return chosen(its, options)
    if name == "swissroll":
        flat = [cell for cell in its if dataset == "swissroll" and cell.d_z == 2]
        return [cell for cell in flat if cell.seed == min(other.seed for other in flat)]
    return []
