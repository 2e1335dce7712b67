"""Write the histories of a study's trainings to TensorBoard or to MLflow's file store, one run per model.

vaepipe track tensorboard|mlflow [--directory my-study] [--to FOLDER]

The numbers are those of `history.csv`, which each training writes. The packages are the extra
`vaepipe[track]`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.tables import read_table

Write = Callable[[Path, str, dict[str, str], pd.DataFrame], None]


def histories(folder: Path) -> dict[str, Path]:
    """Return model, such as ``digits/vae/beta~1/dz~4/seed~0`` → its history.

    Raises:
        DataError: the folder has none.
    """
    models = folder / "results/models"
    found = {path.parent.relative_to(models).as_posix(): path for path in sorted(models.rglob("history.csv"))}
    if not found:
        raise DataError(f"--directory {folder}: has no results/models/**/history.csv; train a model first")
    return found


def parameters(model: str) -> dict[str, str]:
    """Return what the path of a model says: data set, family, β, d_z, seed."""
    dataset, family, *rest = model.split("/")
    return {"dataset": dataset, "family": family, **dict(part.split("~", 1) for part in rest)}


def write_tensorboard(to: Path, model: str, said: dict[str, str], history: pd.DataFrame) -> None:
    """Write one training as a TensorBoard run."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(to / model) as writer:
        writer.add_text("model", ", ".join(f"{key} {value}" for key, value in said.items()))
        for row in history.to_dict("records"):
            for name, value in row.items():
                if name != "epoch":
                    writer.add_scalar(str(name), value, int(row["epoch"]))


def write_mlflow(to: Path, model: str, said: dict[str, str], history: pd.DataFrame) -> None:
    """Write one training as an MLflow run in the experiment vaepipe."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder needs no server and no data base
    import mlflow

    client = mlflow.MlflowClient(to.absolute().as_uri())
    experiment = client.get_experiment_by_name("vaepipe")
    number = experiment.experiment_id if experiment else client.create_experiment("vaepipe")
    run = client.create_run(number, run_name=model).info.run_id
    for key, text in said.items():
        client.log_param(run, key, text)
    for row in history.to_dict("records"):
        for name, value in row.items():
            if name != "epoch":
                client.log_metric(run, str(name), value, step=int(row["epoch"]))
    client.set_terminated(run)


TRACKERS: dict[str, Write] = {"tensorboard": write_tensorboard, "mlflow": write_mlflow}


def track(tracker: str, folder: Path, to: Path) -> int:
    """Write every history of a study's folder to a new folder, and return their number.

    Raises:
        DataError: no history, a folder that is there already, or a package that is not installed.
    """
    found = histories(folder)
    if to.exists():
        raise DataError(f"--to {to}: is there already; give a new folder, or delete it")
    for model, path in found.items():
        try:
            TRACKERS[tracker](to, model, parameters(model), read_table(path))
        except ModuleNotFoundError as error:
            raise DataError(f"{tracker}: {error.name} is not installed; install vaepipe[track]") from error
    return len(found)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="vaepipe track", description=__doc__.splitlines()[0])
    parser.add_argument("tracker", choices=sorted(TRACKERS))
    parser.add_argument("--directory", type=Path, default=Path(), help="folder of the study (default: here)")
    parser.add_argument("--to", type=Path, help="new folder (default: results/<tracker> of the study)")
    arguments = parser.parse_args(argv)
    to = arguments.to or arguments.directory / "results" / arguments.tracker
    count = track(arguments.tracker, arguments.directory, to)
    print(f"{count} training{'s' if count != 1 else ''} in {to}")


if __name__ == "__main__":
    run_stage(main)
