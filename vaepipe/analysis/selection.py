"""Which models a figure shows that has room for a few of them. Imports nothing heavy, as the workflow reads
it."""

from __future__ import annotations

from collections.abc import Iterable

from vaepipe.models.family import find_family
from vaepipe.study.cells import Cell


def nearest(values: Iterable[float], wanted: float) -> float:
    """Return the value nearest to ``wanted``; of two equally near, the smaller."""
    return min(values, key=lambda value: (abs(value - wanted), value))


def representatives(cells: Iterable[Cell], beta: float, d_z: int) -> list[Cell]:
    """Return one cell of each family with posteriors, then all cells of models trained elsewhere.

    A family's cell has the d_z and the β nearest to those given (the VAE has β = 1) and the lowest seed.

    Args:
        cells: of one data set.
    """
    cells = list(cells)
    trained_elsewhere = [cell for cell in cells if not find_family(cell.family).trained_here]
    trained_here = [cell for cell in cells if find_family(cell.family).trained_here]
    if not trained_here:
        return trained_elsewhere
    nearest_d_z = nearest({cell.d_z for cell in trained_here}, d_z)
    families = {cell.family for cell in trained_here if find_family(cell.family).has_width}
    chosen = []
    for family in sorted(families, key=lambda family: find_family(family).order):
        candidates = [cell for cell in trained_here if (cell.family, cell.d_z) == (family, nearest_d_z)]
        if candidates:
            nearest_beta = nearest({cell.beta for cell in candidates}, beta)
            seeds = [cell for cell in candidates if cell.beta == nearest_beta]
            chosen.append(min(seeds, key=lambda cell: cell.seed))
    return chosen + trained_elsewhere
