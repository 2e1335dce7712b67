"""Stage: the explorer, one page in which every attack can be looked at.

python -m vaepipe.stages.explore --config config.json [--jobs DIGEST] --robustness robustness.csv
--headline headline.txt --out explorer.html
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from vaepipe.pages import explorer
from vaepipe.pages.explorer import BY_LAMBDA, BY_PAIR, MEGABYTE, STILLS, Source
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5
from vaepipe.storage.tables import read_table
from vaepipe.study.cells import Cell
from vaepipe.study.jobs import Job, of_stage, output, read_jobs
from vaepipe.study.progress import first_paragraph
from vaepipe.study.settings import Plot
from vaepipe.study.study import Study

CELL = tuple(Cell.__dataclass_fields__)
BY_LAMBDA_AND_PAIR = (*BY_LAMBDA, "distortion", "adversarial_reconstruction")


def reasons(path: Path) -> dict[tuple[str, str], str]:
    """Return (name of the cell, loss) → why its attack is too weak, from the table robustness, for those that
    are."""
    table = read_table(path, (*CELL, "loss", "masked")).dropna(subset="masked")
    cells = [Cell(*row) for row in table[list(CELL)].itertuples(index=False)]
    return {(cell.name, loss): why for cell, loss, why in zip(cells, table["loss"], table["masked"])}


def sources(
    listed: Sequence[Job], masked: Mapping[tuple[str, str], str] = MappingProxyType({})
) -> list[Source]:
    """Return all attacks of a study on models at the end of their training.

    Args:
        listed: the study's jobs.
        masked: as `reasons` returns it.
    """
    attacks = []
    for job in of_stage(listed, "attack"):
        cell = job.model
        if cell.snapshot:
            continue
        reason = masked.get((cell.name, job.loss), "")
        measure = output("measure", cell, job.loss)
        attacks.append(Source(cell, job.loss, reason, attack=job.output, measure=measure))
    return attacks


def read(source: Source, pairs: int) -> dict[str, np.ndarray]:
    """Return the arrays that the page needs of one attack, see `vaepipe.pages.explorer.Read`."""
    with open_h5(source.attack, "attack") as attack, open_h5(source.measure, "measure") as measure:
        arrays = {"lambdas": attack["lambdas"][:], "pairs": attack["pairs"][:]}
        for name in BY_LAMBDA_AND_PAIR:
            arrays[name] = (attack if name in attack else measure)[name][:, :pairs]
        for name in (*BY_PAIR, *STILLS):
            arrays[name] = (attack if name in attack else measure)[name][:pairs]
    return arrays


def explore(attacks: Sequence[Source], budget: int, plot: Plot, answer: str = "") -> str:
    """Return the page as HTML.

    Args:
        budget: bytes that the page may have.
        answer: what the study found, in words.

    Raises:
        DataError: nothing was attacked, or the page cannot be made small enough.
    """
    if not attacks:
        raise DataError("the study attacks no model, so there is nothing to explore")
    n_lambdas = n_pairs = 0
    for source in {source.cell.dataset: source for source in attacks}.values():
        with open_h5(source.attack, "attack") as file:
            n_lambdas, n_pairs = max(n_lambdas, len(file["lambdas"])), max(n_pairs, len(file["pairs"]))
    page = explorer.explore(attacks, read, n_lambdas, n_pairs, budget, plot.beta, plot.d_z, answer)
    if page is None:
        size = f"{budget / MEGABYTE:.3g} MB"
        raise DataError(f"explorer: {size} do not hold one pair of the montage's models; allow more")
    return page


def main(argv: list[str] | None = None) -> None:
    """Run the stage with command-line arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.explore", description="Make the page that shows every attack."
    )
    parser.add_argument("--config", required=True, type=Path, help="effective configuration (.json)")
    parser.add_argument("--jobs", default="", help="digest of the study's jobs, to compare with")
    parser.add_argument(
        "--robustness", required=True, type=Path, help="table robustness, for its flags (.csv)"
    )
    parser.add_argument(
        "--headline", type=Path, help="summary of the study, which begins with its answer (.txt)"
    )
    parser.add_argument("--out", required=True, type=Path, help="page to write (.html)")
    args = parser.parse_args(argv)
    attacks = sources(read_jobs(args.config, args.jobs), reasons(args.robustness))
    plot = Study.read(args.config).plot
    answer = first_paragraph(args.headline) if args.headline else ""
    page = explore(attacks, int(plot.explorer_megabytes * MEGABYTE), plot, answer)
    with atomic(args.out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"{args.out}: {args.out.stat().st_size / MEGABYTE:.1f} MB")


if __name__ == "__main__":
    run_stage(main)
