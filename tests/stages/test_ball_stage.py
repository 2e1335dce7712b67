"""Attacks of bounded size in a study: the stage's file and table against the function itself, the section of the config."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_stage

from vaepipe.attacks.ball import run_ball_attack
from vaepipe.attacks.pairs import draw_pairs
from vaepipe.datasets.prepared import read_split
from vaepipe.models import build as models
from vaepipe.stages.ball import ball
from vaepipe.stages.collect import BALL, CELL, ball_rows, collect
from vaepipe.stages.evaluate import evaluate
from vaepipe.stages.train import train
from vaepipe.storage.h5 import open_h5
from vaepipe.study.config import ConfigError, Study
from vaepipe.study.grid import Cell

CPU = torch.device("cpu")
ONE = Cell("digits", "beta-tcvae", 2.0, 3, 0)
SPEC = {"loss": "latent-kl", "l2": [1.0, 0.3], "linf": [0.1], "restarts": 1, "steps": 8, "pairs": 3, "pair_seed": 0, "draws": 2}
SPEC |= {"samples": 2, "batch_size": 8, "precision": "float32"}
BALLS = [("l2", 0.3), ("l2", 1.0), ("linf", 0.1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """A small model of the digits, attacked in balls."""
    folder = tmp_path_factory.mktemp("balls")
    options = {"epochs": 4, "batch_size": 64, "learning_rate": 1e-3, "schedule": "cosine", "estimator": "mss", "steps": None}
    options |= {"beta_warmup": 0, "clip": None, "precision": "float32"}
    model = {"network": "mlp", "hidden": [16], "likelihood": "bernoulli", "sigma_x": 0.1}
    path = folder / ONE.model("model.safetensors")
    train({**vars(ONE), "model": model, "train": options}, digits, path, path.with_name("history.csv"), 1e9, CPU)
    ball(SPEC, digits, path, folder / ONE.ball("latent-kl"), CPU)
    return folder


def test_file_and_table_hold_what_the_function_finds(folder, digits):
    test = read_split(digits, "test")
    pairs = draw_pairs(test, 3, 0)
    x, target = (torch.from_numpy(test.x[rows]).float() / 255 for rows in pairs.T)
    model, _ = models.load(folder / ONE.model("model.safetensors"))
    table = ball_rows(ONE, "latent-kl", folder / ONE.ball("latent-kl")).set_index(["ball", "radius", "pair"])
    assert len(table) == 9 and list(table.index.droplevel("pair").unique()) == BALLS
    with open_h5(folder / ONE.ball("latent-kl"), "ball") as file:
        assert all(file[name].attrs["description"] for name in file)
        found = {name: file[name][()] for name in file}
    for norm, radii in (("l2", [0.3, 1.0]), ("linf", [0.1])):
        options = {"norm": norm, "restarts": 1, "steps": 8, "seed": 0, "draws": 2, "batch_size": 8}
        result = run_ball_attack(model, x, target, torch.tensor(radii, dtype=torch.float64), "latent-kl", **options)
        for e, radius in enumerate(radii):
            row = BALLS.index((norm, radius))
            np.testing.assert_array_equal(found["distortion"][row], result.distortion[e])
            for name in ("divergence", "norm", "initial_divergence", "restart", "iterations"):
                np.testing.assert_array_equal(table.loc[norm, radius][name], getattr(result, name)[e], err_msg=name)
            order = {"l2": 2, "linf": np.inf}[norm]
            norms = np.linalg.norm(found["distortion"][row].reshape(3, -1).astype(float), ord=order, axis=1)
            np.testing.assert_allclose(table.loc[norm, radius]["norm"], norms, rtol=1e-6)
            assert (norms <= np.float32(radius)).all() and (norms > 0).all()
    adversarial = found["x"] / np.float32(255) + found["distortion"]
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    a, t, o = (table[f"{name}_distance"] for name in ("adversarial", "target", "original"))
    known = table[o > t]
    assert list(known["success"]) == [float((a[i] - t[i]) / (o[i] - t[i]) < 0.5) for i in known.index]
    assert table[o <= t]["success"].isna().all() and list(table.columns) == [n for n in CELL | BALL if n not in table.index.names]


def test_the_tables_of_a_study_with_balls_alone_and_its_pairs(folder, digits, monkeypatch):
    monkeypatch.chdir(folder)
    options = {"max_images": 50, "importance_samples": 2, "aggregate_samples": 20, "keep": 4}
    evaluate(options, digits, Path(ONE.model("model.safetensors")), Path(ONE.model("evaluation.h5")), CPU)
    axes = {"families": ["beta-tcvae"], "betas": [2.0], "d_z": [3], "seeds": [0]}
    tables = collect({"digits": {"grid": axes, "losses": [], "checked": True, "ball": ["latent-kl"], "external": {}}})
    assert len(tables["ball"]) == 9 and (tables["ball"]["masked"] == "").all() and len(tables["attacks"]) == 0
    assert np.array_equal(tables["pairs"][["image", "target"]], draw_pairs(read_split(digits, "test"), 3, 0))


def test_what_cannot_be_attacked_is_one_line_from_outside(folder, digits, tmp_path):
    arguments = ["--spec", json.dumps(SPEC | {"loss": "max-damage", "restarts": 0}), "--data", digits]
    done = run_stage("ball", *arguments, "--model", folder / ONE.model("model.safetensors"), "--out", tmp_path / "b.h5")
    said = "error: ball.losses, of beta-tcvae: restarts: 0 is less than 1, which the loss 'max-damage' needs"
    assert (done.returncode, done.stderr.strip()) == (1, said) and not list(tmp_path.iterdir())


GRID = {"families": ["ae", "vae"], "d_z": [2]}


def test_balls_are_off_by_default_and_change_no_other_job():
    config = {"study": ["swissroll", "digits"], "grid": GRID}
    plain, study = Study(config), Study(config | {"ball": {"losses": ["latent-kl", "latent-mean"], "l2": [], "linf": [0.2]}})
    assert plain.balls() == [] and plain.attacks() == study.attacks()
    found = {(cell.dataset, cell.family, loss) for cell, loss in study.balls()}
    assert found == {("digits", "ae", "latent-mean"), ("digits", "vae", "latent-kl"), ("digits", "vae", "latent-mean")}
    for cell, loss in study.attacks():
        assert plain.attack_spec(cell, loss) == study.attack_spec(cell, loss) and plain.check_spec(cell) == study.check_spec(cell)
    cell, loss = study.balls()[0]
    spec = study.ball_spec(cell, loss)
    assert set(spec) == set(SPEC) and (spec["l2"], spec["linf"], spec["pairs"]) == ([], [0.2], 20)


BAD = [
    ({"losses": ["latent-kl"], "l2": [], "linf": []}, "datasets.digits.ball: l2 and linf are []"),
    ({"losses": ["max-damage"], "restarts": 0}, "datasets.digits.ball.restarts: 0 is not allowed with max-damage"),
    ({"losses": ["kl"]}, "ball.losses[0]: 'kl' is not allowed; expected one of latent-kl"),
    ({"l2": [0]}, "ball.l2[0]: 0 is not allowed; expected a number > 0"),
    ({"radii": [1]}, "ball.radii: unknown key; known: losses, l2, linf"),
]


@pytest.mark.parametrize(("section", "start"), BAD, ids=[start for _, start in BAD])
def test_a_mistake_in_the_section_is_one_line(section, start):
    with pytest.raises(ConfigError) as caught:
        Study({"study": ["digits"], "ball": section})
    assert str(caught.value).startswith(start) and "\n" not in str(caught.value)
