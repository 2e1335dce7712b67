"""The figures that a study has data for, and the models whose arrays they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.figures import registry
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    from vaepipe.study.study import Study


def attacked_datasets(study: Study) -> list[str]:
    """Return the data sets with attacks at all λ."""
    return list(dict.fromkeys(cell.dataset for cell, _ in study.attacks()))


def figure_names(study: Study) -> list[str]:
    """Return the names of all figures, those of one data set as ``montage/<dataset>``."""
    pictures = {name: entry for name, entry in registry.FIGURES.items() if ".png" in entry.suffixes}
    names = [name for name, entry in pictures.items() if entry.tables and _has_data(study, entry)]
    names += ["swissroll"] if swissroll_cells(study) else []
    return names + [f"montage/{dataset}" for dataset in attacked_datasets(study)]


def figure_cells(study: Study, figure: str, dataset: str) -> list[Cell]:
    """Return the models of one data set whose arrays a figure shows."""
    cells = [cell for cell in study.cells if cell.dataset == dataset]
    return registry.cells_for(figure, dataset, cells, study.plot)


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


def _has_data(study: Study, entry: registry.Entry) -> bool:
    """Return whether the tables that a figure reads have the rows that it shows."""
    needed = {
        "attacks": bool(study.attacks()),
        "ball": bool(study.balls()),
        "snapshots": len(study.all_cells) > len(study.cells),
    }
    wanted = [*entry.tables, *(["snapshots"] if entry.snapshots else [])]
    return all(needed.get(name, True) for name in wanted)
