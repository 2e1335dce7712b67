"""Stage: the explorer, one page in which every attack can be looked at.

python -m vaepipe.stages.explore --spec JSON --robustness robustness.csv --out explorer.html
"""

from __future__ import annotations

import argparse
import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np

from vaepipe import pages
from vaepipe.figures.montage import best_lambda
from vaepipe.figures.registry import chosen
from vaepipe.figures.style import COLOURS, NAMES
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5
from vaepipe.storage.tables import read_table
from vaepipe.study import grid
from vaepipe.study.grid import Cell

BY_LAMBDA = ("objective", "divergence", "norm", "initial_divergence", "adversarial_distance", "target_nll", "converged")
BY_PAIR = ("target_distance", "original_distance", "input_distance")
STILLS = ("x", "reconstruction", "target_reconstruction", "target")
FEWEST_LAMBDAS = 5
MEGABYTE = 2**20


@dataclass(frozen=True)
class Source:
    """The attacks on one model with one loss, the file they are in, and why they are too weak, if their checks say so."""

    cell: Cell
    loss: str
    masked: str = ""

    @property
    def path(self) -> str:
        return self.cell.attack(self.loss)


@dataclass(frozen=True)
class Level:
    """How much of the pictures is kept: of which models, the first of how many pairs, every how many-th λ."""

    sources: tuple[Source, ...]
    pairs: int
    step: int


def reasons(path: Path) -> dict[tuple[str, str], str]:
    """(name of the cell, loss) → why its attacks are too weak, of the table robustness; those that are not are left out."""
    table = read_table(path, (*Cell.__dataclass_fields__, "loss", "masked")).dropna(subset="masked")
    cells = (Cell(*row) for row in table[list(Cell.__dataclass_fields__)].itertuples(index=False))
    return {(cell.name, loss): why for cell, loss, why in zip(cells, table["loss"], table["masked"])}


def sources(study: dict, masked: Mapping[tuple[str, str], str] = MappingProxyType({})) -> list[Source]:
    """All attacks of a study, as `vaepipe.study.config.Study.collect_spec` gives it; ``masked`` as `reasons` gives it."""
    return [
        Source(cell, loss, masked.get((cell.name, loss), ""))
        for dataset, spec in study.items()
        for cell in [*grid.cells(dataset, spec["grid"]), *grid.external(dataset, spec["external"])]
        for loss in grid.losses(cell, spec["losses"], spec["external"])
    ]


def shown(L: int, step: int) -> list[int]:
    """Rows of the λ whose pictures are kept: every ``step``-th, and the last."""
    return [*range(0, L - 1, step), L - 1]


def shown_first(cells: list[Cell], plot: dict) -> list[Cell]:
    """The models of the montage; where it has none, the first one."""
    return chosen(cells, plot) or cells[:1]


def levels(all_: list[Source], L: int, P: int, plot: dict) -> Iterator[Level]:
    """Ever fewer pictures: by turns every second λ (not below `FEWEST_LAMBDAS`) and half of the pairs, down to one pair;
    then only the lowest training seed; then only the models of the montage.

    Args:
        L, P: number of λ and of pairs, of the data set that has most.
    """
    step, pairs = 1, P
    yield Level(tuple(all_), pairs, step)
    turn = 0
    while pairs > 1 or len(shown(L, 2 * step)) >= FEWEST_LAMBDAS:
        if turn % 2 == 0 and len(shown(L, 2 * step)) >= FEWEST_LAMBDAS:
            step *= 2
            yield Level(tuple(all_), pairs, step)
        elif turn % 2 and pairs > 1:
            pairs = -(-pairs // 2)
            yield Level(tuple(all_), pairs, step)
        turn += 1
    lowest = min(source.cell.seed for source in all_)
    of_seed = tuple(source for source in all_ if source.cell.seed == lowest)
    yield Level(of_seed, pairs, step)
    datasets = dict.fromkeys(source.cell.dataset for source in of_seed)
    picked = {c for name in datasets for c in shown_first([s.cell for s in of_seed if s.cell.dataset == name], plot)}
    yield Level(tuple(source for source in of_seed if source.cell in picked), pairs, step)


# --- one model -----------------------------------------------------------------------------------------------------------


def pictures(file: h5py.File, pairs: int, rows: list[int]) -> list[bytes]:
    """For each pair a compressed (Q, C, H, W) of bytes: the four of `STILLS`; for each λ of ``rows`` the distortion, as
    round(127 d / max|d|) + 128; for each of them the adversarial reconstruction."""
    stills = np.stack([file[name][:pairs] for name in STILLS], 1)  # P, 4, C, H, W
    distortion = file["distortion"][rows, :pairs]  # L, P, C, H, W
    scaled = distortion / np.maximum(reach(distortion), np.finfo(np.float32).tiny)[..., None, None, None]
    scaled = (np.nan_to_num(scaled) * 127 + 128).round().astype("uint8")
    decoded = file["adversarial_reconstruction"][rows, :pairs]
    return [zlib.compress(np.concatenate([stills[p], scaled[:, p], decoded[:, p]]).tobytes(), 9) for p in range(len(stills))]


def reach(distortion: np.ndarray) -> np.ndarray:
    """max|d| over the pixels of each distortion, (L, P); 0 where it is not finite."""
    return np.nan_to_num(np.abs(distortion)).max(axis=(2, 3, 4))


def numbers(file: h5py.File, pairs: int) -> dict:
    """What is said of each (λ, pair) and of each pair, with six digits; not finite is null."""
    found = {name: _digits(file[name][:, :pairs]) for name in BY_LAMBDA}
    found |= {name: _digits(file[name][:pairs]) for name in BY_PAIR}
    found["reach"] = _digits(reach(file["distortion"][:, :pairs]))
    return found | {"pairs": file["pairs"][:pairs].tolist()}


def _digits(values: np.ndarray) -> list:
    if values.ndim > 1:
        return [_digits(row) for row in values]
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.astype(float).tolist()]


def entry(source: Source, pairs: int, step: int) -> dict:
    """All that the page holds of one model and loss."""
    cell = source.cell
    with open_h5(source.path, "attack") as file:
        rows = shown(len(file["lambdas"]), step)
        distance = file["adversarial_distance"][:]
        found = {
            **vars(cell),
            "name": NAMES[cell.family],
            "colour": COLOURS[cell.family],
            "loss": source.loss,
            "masked": source.masked,
            "shape": file["x"].shape[1:],
        }
        found |= {"lambdas": _digits(file["lambdas"][:]), "shown": rows, "of_pairs": distance.shape[1]}
        found |= {"montage": [best_lambda(column) for column in distance.T[:pairs]], **numbers(file, pairs)}
        packed = [base64.b64encode(data).decode() for data in pictures(file, pairs, rows)]
    return found | {"packed": packed}


# --- the page --------------------------------------------------------------------------------------------------------------


def explore(spec: dict, budget: int, masked: Mapping[tuple[str, str], str] = MappingProxyType({})) -> str:
    """The page as HTML.

    Args:
        spec: study (as `vaepipe.study.config.Study.collect_spec` gives it) and plot (the config's section).
        budget: bytes that the page may have.
        masked: as `reasons` gives it.

    Raises:
        DataError: nothing was attacked, or the page cannot be made small enough.
    """
    all_ = sources(spec["study"], masked)
    if not all_:
        raise DataError("the study attacks no model, so there is nothing to explore")
    L = P = 0
    for source in {source.cell.dataset: source for source in all_}.values():
        with open_h5(source.path, "attack") as file:
            L, P = max(L, len(file["lambdas"])), max(P, len(file["pairs"]))
    frame = len(pages.render("explorer.html", data="", plotly=pages.plotly(), study="").encode())
    for level in levels(all_, L, P, spec["plot"]):
        made = _entries(level, budget - frame)
        if made is not None:
            rule = _rule(level, len(all_), L, P)
            first = [source.cell for source in level.sources if source.cell.dataset == all_[0].cell.dataset]
            data = {"entries": made, "rule": rule, "start": vars(shown_first(first, spec["plot"])[-1])}
            study = ", ".join(dict.fromkeys(source.cell.dataset for source in all_))
            return pages.render("explorer.html", data=pages.inert(data), plotly=pages.plotly(), study=study)
    raise DataError(f"explorer: {budget / MEGABYTE:.3g} MB do not hold one pair of the montage's models; allow more")


def _entries(level: Level, budget: float) -> list[dict] | None:
    """The entries of a level, or None as soon as they are seen not to fit."""
    found, size = [], 0
    for source in _spread(level.sources):
        found.append((source, entry(source, level.pairs, level.step)))
        size += len(json.dumps(found[-1][1]))
        if size / len(found) * len(level.sources) > budget * (1 if len(found) == len(level.sources) else 1.5):
            return None
    order = {source: i for i, source in enumerate(level.sources)}
    return [made for _, made in sorted(found, key=lambda pair: order[pair[0]])]


def _spread(items: Sequence[Source]) -> list[Source]:
    """The same items in an order in which the first ones come from all parts of the list and so foretell the mean of all."""
    return [items[i] for i in sorted(range(len(items)), key=lambda i: i * 0.618034 % 1)]


def _rule(level: Level, models: int, L: int, P: int) -> str:
    """What was left out, in words; nothing if nothing was."""
    left = []
    if level.pairs < P:
        left.append(f"the first {level.pairs} of {P} pairs")
    if level.step > 1:
        left.append(f"pictures of {len(shown(L, level.step))} of {L} λ")
    if len(level.sources) < models:
        left.append(f"{len(level.sources)} of {models} attacked models")
    return "To keep the page small it holds " + ", ".join(left) + "." if left else ""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.explore", description="Make the page that shows every attack."
    )
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: study (data set → grid, losses), plot")
    parser.add_argument("--robustness", required=True, type=Path, help="table robustness, whose flags the page says (.csv)")
    parser.add_argument("--out", required=True, type=Path, help="page to write (.html)")
    args = parser.parse_args(argv)
    page = explore(args.spec, int(args.spec["plot"]["explorer_megabytes"] * MEGABYTE), reasons(args.robustness))
    with atomic(args.out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"{args.out}: {args.out.stat().st_size / MEGABYTE:.1f} MB")


if __name__ == "__main__":
    run_stage(main)
