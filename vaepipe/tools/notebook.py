"""A figure of a study that was run, for a notebook: `vaepipe.figures.draw`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vaepipe.figures.registry import entries
from vaepipe.stages import plot
from vaepipe.storage.errors import DataError
from vaepipe.study import drawings, jobs
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.patterns import STAGES
from vaepipe.study.settings import Plot
from vaepipe.study.specs import FigureSpec, first_mistake
from vaepipe.study.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(name: str, tables: Path, options: Mapping[str, Any]) -> Figure:
    """Return a figure; arguments and errors as of `vaepipe.figures.draw`."""
    config = tables.parent / "config.json"
    try:
        study = Study.read(config) if config.exists() else None
        settings = study.plot if study else Plot()
        settings = Plot.model_validate({**settings.model_dump(), **options})
    except ConfigError as error:
        raise DataError(str(error)) from error
    except ValidationError as error:
        raise DataError(first_mistake(error)) from error
    known, (short, _, dataset) = entries(settings), name.partition("/")
    if short not in known:
        raise DataError(f"{name}: no such figure; there are {', '.join(known)}")
    entry = known[short]
    paths = {key: tables / Path(path).name for key, path in STAGES["collect"].outputs.items()}
    if not entry.arrays:
        spec = study.figure_spec() if study else FigureSpec(plot=settings)
        return entry.load()(plot.read(entry, spec, paths, []), settings)
    if study is None:
        raise DataError(f"{config}: no such file; the figure {short} finds its arrays by it")
    spec, files = _arrays(study, short, dataset, tables.parent.parent)
    spec = spec.model_copy(update={"plot": settings})
    return entry.load()(plot.read(entry, spec, paths, *files), settings)


def _arrays(study: Study, name: str, dataset: str, folder: Path) -> tuple[FigureSpec, list[list[str]]]:
    """Return the spec of a figure with arrays, and the files of its arrays, measures and balls."""
    if name == "montage":
        attacks = drawings.montage_attacks(study, dataset)
        cells = [cell for cell, _ in attacks]
        files = [
            [jobs.output(stage, *attack) for attack in attacks] for stage in ("attack", "measure", "ball")
        ]
    else:
        cells = drawings.array_cells(study, name, dataset)
        stage, key = ("train", "history") if name == "training" else ("evaluate", "evaluation")
        files = [[jobs.Job(stage, cell.dataset, cell).outputs[key] for cell in cells], [], []]
    if not cells:
        raise DataError(f"{name}/{dataset}: the study has no such figure")
    files = [[str(folder / path) for path in paths if (folder / path).exists()] for paths in files]
    return study.figure_spec(cells, {cell.dataset for cell in cells}), files
