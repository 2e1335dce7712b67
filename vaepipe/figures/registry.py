"""Figures by name: the module that draws each, the tables and arrays that it reads. Loads no figure's code.

A figure's module has ``draw(data, options)``. It takes a `vaepipe.figures.data.Data` and the section ``plot``
of the configuration. It returns a `vaepipe.figures.style.Page`, a matplotlib figure that carries the numbers
it shows and its caption, or text. It reads and writes no file.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaepipe.analysis.selection import representatives
from vaepipe.models.family import find_family
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    from vaepipe.figures.data import Data
    from vaepipe.study.settings import Plot

PICTURE = (".pdf", ".png", ".svg", ".csv", ".md", ".txt")
"""Formats of a picture, of its numbers and of its caption."""


@dataclass(frozen=True)
class Entry:
    """What the workflow must know of a figure before it is drawn.

    Attributes:
        module: file below ``vaepipe/figures``, or the path of a user's file, which ends in ``.py``.
        tables: table → columns that the figure needs beside those of the cell.
        arrays: kind of HDF5 file, or "history" of a training, → name of array → its axes; of the axis P only
            the first ``plot.pairs`` are read.
        suffixes: formats that it is written in.
        snapshots: whether the figure shows models in the course of their training too.
        needs: keys of `vaepipe.study.drawings.NEEDS`; a study that lacks one does not draw the figure.
        per_dataset: whether there is one figure for each data set, ``<name>/<dataset>``.
    """

    module: str
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    arrays: dict[str, dict[str, str]] = field(default_factory=dict)
    suffixes: tuple[str, ...] = PICTURE
    snapshots: bool = False
    needs: tuple[str, ...] = ()
    per_dataset: bool = False

    @property
    def is_own(self) -> bool:
        """Whether a user's file draws it."""
        return self.module.endswith(".py")

    def load(self) -> Callable:
        """Return the figure's function of (data, options)."""
        if not self.is_own:
            return importlib.import_module(f"vaepipe.figures.{self.module}").draw
        spec = importlib.util.spec_from_file_location(Path(self.module).stem, self.module)
        if spec is None or spec.loader is None:
            raise ValueError(f"{self.module}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return functools.partial(_drawn_by_user, module)


def _drawn_by_user(module: Any, data: Data, options: Plot) -> Any:
    """Return the figure that a user's module draws, in our style; the module's docstring is its caption."""
    from vaepipe.figures import style
    from vaepipe.figures.captions import Caption

    figure = style.styled(module.draw)(data, options)
    if not hasattr(figure, "caption"):
        title, _, text = (module.__doc__ or module.__name__).strip().partition("\n\n")
        figure.caption = Caption(title.rstrip("."), text)
    return figure


TRIAL = ("loss", "lam", "pair", "objective")
START = (*TRIAL, "initial_divergence", "norm")
DISTANCES = (*TRIAL, "norm", "input_distance", "adversarial_distance", "target_distance", "original_distance")
BALL = ("loss", "ball", "radius", "pair", "divergence", "initial_divergence")
LATENT = ("active_units", "kl", "total_correlation", "sigma_norm", "mean_norm", "state")
START_OF_ATTACKS = ("pair_divergence", "pair_divergence_median", "squared_precision")
ROLL = {"x": "K", "sample": "K", "reconstruction": "K"}
FOUND = {"lambdas": "L", "x": "P", "target": "P", "distortion": "L,P", "norm": "L,P", "objective": "L,P"}
MEASURED = {"adversarial_distance": "L,P", "adversarial_reconstruction": "L,P"}
MEASURED |= {"reconstruction": "P", "target_reconstruction": "P"}
HISTORY = dict.fromkeys(("epoch", "log_likelihood", "kl", "held_out_elbo"), "E")
OF_IMAGES: dict[str, Any] = {"needs": ("images",), "per_dataset": True}
ATTACKS, TARGET = ("attacks",), ("target",)

FIGURES: dict[str, Entry] = {
    "adversarial_loss": Entry("adversarial_loss", {"attacks": START}, needs=ATTACKS),
    "elbo": Entry("elbo", {"images": ("image", "elbo", "log_likelihood", "kl")}),
    "sigma_density": Entry("sigma_density", {"images": ("image", "sigma_norm")}),
    "relative_loss": Entry("relative_loss", {"attacks": START}, needs=TARGET),
    "target_nll": Entry("target_nll", {"attacks": (*TRIAL, "target_nll")}, needs=TARGET),
    "distortion": Entry("distortion", {"attacks": DISTANCES}, needs=TARGET),
    "success": Entry("success", {"attacks": DISTANCES}, needs=TARGET),
    "ball": Entry("ball", {"ball": BALL}, needs=("balls",)),
    "frontier": Entry("frontier", {"attacks": DISTANCES, "images": ("image", "elbo")}, needs=TARGET),
    "disentanglement": Entry(
        "disentanglement", {"attacks": DISTANCES, "models": ("mig",)}, needs=("factors",)
    ),
    "heatmap": Entry("heatmap", {"attacks": TRIAL}, needs=ATTACKS),
    "collapse": Entry("collapse", {"models": LATENT}),
    "part2": Entry(
        "part2",
        {"attacks": (*TRIAL, "target_nll"), "images": ("image", "elbo")},
        needs=("target", "seatbelt"),
    ),
    "precision": Entry("precision", {"models": START_OF_ATTACKS, "dimensions": ("rank", "precision")}),
    "path": Entry(
        "path", {"models": (*START_OF_ATTACKS, "steps", "elbo")}, snapshots=True, needs=("snapshots",)
    ),
    "swissroll": Entry("swissroll", arrays={"evaluation": ROLL}, needs=("swissroll",)),
    "training": Entry("training", arrays={"history": HISTORY}, per_dataset=True),
    "reconstructions": Entry(
        "reconstructions", arrays={"evaluation": {"x": "K", "reconstruction": "K"}}, **OF_IMAGES
    ),
    "samples": Entry("samples", arrays={"evaluation": {"prior_sample": "S"}}, **OF_IMAGES),
    "traversals": Entry(
        "traversals", arrays={"evaluation": {"traversed": "T", "traversal": "T,V"}}, **OF_IMAGES
    ),
    "montage": Entry(
        "montage", arrays={"attack": FOUND, "measure": MEASURED}, needs=ATTACKS, per_dataset=True
    ),
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


def entries(options: Plot) -> dict[str, Entry]:
    """Return the figures of this package and the user's own ones, ``plot.figures``."""
    return FIGURES | {name: own_entry(path) for name, path in options.figures.items()}


def own_entry(path: str) -> Entry:
    """Return the entry of a user's file; its ``TABLES`` are read without running it.

    Raises:
        ValueError: one line that says what is wrong with the file.
    """
    try:
        statements = ast.parse(Path(path).read_text(encoding="utf-8")).body
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a Python file: {error}") from error
    if not any(isinstance(part, ast.FunctionDef) and part.name == "draw" for part in statements):
        raise ValueError(f"{path}: needs a function draw(data, options)")
    for part in statements:
        if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "TABLES":
            try:
                tables = {table: tuple(columns) for table, columns in ast.literal_eval(part.value).items()}
            except (ValueError, AttributeError, TypeError) as error:
                raise ValueError(f'{path}: TABLES must be such as {{"attacks": ("loss", "norm")}}') from error
            return Entry(path, tables)
    raise ValueError(f'{path}: needs TABLES = {{"attacks": ("loss", "norm")}}, tables and their columns')


def cells_for(name: str, dataset: str, cells: Iterable[Cell], options: Plot) -> list[Cell]:
    """Return the cells of a data set whose arrays a figure shows; none for a figure that shows none.

    For the figure swissroll, the caller names a data set of the kind swissroll.
    """
    cells = [cell for cell in cells if cell.dataset == dataset]
    if name == "swissroll":
        flat = [cell for cell in cells if cell.d_z == 2]
        return [cell for cell in flat if cell.seed == min(other.seed for other in flat)]
    if name in FIGURES and FIGURES[name].arrays:
        shown = representatives(cells, options.beta, options.d_z)
        in_history = "history" in FIGURES[name].arrays
        return [cell for cell in shown if find_family(cell.family).trained_here or not in_history]
    return []
