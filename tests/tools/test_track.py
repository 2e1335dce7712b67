"""Trackers get the numbers of history.csv, in stores that their own libraries read."""

import os

import pandas as pd
import pytest

from vaepipe.storage.errors import DataError
from vaepipe.tools.track import track

HISTORY = pd.DataFrame({"epoch": [1, 2], "loss": [3.5, 2.25], "kl": [0.5, 0.75]})
MODELS = ("digits/vae/beta~1/dz~4/seed~0", "digits/beta-vae/beta~4/dz~4/seed~1")


@pytest.fixture
def folder(tmp_path):
    for model in MODELS:
        (tmp_path / "results/models" / model).mkdir(parents=True)
        HISTORY.to_csv(tmp_path / "results/models" / model / "history.csv", index=False)
    return tmp_path


def test_mlflow_reads_each_training_from_its_file_store(folder, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert track("mlflow", folder, folder / "store") == 2
    client = mlflow.MlflowClient((folder / "store").as_uri())
    runs = client.search_runs([client.get_experiment_by_name("vaepipe").experiment_id])
    assert {run.info.run_name for run in runs} == set(MODELS)
    (run,) = [run for run in runs if run.info.run_name == MODELS[1]]
    assert run.data.params == {
        "dataset": "digits", "family": "beta-vae", "beta": "4", "dz": "4", "seed": "1"
    }  # fmt: skip
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "kl")] == [
        (1, 0.5),
        (2, 0.75),
    ]


def test_tensorboard_reads_each_training_from_its_event_files(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert track("tensorboard", folder, folder / "store") == 2
    for model in MODELS:
        read = EventAccumulator(os.fspath(folder / "store" / model)).Reload()
        assert [(e.step, e.value) for e in read.Scalars("loss")] == [(1, 3.5), (2, 2.25)]


def test_bad_input_of_a_tracker_is_one_line(folder, tmp_path_factory):
    with pytest.raises(DataError, match=r"--to .*: is there already"):
        track("mlflow", folder, folder)
    with pytest.raises(DataError, match="has no results/models"):
        track("mlflow", tmp_path_factory.mktemp("empty"), folder / "store")
