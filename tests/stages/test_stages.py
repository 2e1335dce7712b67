"""evaluate, attack, measure, collect: the numbers of their files and tables, computed by other means."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import run_stage

from vaepipe.attacks.pairs import draw_pairs
from vaepipe.attacks.rounds import EFFORTS
from vaepipe.datasets.prepared import read_split
from vaepipe.metrics import pairwise_overlap
from vaepipe.metrics.ms_ssim import ms_ssim
from vaepipe.stages.attack import attack
from vaepipe.stages.collect import collect
from vaepipe.stages.columns import TABLES, names
from vaepipe.stages.evaluate import evaluate
from vaepipe.stages.measure import measure
from vaepipe.stages.train import train
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.study.cells import Cell, blocks
from vaepipe.study.jobs import Job, output
from vaepipe.study.settings import Checks, Model, TrainOptions
from vaepipe.study.specs import AttackSpec, EvaluateSpec, MeasureSpec, ModelSpec

CPU = torch.device("cpu")
CELL = Cell("digits", "beta-tcvae", 2.0, 3, 0)
LOSS = "latent-kl"
UNCHECKED = Checks(noise=0, transfer=False, restarts=0, polish=0)
MEASURE = MeasureSpec(loss=LOSS, checks=UNCHECKED, draws=2, samples=4, batch_size=16)
EVALUATE = EvaluateSpec(max_images=100, keep=7, importance_samples=4, aggregate_samples=50)
TRAIN = TrainOptions(
    epochs=20,
    batch_size=64,
    learning_rate=5e-3,
    schedule="cosine",
    beta_warmup=2,
    clip=50,
    precision="float32",
)
LAMBDAS = [1e-5, 2e-5, 0.01, 0.5, 1e6]
OPTIONS = {"loss": LOSS, "pairs": 3, "draws": 2, "max_iterations": 60, "tolerance": 1e-4, "batch_size": 16}
WEIGHTS, EVALUATION = output("train", CELL), output("evaluate", CELL)
ATTACK, MEASURES = output("attack", CELL, LOSS), output("measure", CELL, LOSS)


def attack_spec(lambdas, **options):
    return AttackSpec(**OPTIONS | {"lambdas": tuple(lambdas)} | options)


def jobs_of(cell, attacked=True):
    """The jobs of one model whose files are collected."""
    stages = ("attack", "measure") if attacked else ()
    return [Job("evaluate", cell.dataset, cell), *(Job(stage, cell.dataset, cell, LOSS) for stage in stages)]


@pytest.fixture(scope="module")
def one_round():
    """Attacks search in one round instead of four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EFFORTS, "default", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits, one_round):
    """A trained, evaluated and attacked model at the workflow's paths, attacked in one block and in four."""
    settings = Model(network="mlp", hidden=(16,), likelihood="gaussian", sigma_x=0.3)
    spec = ModelSpec(**vars(CELL), model=settings, train=TRAIN)
    root = tmp_path_factory.mktemp("study")
    model = root / WEIGHTS
    train(spec, digits, model, root / Job("train", cell=CELL).outputs["history"], 10, CPU)
    evaluate(EVALUATE, digits, model, root / EVALUATION, CPU)
    attack(attack_spec(LAMBDAS), digits, model, root / ATTACK, CPU)
    measure(MEASURE, digits, model, root / MEASURES, CPU, attack=root / ATTACK)
    for per_job in (1, 3):
        parts = {
            root / output("attack_block", CELL, LOSS, name): part
            for name, part in blocks(LAMBDAS, per_job).items()
        }
        for path, part in parts.items():
            attack(attack_spec(part), digits, model, path, CPU, own=True)
        attack(attack_spec(LAMBDAS), digits, model, root / f"from {per_job}.h5", CPU, blocks=list(parts))
    return root


def test_evaluation_holds_the_model_s_own_numbers(folder, digits):
    model, _ = read_trained_model(folder / WEIGHTS)
    x = torch.from_numpy(read_split(digits, "test").x[:100]).float() / 255
    (q,) = model.posterior(x)
    with open_h5(folder / EVALUATION, "evaluation") as file:
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
    evaluate(EVALUATE, digits, folder / WEIGHTS, tmp_path / "e.h5", CPU)
    with (
        open_h5(tmp_path / "e.h5", "evaluation") as a,
        open_h5(folder / EVALUATION, "evaluation") as b,
    ):
        for name in b:
            np.testing.assert_array_equal(a[name][()], b[name][()])


def test_what_is_measured_of_the_aggregate_posterior(folder, digits):
    model, _ = read_trained_model(folder / WEIGHTS)
    x = torch.from_numpy(read_split(digits, "test").x[:100]).float() / 255
    (q,) = model.posterior(x)
    with open_h5(folder / EVALUATION, "evaluation") as file:
        found = {name: file[name][()] for name in file}
        assert read_text(file, "state") == "ok"
    # the three parts are those of the KL; a Monte-Carlo estimate from 50 samples against the closed form
    total = sum(found[name][0] for name in ("mutual_information", "total_correlation", "dimension_kl"))
    assert total == pytest.approx(found["kl"].mean(), rel=0.25)
    assert 0 < found["mutual_information"][0] <= np.log(100) + 1e-6
    assert (found["bound"].mean() > (found["log_likelihood"] - found["kl"]).mean()) and found[
        "kl_layers"
    ].shape == (2, 1)
    assert found["kl_layers"][:, 0] == pytest.approx(
        [found["kl"].mean(), found["kl"].std(ddof=1) / 10], rel=1e-4
    )
    assert found["active_units"][0] == int((q.mean.var(0, correction=0) > 0.01).sum())
    assert (
        found["overlap"][0] == pytest.approx(float(pairwise_overlap(*q).coefficient.value))
        and np.isnan(found["mig"]).all()
    )
    error = np.sqrt(((x[:7].numpy() - found["reconstruction"]) ** 2).sum((1, 2, 3)))
    np.testing.assert_allclose(found["reconstruction_error"][:7], error, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "layers"), [("ae", {}), ("seatbelt", {"layers": 2})])
def test_the_other_families_are_evaluated_and_tabulated(digits, tmp_path, monkeypatch, family, layers):
    cell = Cell("digits", family, 0.0 if family == "ae" else 4.0, 3, 0)
    settings = Model(network="mlp", hidden=(16,), likelihood="gaussian", sigma_x=0.3, **layers)
    training = TRAIN.model_copy(update={"epochs": 1, "free_bits": 0.1})
    spec = ModelSpec(**vars(cell), model=settings, train=training)
    monkeypatch.chdir(tmp_path)
    model = Path(output("train", cell))
    train(spec, digits, model, model.with_name("history.csv"), 10, CPU)
    evaluate(EVALUATE, digits, model, Path(output("evaluate", cell)), CPU)
    if family == "seatbelt":
        path = Path(output("attack", cell, LOSS))
        attack(attack_spec(LAMBDAS[:2], max_iterations=20), digits, model, path, CPU)
        measure(MEASURE, digits, model, Path(output("measure", cell, LOSS)), CPU, attack=path)
    tables = collect(jobs_of(cell, attacked=family == "seatbelt"))
    row = tables["models"].iloc[0]
    assert np.isfinite(row["log_likelihood"]) and len(tables["models"]) == 1
    if family == "ae":
        assert row["elbo"] == -np.inf and row["sigma_norm"] == 0 and len(tables["attacks"]) == 0
    else:
        assert len(row["kl_layers"].split()) == 2 and len(tables["attacks"]) == 6
        assert sum(map(float, row["kl_layers"].split())) == pytest.approx(row["kl"], rel=1e-4)
        assert (tables["attacks"]["objective"] <= tables["attacks"]["initial_divergence"] * (1 + 1e-5)).all()


def test_attack_and_measure_files_hold_what_belongs_together(folder, digits):
    test = read_split(digits, "test")
    with open_h5(folder / ATTACK, "attack") as file, open_h5(folder / MEASURES, "measure") as measured:
        assert read_text(file, "unit") == "nats"
        pairs = draw_pairs(test, 3, 0)
        assert np.array_equal(file["pairs"][:], pairs)
        for name, rows in zip(("x", "target"), pairs.T):
            assert np.array_equal(file[name][:], test.x[rows])
        adversarial = file["x"][:] / np.float32(255) + file["distortion"][:]
        assert adversarial.min() >= 0 and adversarial.max() <= 1
        norm = np.sqrt((file["distortion"][:] ** 2).sum((2, 3, 4)))
        np.testing.assert_allclose(file["norm"][:], norm, rtol=1e-5, atol=1e-7)
        objective = file["divergence"][:] + np.array(LAMBDAS)[:, None] * norm
        np.testing.assert_allclose(file["objective"][:], objective, rtol=1e-5)
        assert (norm[-1] == 0).all() and (norm[0] > 0).all()
        # an attack at small λ brings the reconstruction nearer to the target than the image's own
        reached, original = measured["adversarial_distance"][:], measured["original_distance"][:]
        assert (reached[0] < original).all()
        np.testing.assert_allclose(reached[-1], original, rtol=1e-5)
        assert all("description" in part[name].attrs for part in (file, measured) for name in part)


@pytest.mark.parametrize("per_job", [1, 3])
def test_attacks_are_equal_bit_for_bit_however_lambda_was_divided(folder, per_job):
    whole, divided = (open_h5(folder / name, "attack") for name in (ATTACK, f"from {per_job}.h5"))
    with whole as a, divided as b:
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name][()], b[name][()], err_msg=name)
        better = a["objective"][:] < a["own_objective"][:] * (1 - 1e-5)
        assert (a["objective"][:] <= a["own_objective"][:] * (1 + 1e-6)).all() and better.any()


def test_blocks_of_other_lambdas_are_refused(folder, digits):
    others = [folder / output("attack_block", CELL, LOSS, name) for name in list(blocks(LAMBDAS, 1))[1:]]
    with pytest.raises(DataError, match="their λ are not those"):
        attack(attack_spec(LAMBDAS), digits, folder / WEIGHTS, folder / "no.h5", CPU, blocks=others)
    assert not (folder / "no.h5").exists()


def test_tables_made_by_several_processes_are_the_same(folder):
    for kind in ("models", "attacks", "measures"):
        (folder / "results" / kind / CELL.name).with_name("seed~1").symlink_to("seed~0")
    program = """
from dataclasses import replace
from pandas.testing import assert_frame_equal
from vaepipe.stages import collect as stage
from vaepipe.study.cells import Cell
from vaepipe.study.jobs import Job
def jobs_of(cell):
    stages = [("evaluate", ""), ("attack", "latent-kl"), ("measure", "latent-kl")]
    return [Job(stage, cell.dataset, cell, loss) for stage, loss in stages]
cell = Cell("digits", "beta-tcvae", 2.0, 3, 0)
if __name__ == "__main__":
    stage.PARALLEL_FROM = 1
    listed = [*jobs_of(cell), *jobs_of(replace(cell, seed=1))]
    alone, together = stage.collect(listed), stage.collect(listed, threads=2)
    assert len(alone["models"]) == 2
    for name in alone:
        assert_frame_equal(together[name], alone[name], check_exact=True, obj=name)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tables_are_tidy_and_documented(folder, digits, monkeypatch):
    monkeypatch.chdir(folder)
    tables = collect(jobs_of(CELL))
    test, pairs = read_split(digits, "test"), tables["pairs"]
    assert np.array_equal(pairs[["image", "target"]], draw_pairs(test, 3, 0)) and list(pairs["pair"]) == [
        0,
        1,
        2,
    ]
    for end in ("image", "target"):
        assert list(pairs[f"{end}_label"]) == list(test.label[pairs[end]])
    for name, columns in TABLES.items():
        assert list(tables[name].columns) == names(columns)
        documented = tables["columns"].query("table == @name")
        assert list(documented["column"]) == names(columns) and documented["meaning"].str.len().min() > 3
    images, row = tables["images"], tables["models"].iloc[0]
    assert len(images) == 100 and len(tables["attacks"]) == 15
    assert row["elbo"] == pytest.approx(images["elbo"].mean()) and row["family"] == "beta-tcvae"
    assert row["elbo_se"] == pytest.approx(images["elbo"].std(ddof=1) / 10)
    np.testing.assert_allclose(images["elbo"], images["log_likelihood"] - images["kl"])
    robust, attacks = tables["robustness"].iloc[0], tables["attacks"]
    assert tables["labels"]["pairs"].sum() == robust["auddc_pairs"] and tables["purifiers"].empty
    sizes = [Path(path).stat().st_size for path in (ATTACK, MEASURES)]
    assert len(tables["robustness"]) == 1 and robust["bytes"] == sum(sizes)
    assert robust["pairs"] == 3 and robust["adversarial_loss"] == pytest.approx(attacks["objective"].mean())
    np.testing.assert_allclose(
        attacks["ratio"],
        (attacks["adversarial_distance"] - attacks["target_distance"])
        / (attacks["original_distance"] - attacks["target_distance"]),
        rtol=1e-5,
    )
    with open_h5(ATTACK, "attack") as file, open_h5(MEASURES, "measure") as measured:
        pictures = torch.from_numpy(measured["adversarial_reconstruction"][0] / 255).float()
        of_target = torch.from_numpy(measured["target_reconstruction"][:] / 255).float()
        similarity = measured["target_similarity"][0]
        np.testing.assert_allclose(
            similarity, ms_ssim(of_target, pictures), atol=0.02
        )  # pictures have 256 steps
        assert len(attacks.query("lam > @LAMBDAS[0]")) == len(attacks) - 3
        assert set(attacks["unit"]) == {robust["unit"]} == {"nats"}
        trials = tables["attacks"].set_index(["lam", "pair"])
        for row, lambda_ in enumerate(LAMBDAS):
            for p in range(3):
                assert trials.loc[(lambda_, p), "objective"] == file["objective"][row, p]
                assert trials.loc[(lambda_, p), "target_distance"] == measured["target_distance"][p]
                assert trials.loc[(lambda_, p), "image"] == file["pairs"][p, 0]


def test_every_table_of_models_says_which_are_not_correct(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for text in ("", "estimator mss-released: as released, not correct"):
        monkeypatch.setattr("vaepipe.stages.collect.caveat", lambda spec, text=text: text)
        tables = collect(jobs_of(CELL))
        said = {name: set(frame["caveat"]) for name, frame in tables.items() if "caveat" in frame}
        assert set(said) == set(TABLES) - {"pairs"}
        assert all(said[name] == {text} for name in said if len(tables[name]))


def test_a_study_without_attacks_has_an_empty_table(folder, monkeypatch):
    monkeypatch.chdir(folder)
    attacks = collect(jobs_of(CELL, attacked=False))["attacks"]
    assert len(attacks) == 0 and list(attacks.columns) == names(TABLES["attacks"])


@pytest.mark.slow
def test_a_damaged_or_missing_file_is_named_in_one_line(folder, digits, tmp_path):
    half = tmp_path / "half model.safetensors"
    half.write_bytes((folder / WEIGHTS).read_bytes()[:300])
    for model, data, named in [
        (half, digits, "half model"),
        (tmp_path / "none", digits, "none: no such"),
        (half, tmp_path / "no.h5", ""),
    ]:
        out = tmp_path / "e.h5"
        done = run_stage(
            "evaluate", "--spec", EVALUATE.to_json(), "--data", data, "--model", model, "--out", out
        )
        assert done.returncode == 1 and not out.exists()
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and named in lines[0], done.stderr
    done = run_stage("attack", "--spec", attack_spec(LAMBDAS, pairs=400).to_json(), "--data", digits,
                     "--model", folder / WEIGHTS, "--out", tmp_path / "a.h5")  # fmt: skip
    assert (
        done.stderr.strip()
        == "error: attack.pairs: 400 is more than the 360 held-out images; ask for fewer, or give more images"
    )
