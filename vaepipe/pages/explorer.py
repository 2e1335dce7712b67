"""The explorer: one page that shows every attack, kept within a size by leaving pictures out."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaepipe import pages
from vaepipe.analysis.selection import representatives
from vaepipe.analysis.trials import best_lambda
from vaepipe.attacks.loss import find_loss
from vaepipe.models.family import find_family
from vaepipe.study.cells import Cell

BY_LAMBDA = (
    "objective",
    "divergence",
    "norm",
    "initial_divergence",
    "adversarial_distance",
    "target_nll",
    "converged",
)
"""Arrays (L, P) whose numbers the page shows."""
BY_PAIR = ("target_distance", "original_distance", "input_distance")
"""Arrays (P,) whose numbers the page shows."""
STILLS = ("x", "reconstruction", "target_reconstruction", "target")
"""Pictures (P, C, H, W) that do not depend on λ."""
FEWEST_LAMBDAS = 5
MEGABYTE = 2**20


@dataclass(frozen=True)
class Source:
    """The attacks on one model with one loss, their files, and why their checks call them too weak."""

    cell: Cell
    loss: str
    masked: str = ""
    attack: str = ""
    measure: str = ""


Read = Callable[[Source, int], Mapping[str, np.ndarray]]
"""(source, number of pairs) → ``lambdas`` (L,), ``pairs`` (P, 2) and, of the first pairs, `BY_LAMBDA`,
`BY_PAIR`, `STILLS`, ``distortion`` and ``adversarial_reconstruction`` (L, pairs, C, H, W)."""


@dataclass(frozen=True)
class Level:
    """How much of the pictures is kept: of which models, the first of how many pairs, every how many-th λ."""

    sources: tuple[Source, ...]
    pairs: int
    step: int


def shown(n_lambdas: int, step: int) -> list[int]:
    """Return the rows of the λ whose pictures are kept: every ``step``-th, and the last."""
    return [*range(0, n_lambdas - 1, step), n_lambdas - 1]


def shown_first(cells: Sequence[Cell], beta: float, d_z: int) -> list[Cell]:
    """Return the models of the montage; where it has none, the first one."""
    return representatives(cells, beta, d_z) or list(cells[:1])


def levels(sources: Sequence[Source], n_lambdas: int, n_pairs: int, beta: float, d_z: int) -> Iterator[Level]:
    """Yield ever fewer pictures.

    By turns every second λ (not below `FEWEST_LAMBDAS`) and half of the pairs, down to one pair; then only
    the lowest training seed; then only the models of the montage, which are those nearest to ``beta`` and
    ``d_z``.

    Args:
        n_lambdas, n_pairs: of the data set that has most.
    """
    step, pairs = 1, n_pairs
    yield Level(tuple(sources), pairs, step)
    turn = 0
    while pairs > 1 or len(shown(n_lambdas, 2 * step)) >= FEWEST_LAMBDAS:
        if turn % 2 == 0 and len(shown(n_lambdas, 2 * step)) >= FEWEST_LAMBDAS:
            step *= 2
            yield Level(tuple(sources), pairs, step)
        elif turn % 2 and pairs > 1:
            pairs = -(-pairs // 2)
            yield Level(tuple(sources), pairs, step)
        turn += 1
    lowest = min(source.cell.seed for source in sources)
    of_seed = tuple(source for source in sources if source.cell.seed == lowest)
    yield Level(of_seed, pairs, step)
    picked: set[Cell] = set()
    for dataset in dict.fromkeys(source.cell.dataset for source in of_seed):
        cells = [source.cell for source in of_seed if source.cell.dataset == dataset]
        picked |= set(shown_first(cells, beta, d_z))
    yield Level(tuple(source for source in of_seed if source.cell in picked), pairs, step)


# --- one model ----------------------------------------------------------------------------------------


def pictures(arrays: Mapping[str, np.ndarray], rows: Sequence[int]) -> list[bytes]:
    """Return for each pair a compressed (Q, C, H, W) of bytes.

    It holds the four of `STILLS`; for each λ of ``rows`` the distortion, as round(127 d / max|d|) + 128; for
    each of them the adversarial reconstruction.
    """
    stills = np.stack([arrays[name] for name in STILLS], 1)  # P, 4, C, H, W
    distortion = arrays["distortion"][list(rows)]  # L, P, C, H, W
    scaled = distortion / np.maximum(reach(distortion), np.finfo(np.float32).tiny)[..., None, None, None]
    scaled = (np.nan_to_num(scaled) * 127 + 128).round().astype("uint8")
    decoded = arrays["adversarial_reconstruction"][list(rows)]
    packed = []
    for p, still in enumerate(stills):
        content = np.concatenate([still, scaled[:, p], decoded[:, p]])
        packed.append(zlib.compress(content.tobytes(), 9))
    return packed


def reach(distortion: np.ndarray) -> np.ndarray:
    """Return max|d| over the pixels of each distortion, (L, P); 0 where it is not finite."""
    return np.nan_to_num(np.abs(distortion)).max(axis=(2, 3, 4))


def numbers(arrays: Mapping[str, np.ndarray]) -> dict[str, list]:
    """Return what the page shows of each (λ, pair) and of each pair, with six digits; not finite is null."""
    shown_numbers = {name: digits(arrays[name]) for name in (*BY_LAMBDA, *BY_PAIR)}
    return shown_numbers | {"reach": digits(reach(arrays["distortion"]))}


def digits(values: np.ndarray) -> list:
    """Return numbers as nested lists with six digits; what is not finite is None."""
    if values.ndim > 1:
        return [digits(row) for row in values]
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.astype(float).tolist()]


def entry(source: Source, arrays: Mapping[str, np.ndarray], step: int) -> dict:
    """Return all that the page holds of one model and loss.

    Args:
        arrays: as `Read` returns them.
        step: every how many-th λ has pictures.
    """
    family, loss = find_family(source.cell.family), find_loss(source.loss)
    rows = shown(len(arrays["lambdas"]), step)
    kept = len(arrays["x"])
    facts: dict[str, Any] = {"name": family.label, "colour": family.colour}
    facts |= {"loss": source.loss, "title": loss.title, "unit": loss.unit, "file": source.attack}
    facts |= {"masked": source.masked, "shape": arrays["x"].shape[1:]}
    facts |= {"lambdas": digits(arrays["lambdas"]), "shown": rows, "of_pairs": len(arrays["pairs"])}
    facts |= {"montage": [best_lambda(distance) for distance in arrays["adversarial_distance"].T]}
    facts |= {**numbers(arrays), "pairs": arrays["pairs"][:kept].tolist()}
    packed = [base64.b64encode(content).decode() for content in pictures(arrays, rows)]
    return {**vars(source.cell), **facts, "packed": packed}


# --- the page -----------------------------------------------------------------------------------------


def render(level: Level, entries: list[dict], rule: str, start: Cell, answer: str) -> str:
    """Return the page as HTML.

    Args:
        entries: of the level's sources.
        rule: what was left out, in words.
        start: the model that is shown first.
        answer: what the study found, in words.
    """
    data = {"entries": entries, "rule": rule, "start": vars(start), "black": find_family("vae").colour}
    study = ", ".join(dict.fromkeys(source.cell.dataset for source in level.sources))
    return _page(pages.inert(data), study, answer)


def _page(data: str, study: str, answer: str) -> str:
    return pages.render("explorer.html", data=data, plotly=pages.plotly(), study=study, answer=answer)


def explore(
    sources: Sequence[Source],
    read: Read,
    n_lambdas: int,
    n_pairs: int,
    budget: int,
    beta: float,
    d_z: int,
    answer: str = "",
) -> str | None:
    """Return the page as HTML, or None if not even the last of `levels` is small enough.

    Args:
        sources: at least one.
        n_lambdas, n_pairs: of the data set that has most.
        budget: bytes that the page may have.
        beta, d_z: of the models that are shown first, and kept last.
        answer: what the study found, in words.
    """
    frame = len(_page("", "", answer).encode())
    for level in levels(sources, n_lambdas, n_pairs, beta, d_z):
        entries = _entries(level, read, budget - frame)
        if entries is not None:
            rule = left_out(level, len(sources), n_lambdas, n_pairs)
            dataset = sources[0].cell.dataset
            cells = [source.cell for source in level.sources if source.cell.dataset == dataset]
            return render(level, entries, rule, shown_first(cells, beta, d_z)[-1], answer)
    return None


def _entries(level: Level, read: Read, budget: float) -> list[dict] | None:
    """Return the entries of a level, or None as soon as they are seen not to fit."""
    entries, size = {}, 0
    for source in _spread(level.sources):
        entries[source] = entry(source, read(source, level.pairs), level.step)
        size += len(json.dumps(entries[source]))
        complete = len(entries) == len(level.sources)
        if size / len(entries) * len(level.sources) > budget * (1 if complete else 1.5):
            return None
    return [entries[source] for source in level.sources]


def _spread(items: Sequence[Source]) -> list[Source]:
    """Return the items in an order in which the first ones come from all parts of the list, so that their
    mean is typical."""
    return [items[i] for i in sorted(range(len(items)), key=lambda i: i * 0.618034 % 1)]


def left_out(level: Level, n_sources: int, n_lambdas: int, n_pairs: int) -> str:
    """Return what a level leaves out, in words; nothing if it leaves out nothing."""
    parts = []
    if level.pairs < n_pairs:
        parts.append(f"the first {level.pairs} of {n_pairs} pairs")
    if level.step > 1:
        parts.append(f"pictures of {len(shown(n_lambdas, level.step))} of {n_lambdas} λ")
    if len(level.sources) < n_sources:
        parts.append(f"{len(level.sources)} of {n_sources} attacked models")
    return "To keep the page small it holds " + ", ".join(parts) + "." if parts else ""
