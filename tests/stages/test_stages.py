"""evaluate, attack and collect: what is in their files and tables, recomputed by other means."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import ROOT, run_stage

from vaepipe.attacks.pairs import draw_pairs
from vaepipe.datasets.prepared import read_split
from vaepipe.metrics import pairwise_overlap
from vaepipe.metrics.similarity import ms_ssim
from vaepipe.stages.attack import attack
from vaepipe.stages.collect import TABLES, collect
from vaepipe.stages.evaluate import evaluate
from vaepipe.stages.train import train
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.study import grid
from vaepipe.study.grid import Cell
from vaepipe.study.settings import Model, TrainOptions
from vaepipe.study.specs import EvaluateSpec, ModelSpec

CPU = torch.device("cpu")
CELL = Cell("digits", "beta-tcvae", 2.0, 3, 0)
ATTACK = {
    "pairs": 3,
    "pair_seed": 0,
    "draws": 2,
    "solver": "lbfgs",
    "precision": "float32",
    "max_iterations": 60,
    "tolerance": 1e-4,
    "batch_size": 16,
    "samples": 4,
    "loss": "latent-kl",
}
EVALUATE = EvaluateSpec(max_images=100, keep=7, importance_samples=4, aggregate_samples=50)
TRAIN = TrainOptions(
    epochs=20, batch_size=64, learning_rate=5e-3, schedule="cosine", beta_warmup=2, clip=50, precision="float32"
)
LAMBDAS = [1e-5, 2e-5, 0.01, 0.5, 1e6]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """A trained, evaluated and attacked model at the paths of the workflow, attacked in one block and in four."""
    settings = Model(network="mlp", hidden=(16,), likelihood="gaussian", sigma_x=0.3)
    spec = ModelSpec(**vars(CELL), model=settings, train=TRAIN)
    root = tmp_path_factory.mktemp("study")
    model = root / CELL.model("model.safetensors")
    train(spec, digits, model, root / CELL.model("history.csv"), 10, CPU)
    evaluate(EVALUATE, digits, model, root / CELL.model("evaluation.h5"), CPU)
    attack(ATTACK | {"lambdas": LAMBDAS}, digits, model, root / CELL.attack("latent-kl"), CPU)
    for per_job in (1, 3):
        blocks = {root / CELL.block("latent-kl", name): some for name, some in grid.blocks(LAMBDAS, per_job).items()}
        for path, some in blocks.items():
            attack(ATTACK | {"lambdas": some}, digits, model, path, CPU, own=True)
        attack(ATTACK | {"lambdas": LAMBDAS}, digits, model, root / f"from {per_job}.h5", CPU, blocks=list(blocks))
    return root


def test_evaluation_holds_the_model_s_own_numbers(folder, digits):
    model, _ = read_trained_model(folder / CELL.model("model.safetensors"))
    x = torch.from_numpy(read_split(digits, "test").x[:100]).float() / 255
    (q,) = model.posterior(x)
    with open_h5(folder / CELL.model("evaluation.h5"), "evaluation") as file:
        assert file["kl"].shape == (100,) and file["sample"].shape == (7, 3)
        sigma, mean = q.log_std.exp().numpy(), q.mean.numpy()
        kl = 0.5 * (mean**2 + sigma**2 - 1 - np.log(sigma**2)).sum(1)
        np.testing.assert_allclose(file["kl"][:], kl, rtol=1e-4)
        np.testing.assert_allclose(file["sigma_norm"][:], np.sqrt((sigma**2).sum(1)), rtol=1e-5)
        rec = model.decode(torch.from_numpy(file["sample"][:])).mean.numpy()
        np.testing.assert_allclose(file["reconstruction"][:], rec, atol=1e-5)
        log_likelihood = scipy.stats.norm.logpdf(x[:7].numpy(), rec, 0.3).reshape(7, -1).sum(1)
        np.testing.assert_allclose(file["log_likelihood"][:7], log_likelihood, rtol=1e-4)
        assert (np.abs(file["sample"][:] - mean[:7]) < 6 * sigma[:7]).all()


def test_the_same_evaluation_twice_is_the_same(folder, digits, tmp_path):
    evaluate(EVALUATE, digits, folder / CELL.model("model.safetensors"), tmp_path / "e.h5", CPU)
    with (
        open_h5(tmp_path / "e.h5", "evaluation") as a,
        open_h5(folder / CELL.model("evaluation.h5"), "evaluation") as b,
    ):
        for name in b:
            np.testing.assert_array_equal(a[name][()], b[name][()])


def test_what_is_measured_of_the_aggregate_posterior(folder, digits):
    model, _ = read_trained_model(folder / CELL.model("model.safetensors"))
    x = torch.from_numpy(read_split(digits, "test").x[:100]).float() / 255
    (q,) = model.posterior(x)
    with open_h5(folder / CELL.model("evaluation.h5"), "evaluation") as file:
        found = {name: file[name][()] for name in file}
        assert read_text(file, "state") == "ok"
    # the three parts are those of the KL; a Monte-Carlo estimate from 50 samples against the closed form
    total = sum(found[name][0] for name in ("mutual_information", "total_correlation", "dimension_kl"))
    assert total == pytest.approx(found["kl"].mean(), rel=0.25)
    assert 0 < found["mutual_information"][0] <= np.log(100) + 1e-6
    assert (found["bound"].mean() > (found["log_likelihood"] - found["kl"]).mean()) and found["kl_layers"].shape == (2, 1)
    assert found["kl_layers"][:, 0] == pytest.approx([found["kl"].mean(), found["kl"].std(ddof=1) / 10], rel=1e-4)
    assert found["active_units"][0] == int((q.mean.var(0, correction=0) > 0.01).sum())
    assert found["overlap"][0] == pytest.approx(float(pairwise_overlap(*q).coefficient.value)) and np.isnan(found["mig"]).all()
    error = np.sqrt(((x[:7].numpy() - found["reconstruction"]) ** 2).sum((1, 2, 3)))
    np.testing.assert_allclose(found["reconstruction_error"][:7], error, rtol=1e-4)


@pytest.mark.parametrize(("family", "layers"), [("ae", {}), ("seatbelt", {"layers": 2})])
def test_the_other_families_are_evaluated_and_tabulated(digits, tmp_path, monkeypatch, family, layers):
    cell = Cell("digits", family, 0.0 if family == "ae" else 4.0, 3, 0)
    settings = Model(network="mlp", hidden=(16,), likelihood="gaussian", sigma_x=0.3, **layers)
    training = TRAIN.model_copy(update={"epochs": 3, "free_bits": 0.1})
    spec = ModelSpec(**vars(cell), model=settings, train=training)
    monkeypatch.chdir(tmp_path)
    train(spec, digits, Path(cell.model("model.safetensors")), Path(cell.model("history.csv")), 10, CPU)
    evaluate(EVALUATE, digits, Path(cell.model("model.safetensors")), Path(cell.model("evaluation.h5")), CPU)
    wanted = LAMBDAS[:2]
    if family == "seatbelt":
        attack(
            ATTACK | {"lambdas": wanted},
            digits,
            Path(cell.model("model.safetensors")),
            Path(cell.attack("latent-kl")),
            CPU,
        )
    axes = {"families": [family], "betas": [4.0], "d_z": [3], "seeds": [0]}
    tables = collect({"digits": {"grid": axes, "losses": ["latent-kl"], "checked": False, "ball": [], "external": {}}})
    row = tables["models"].iloc[0]
    assert np.isfinite(row["log_likelihood"]) and len(tables["models"]) == 1
    if family == "ae":
        assert row["elbo"] == -np.inf and row["sigma_norm"] == 0 and len(tables["attacks"]) == 0
    else:
        assert len(row["kl_layers"].split()) == 2 and len(tables["attacks"]) == 6
        assert sum(map(float, row["kl_layers"].split())) == pytest.approx(row["kl"], rel=1e-4)
        assert (tables["attacks"]["objective"] <= tables["attacks"]["initial_divergence"] * (1 + 1e-5)).all()


def test_attack_files_hold_what_belongs_together(folder, digits):
    test = read_split(digits, "test")
    with open_h5(folder / CELL.attack("latent-kl"), "attack") as file:
        pairs = draw_pairs(test, 3, 0)
        assert np.array_equal(file["pairs"][:], pairs)
        assert np.array_equal(file["x"][:], test.x[pairs[:, 0]]) and np.array_equal(file["target"][:], test.x[pairs[:, 1]])
        adversarial = file["x"][:] / np.float32(255) + file["distortion"][:]
        assert adversarial.min() >= 0 and adversarial.max() <= 1
        norm = np.sqrt((file["distortion"][:] ** 2).sum((2, 3, 4)))
        np.testing.assert_allclose(file["norm"][:], norm, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(file["objective"][:], file["divergence"][:] + np.array(LAMBDAS)[:, None] * norm, rtol=1e-5)
        assert (norm[-1] == 0).all() and (norm[0] > 0).all()
        # an attack at small λ brings the reconstruction nearer to the target than the image's own
        assert (file["adversarial_distance"][0] < file["original_distance"][:]).all()
        np.testing.assert_allclose(file["adversarial_distance"][-1], file["original_distance"][:], rtol=1e-5)
        assert all("description" in file[name].attrs for name in file)


GRID = {"families": ["beta-tcvae"], "betas": [2.0], "d_z": [3], "seeds": [0]}
STUDY = {"digits": {"grid": GRID, "losses": ["latent-kl"], "checked": False, "ball": [], "external": {}}}


@pytest.mark.parametrize("per_job", [1, 3])
def test_attacks_are_equal_bit_for_bit_however_lambda_was_divided(folder, per_job):
    whole, divided = (open_h5(folder / name, "attack") for name in (CELL.attack("latent-kl"), f"from {per_job}.h5"))
    with whole as a, divided as b:
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name][()], b[name][()], err_msg=name)
        better = a["objective"][:] < a["own_objective"][:] * (1 - 1e-5)
        assert (a["objective"][:] <= a["own_objective"][:] * (1 + 1e-6)).all() and better.any()


def test_blocks_of_other_lambdas_are_refused(folder, digits):
    blocks = [folder / CELL.block("latent-kl", name) for name in list(grid.blocks(LAMBDAS, 1))[1:]]
    spec = ATTACK | {"lambdas": LAMBDAS}
    with pytest.raises(DataError, match="their λ are not those"):
        attack(spec, digits, folder / CELL.model("model.safetensors"), folder / "no.h5", CPU, blocks=blocks)
    assert not (folder / "no.h5").exists()


def test_tables_made_by_several_processes_are_the_same(folder):
    both = GRID | {"seeds": [0, 1]}
    for kind in ("models", "attacks"):
        parent = (folder / f"results/{kind}" / Path(CELL.model("")).relative_to("results/models")).parent
        (parent / "seed~1").symlink_to("seed~0")
    program = f"""
from vaepipe.stages import collect
from pandas.testing import assert_frame_equal
collect.WORTH, study = 1, {STUDY | {"digits": STUDY["digits"] | {"grid": both}}}
alone, together = collect.collect(study), collect.collect(study, threads=2)
assert len(alone["models"]) == 2
for name in alone:
    assert_frame_equal(together[name], alone[name], check_exact=True, obj=name)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tables_are_tidy_and_documented(folder, digits, monkeypatch):
    monkeypatch.chdir(folder)
    tables = collect(STUDY)
    test, pairs = read_split(digits, "test"), tables["pairs"]
    assert np.array_equal(pairs[["image", "target"]], draw_pairs(test, 3, 0)) and list(pairs["pair"]) == [0, 1, 2]
    for end in ("image", "target"):
        assert list(pairs[f"{end}_label"]) == list(test.label[pairs[end]])
    for name, columns in TABLES.items():
        assert list(tables[name].columns) == list(columns)
        documented = tables["columns"].query("table == @name")
        assert list(documented["column"]) == list(columns) and documented["meaning"].str.len().min() > 3
    images, row = tables["images"], tables["models"].iloc[0]
    assert len(images) == 100 and len(tables["attacks"]) == 15
    assert row["elbo"] == pytest.approx(images["elbo"].mean()) and row["family"] == "beta-tcvae"
    assert row["elbo_se"] == pytest.approx(images["elbo"].std(ddof=1) / 10)
    np.testing.assert_allclose(images["elbo"], images["log_likelihood"] - images["kl"])
    robust, attacks = tables["robustness"].iloc[0], tables["attacks"]
    assert len(tables["robustness"]) == 1 and robust["bytes"] == Path(CELL.attack("latent-kl")).stat().st_size
    assert robust["pairs"] == 3 and robust["adversarial_loss"] == pytest.approx(attacks["objective"].mean())
    np.testing.assert_allclose(
        attacks["ratio"],
        (attacks["adversarial_distance"] - attacks["target_distance"])
        / (attacks["original_distance"] - attacks["target_distance"]),
        rtol=1e-5,
    )
    with open_h5(CELL.attack("latent-kl"), "attack") as file:
        pictures = torch.from_numpy(file["adversarial_reconstruction"][0] / 255).float()
        found = ms_ssim(torch.from_numpy(file["target_reconstruction"][:] / 255).float(), pictures)
        np.testing.assert_allclose(file["target_similarity"][0], found, atol=0.02)  # pictures are stored in 256 steps
        found = tables["attacks"].set_index(["lambda", "pair"])
        for row, lam in enumerate(LAMBDAS):
            for p in range(3):
                assert found.loc[(lam, p), "objective"] == file["objective"][row, p]
                assert found.loc[(lam, p), "target_distance"] == file["target_distance"][p]
                assert found.loc[(lam, p), "image"] == file["pairs"][p, 0]


def test_a_study_without_attacks_has_an_empty_table(folder, monkeypatch):
    monkeypatch.chdir(folder)
    attacks = collect({"digits": STUDY["digits"] | {"losses": []}})["attacks"]
    assert len(attacks) == 0 and list(attacks.columns) == list(TABLES["attacks"])


def test_a_damaged_or_missing_file_is_named_in_one_line(folder, digits, tmp_path):
    half = tmp_path / "half model.safetensors"
    half.write_bytes((folder / CELL.model("model.safetensors")).read_bytes()[:300])
    for model, data, named in [
        (half, digits, "half model"),
        (tmp_path / "none", digits, "none: no such"),
        (half, tmp_path / "no.h5", ""),
    ]:
        out = tmp_path / "e.h5"
        done = run_stage("evaluate", "--spec", EVALUATE.to_json(), "--data", data, "--model", model, "--out", out)
        assert done.returncode == 1 and not out.exists()
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and named in lines[0], done.stderr
    done = run_stage("attack", "--spec", json.dumps(ATTACK | {"lambdas": LAMBDAS, "pairs": 400}), "--data", digits,
                     "--model", folder / CELL.model("model.safetensors"), "--out", tmp_path / "a.h5")  # fmt: skip
    assert (
        done.stderr.strip() == "error: attack.pairs: 400 is more than the 360 held-out images; ask for fewer, or give more images"
    )
