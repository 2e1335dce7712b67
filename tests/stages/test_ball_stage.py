"""Attacks of bounded size in a study: files and table against the function, the configuration."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import run_stage

from vaepipe.attacks.ball import run_ball_attack
from vaepipe.attacks.pairs import draw_pairs
from vaepipe.datasets.prepared import read_split
from vaepipe.stages.ball import ball
from vaepipe.stages.collect import ball_rows, collect
from vaepipe.stages.columns import TABLES
from vaepipe.stages.evaluate import evaluate
from vaepipe.stages.measure import measure
from vaepipe.stages.train import train
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage.h5 import open_h5
from vaepipe.study import jobs
from vaepipe.study.cells import Cell
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.specs import BallSpec, EvaluateSpec, MeasureSpec, ModelSpec
from vaepipe.study.study import Study

CPU = torch.device("cpu")
LOSS = "latent-kl"
CELL = Cell("digits", "beta-tcvae", 2.0, 3, 0)
MODEL = ModelSpec(
    **vars(CELL), model={"hidden": (16,)}, train={"epochs": 4, "batch_size": 64, "schedule": "cosine"}
)
SPEC = BallSpec(
    loss=LOSS, l2=(1.0, 0.3), linf=(0.1,), restarts=1, steps=8, pairs=3, draws=2, batch_size=8, effort="fast"
)
MEASURE = MeasureSpec(loss=LOSS, draws=2, samples=2, batch_size=8)
BALLS = [("l2", 0.3), ("l2", 1.0), ("linf", 0.1)]
WEIGHTS = jobs.weights(CELL)
BALL, MEASURES = (jobs.output(stage, CELL, LOSS) for stage in ("ball", "measure"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits, few_weights):
    """A small model of the digits, attacked in balls and measured."""
    folder = tmp_path_factory.mktemp("balls")
    weights = folder / WEIGHTS
    train(MODEL, digits, weights, weights.with_name("history.csv"), 1e9, CPU)
    ball(SPEC, digits, weights, folder / BALL, CPU)
    measure(MEASURE, digits, weights, folder / MEASURES, CPU, ball=folder / BALL)
    return folder


def read_all(path, kind):
    """Name → array of a file whose arrays all have a description."""
    arrays = {}

    def add(name, node):
        if isinstance(node, h5py.Dataset):
            assert node.attrs["description"]
            arrays[name] = node[()]

    with open_h5(path, kind) as file:
        file.visititems(add)
    return arrays


def test_file_and_table_hold_what_the_function_finds(folder, digits):
    test = read_split(digits, "test")
    pairs = draw_pairs(test, 3, 0)
    x, target = (torch.from_numpy(test.x[rows]).float() / 255 for rows in pairs.T)
    model, _ = read_trained_model(folder / WEIGHTS)
    table = ball_rows(CELL, LOSS, folder / BALL, folder / MEASURES).set_index(["ball", "radius", "pair"])
    assert len(table) == 9 and list(table.index.droplevel("pair").unique()) == BALLS
    found = read_all(folder / BALL, "ball")
    for norm, radii in (("l2", [0.3, 1.0]), ("linf", [0.1])):
        options = {"norm": norm, "restarts": 1, "steps": 8, "seed": 0, "draws": 2, "batch_size": 8}
        options |= {"effort": "fast"}
        result = run_ball_attack(model, x, target, torch.tensor(radii, dtype=torch.float64), LOSS, **options)
        for e, radius in enumerate(radii):
            row = BALLS.index((norm, radius))
            np.testing.assert_array_equal(found["distortion"][row], result.distortion[e])
            for name in ("divergence", "norm", "initial_divergence", "restart", "iterations"):
                column = table.loc[norm, radius][name]
                np.testing.assert_array_equal(column, getattr(result, name)[e], err_msg=name)
            order = {"l2": 2, "linf": np.inf}[norm]
            flat = found["distortion"][row].reshape(3, -1).astype(float)
            norms = np.linalg.norm(flat, ord=order, axis=1)
            np.testing.assert_allclose(table.loc[norm, radius]["norm"], norms, rtol=1e-6)
            assert (norms <= np.float32(radius)).all() and (norms > 0).all()
    adversarial = found["x"] / np.float32(255) + found["distortion"]
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    a, t, o = (table[f"{name}_distance"] for name in ("adversarial", "target", "original"))
    known = table[o > t]
    assert list(known["success"]) == [float((a[i] - t[i]) / (o[i] - t[i]) < 0.5) for i in known.index]
    assert table[o <= t]["success"].isna().all()
    columns = [quantity.name for quantity in TABLES["ball"]]
    assert list(table.columns) == [name for name in columns if name not in table.index.names]


def test_the_measures_of_a_ball_are_those_of_its_distortions(folder, digits):
    found, measured = read_all(folder / BALL, "ball"), read_all(folder / MEASURES, "measure")
    assert all(name.startswith("ball/") for name in measured)
    assert measured["ball/adversarial_distance"].shape == (3, 3) and measured[
        "ball/input_distance"
    ].shape == (3,)
    x, target = (found[name].astype(float) / 255 for name in ("x", "target"))
    expected = np.sqrt(((x - target) ** 2).sum((1, 2, 3)))
    np.testing.assert_allclose(measured["ball/input_distance"], expected, rtol=1e-5)
    assert measured["ball/adversarial_reconstruction"].shape == found["distortion"].shape


def test_the_tables_of_a_study_with_balls_alone_and_its_pairs(folder, digits, monkeypatch):
    monkeypatch.chdir(folder)
    options = EvaluateSpec(max_images=50, importance_samples=2, aggregate_samples=20, keep=4)
    evaluate(options, digits, Path(WEIGHTS), Path(jobs.output("evaluate", CELL)), CPU)
    listed = [jobs.Job("train", "digits", CELL), jobs.Job("evaluate", "digits", CELL)]
    listed += [jobs.Job(stage, "digits", CELL, LOSS) for stage in ("ball", "measure")]
    tables = collect(listed)
    assert len(tables["ball"]) == 9 and set(tables["ball"]["unit"]) == {"nats"}
    assert (tables["ball"]["masked"] == "").all() and len(tables["attacks"]) == 0
    assert np.array_equal(tables["pairs"][["image", "target"]], draw_pairs(read_split(digits, "test"), 3, 0))


@pytest.mark.slow
def test_what_cannot_be_attacked_is_one_line_from_outside(folder, digits, tmp_path):
    spec = SPEC.model_copy(update={"loss": "max-damage", "restarts": 0})
    arguments = ["--spec", spec.to_json(), "--data", digits, "--model", folder / WEIGHTS]
    done = run_stage("ball", *arguments, "--out", tmp_path / "b.h5")
    text = "restarts: 0 is less than 1, which the loss 'max-damage' needs"
    message = f"error: ball.losses, of beta-tcvae: {text}"
    assert (done.returncode, done.stderr.strip()) == (1, message) and not list(tmp_path.iterdir())


GRID = {"families": ["ae", "vae"], "d_z": [2]}


def test_balls_are_off_by_default_and_change_no_other_job():
    config = {"study": ["swissroll", "digits"], "grid": GRID}
    plain, study = (
        Study(config),
        Study(config | {"ball": {"losses": ["latent-kl", "latent-mean"], "l2": [], "linf": [0.2]}}),
    )
    assert plain.balls() == [] and plain.attacks() == study.attacks()
    found = {(cell.dataset, cell.family, loss) for cell, loss in study.balls()}
    assert found == {
        ("digits", "ae", "latent-mean"),
        ("digits", "vae", "latent-kl"),
        ("digits", "vae", "latent-mean"),
    }
    for cell, loss in study.attacks():
        assert plain.attack_spec(cell, loss) == study.attack_spec(cell, loss) and plain.measure_spec(
            cell, loss
        ) == study.measure_spec(cell, loss)
    cell, loss = study.balls()[0]
    spec = study.ball_spec(cell, loss)
    assert isinstance(spec, BallSpec) and (spec.l2, spec.linf, spec.pairs) == ((), (0.2,), 20)


BAD = [
    ({"losses": ["latent-kl"], "l2": [], "linf": []}, "datasets.digits.ball: l2 and linf are []"),
    (
        {"losses": ["max-damage"], "restarts": 0},
        "datasets.digits.ball.restarts: 0 is not allowed with max-damage",
    ),
    ({"losses": ["kl"]}, "ball.losses[0]: 'kl' is not allowed; expected one of latent-kl"),
    ({"l2": [0]}, "ball.l2[0]: 0 is not allowed; expected a number > 0"),
    ({"radii": [1]}, "ball.radii: unknown key; known: losses, l2, linf"),
]


@pytest.mark.parametrize(("section", "start"), BAD, ids=[start for _, start in BAD])
def test_a_mistake_in_the_section_is_one_line(section, start):
    with pytest.raises(ConfigError) as caught:
        Study({"study": ["digits"], "ball": section})
    assert str(caught.value).startswith(start) and "\n" not in str(caught.value)
