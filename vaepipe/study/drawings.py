"""The figures that a study has data for, the models whose arrays they show, and what the others need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vaepipe.attacks.loss import find_loss
from vaepipe.datasets.registry import DATASETS
from vaepipe.figures import registry
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    from vaepipe.study.study import Study


def attacked_datasets(study: Study) -> list[str]:
    """Return the data sets with attacks at all λ."""
    return list(dict.fromkeys(cell.dataset for cell, _ in study.attacks()))


def _has_target(study: Study) -> bool:
    return any(find_loss(loss).has_target for _, loss in study.attacks())


def _may_have_factors(study: Study) -> bool:
    """Return whether an attacked data set has factors; of the user's own files that is not known."""
    kinds = [DATASETS[study.settings[name].kind] for name in attacked_datasets(study)]
    return _has_target(study) and any(kind.factors or kind.own for kind in kinds)


NEEDS: dict[str, tuple[Callable[[Study], bool], str]] = {
    "attacks": (
        lambda study: bool(study.attacks()),
        "an attack on a data set of images (`attack.losses`)",
    ),
    "target": (_has_target, "an attack that has a target, such as latent-kl in `attack.losses`"),
    "balls": (
        lambda study: bool(study.balls()),
        "attacks of bounded size, such as `ball: {losses: [latent-kl]}`",
    ),
    "factors": (
        _may_have_factors,
        "attacks on a data set whose factors are known, such as `study: [sprites]`",
    ),
    "seatbelt": (
        lambda study: any(cell.family == "seatbelt" for cell in study.cells),
        "a Seatbelt-VAE: `grid: {families: [beta-tcvae, seatbelt]}`",
    ),
    "swissroll": (
        lambda study: bool(swissroll_cells(study)),
        "the data set swissroll with d_z = 2",
    ),
    "snapshots": (
        lambda study: len(study.all_cells) > len(study.cells),
        "models kept in the course of training, such as `train: {snapshots: [100, 1000]}`",
    ),
    "images": (lambda study: bool(image_datasets(study)), "a data set of images"),
}
"""What a figure may need: whether a study has it, and how to get it."""


def absent_figures(study: Study) -> dict[str, str]:
    """Return the figures that a study cannot fill, and what each needs."""
    absent = {}
    for name, entry in registry.entries(study.plot).items():
        missing = [NEEDS[need][1] for need in entry.needs if not NEEDS[need][0](study)]
        if missing:
            absent[name] = " and ".join(missing)
    return absent


def figure_names(study: Study) -> list[str]:
    """Return the names of all figures, those of one data set as ``montage/<dataset>``."""
    absent, names = absent_figures(study), []
    for name, entry in registry.entries(study.plot).items():
        if ".png" not in entry.suffixes or name in absent:
            continue
        if entry.per_dataset:
            names += [f"{name}/{dataset}" for dataset in datasets_of(study, name, entry)]
        else:
            names.append(name)
    return names


def datasets_of(study: Study, name: str, entry: registry.Entry) -> list[str]:
    """Return the data sets that a figure of one data set is made for."""
    if "attack" in entry.arrays:
        return attacked_datasets(study)
    datasets = image_datasets(study) if "images" in entry.needs else study.names
    return [dataset for dataset in datasets if figure_cells(study, name, dataset)]


def image_datasets(study: Study) -> list[str]:
    """Return the data sets of images."""
    return [name for name in study.names if DATASETS[study.settings[name].kind].images]


def figure_cells(study: Study, figure: str, dataset: str) -> list[Cell]:
    """Return the models of one data set whose arrays a figure shows."""
    cells = [cell for cell in study.cells if cell.dataset == dataset]
    return registry.cells_for(figure, dataset, cells, study.plot)


def array_cells(study: Study, figure: str, dataset: str = "") -> list[Cell]:
    """Return the models whose evaluations a figure shows."""
    return swissroll_cells(study) if figure == "swissroll" else figure_cells(study, figure, dataset)


def swissroll_cells(study: Study) -> list[Cell]:
    """Return the models that the figure swissroll shows: of the first data set of that kind that has any."""
    for dataset in study.names:
        cells = figure_cells(study, "swissroll", dataset)
        if study.settings[dataset].kind == "swissroll" and cells:
            return cells
    return []


def swissroll_dataset(study: Study) -> str:
    """Return the name of the data set that the figure swissroll shows; empty without one."""
    cells = swissroll_cells(study)
    return cells[0].dataset if cells else ""


def montage_attacks(study: Study, dataset: str) -> list[tuple[Cell, str]]:
    """Return (model, loss) of the attacks in a data set's montage: each model's first loss."""
    cells = figure_cells(study, "montage", dataset)
    return [(cell, loss) for cell in cells for loss in study.losses(cell)[:1]]
