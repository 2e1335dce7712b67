"""The models that come with vaepipe: list them, or put those of a study into the package.

    vaepipe zoo
    vaepipe zoo --make FOLDER

`scripts/make-zoo` trains them and calls the second form. ``zoo:digits-vae`` of `vaepipe audit` is the entry
``vaepipe.tools.zoo:digits_vae`` of the section ``external``.
"""

from __future__ import annotations

import argparse
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vaepipe.storage.digests import file_digest
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.tables import read_table, write_table
from vaepipe.study.cells import Cell, token
from vaepipe.study.jobs import weights

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.interface import Model

FOLDER = Path(__file__).parent.parent / "zoo"
TABLE = FOLDER / "zoo.csv"
MEASURED = ("elbo", "elbo_se", "images")


def models() -> pd.DataFrame:
    """Return one row per model: name, data set, family, β, d_z, seed, held-out ELBO, bytes and SHA-256."""
    return read_table(TABLE)


def find(name: str) -> Path:
    """Return the weights of the model of that name.

    Raises:
        DataError: there is no such model, or its file is not the one that was recorded.
    """
    table = models().set_index("name")
    if name not in table.index:
        raise DataError(f"zoo:{name}: no such model; expected one of {', '.join(table.index)}")
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file() or file_digest(path) != table.loc[name, "sha256"]:
        raise DataError(f"{path}: not the file that {TABLE.name} names; install vaepipe again")
    return path


def load(name: str) -> Model:
    """Return a model of the zoo, in eval mode and without gradients; it takes images in [0,1].

    Raises:
        DataError: as `find`.
    """
    from vaepipe.stages.trained_model import read_trained_model

    return read_trained_model(find(name))[0]


def __getattr__(name: str) -> Callable[[dict[str, Tensor]], Any]:
    """Return the entry point of a model: a function of weights, which are those of the zoo."""
    if name.startswith("_"):
        raise AttributeError(name)
    return functools.partial(_entry, name.replace("_", "-"))


def _entry(name: str, tensors: dict[str, Tensor]) -> Model:
    return load(name)


def make(study: Path) -> None:
    """Put the models of a study's folder, with what was measured of them, into the package."""
    rows = []
    FOLDER.mkdir(exist_ok=True)
    for row in read_table(study / "results/tables/models.csv").to_dict("records"):
        cell = Cell(row["dataset"], row["family"], row["beta"], row["d_z"], row["seed"])
        beta = f"-{token(cell.beta)}" if cell.beta > 1 else ""
        name = f"{cell.dataset}-{cell.family}{beta}"
        path = FOLDER / f"{name}.safetensors"
        shutil.copyfile(study / weights(cell), path)
        facts = {"name": name, **{key: value for key, value in vars(cell).items() if key != "snapshot"}}
        facts |= {key: row[key] for key in MEASURED}
        rows.append(facts | {"bytes": path.stat().st_size, "sha256": file_digest(path)})
    write_table(TABLE, pd.DataFrame(rows))


def listing(table: pd.DataFrame) -> str:
    """Return the table as people read it."""
    shown = table.assign(
        elbo=[
            f"{row.elbo:.1f} ± {row.elbo_se:.1f}" if row.family != "ae" else "–" for row in table.itertuples()
        ],
        kB=(table["bytes"] / 1000).round().astype(int),
        sha256=table["sha256"].str[:12],
        beta=table["beta"].map(token),
    )
    return shown[["name", "family", "beta", "d_z", "elbo", "kB", "sha256"]].to_string(index=False)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="vaepipe zoo", description="List the models that come with vaepipe; audit one as zoo:NAME."
    )
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="take the models of this study's folder")
    args = parser.parse_args(argv)
    if args.make:
        make(args.make)
    print(listing(models()))
    print("elbo: of held-out images, β = 1, nats per image, ± its standard error")


if __name__ == "__main__":
    run_stage(main)
