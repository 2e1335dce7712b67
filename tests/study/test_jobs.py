"""The list of jobs: their files, logs and benchmarks."""

import json

import pytest

from vaepipe.storage.errors import DataError
from vaepipe.study import drawings
from vaepipe.study.cells import Cell
from vaepipe.study.jobs import Job, digest, jobs, of_stage, paths, read_jobs, snapshots
from vaepipe.study.patterns import STAGES
from vaepipe.study.study import Study

GRID = {"betas": [1, 4], "d_z": [2], "families": ["ae", "beta-vae"]}
CONFIG = {
    "study": ["swissroll", "digits"],
    "datasets": {
        "swissroll": {"grid": {"betas": [1], "d_z": [2], "families": ["vae"]}},
        "digits": {
            "grid": GRID,
            "attack": {"losses": ["latent-kl", "output"], "lambdas": [1, 2, 3], "lambdas_per_job": 2},
            "ball": {"losses": ["latent-mean"]},
        },
    },
}


def count(listed, stage):
    return len(of_stage(listed, stage))


def test_every_job_of_a_study_is_listed_once():
    listed = jobs(Study(CONFIG))
    assert len(set(listed)) == len(listed)
    # digits: the autoencoder, the VAE at β = 1, β-VAE at β = 4; the autoencoder has no KL attack
    expected = {
        "prepare": 2,
        "train": 4,
        "evaluate": 4,
        "attack": 5,
        "attack_block": 10,
        "ball": 3,
        "measure": 8,
    }
    assert {stage: count(listed, stage) for stage in expected} == expected
    single = ("config", "collect", "claims", "explorer", "plot_montage")
    assert {stage: count(listed, stage) for stage in single} == {
        "config": 1, "collect": 1, "claims": 1, "explorer": 1, "plot_montage": 1,
    }  # fmt: skip


def test_snapshots_are_cells_of_their_own_taken_from_one_training_and_attacked_where_asked():
    grid = {"betas": [1, 4], "d_z": [2], "families": ["beta-vae"]}
    config = {"study": ["digits"], "grid": grid, "train": {"snapshots": [20, 5], "steps": 50}}
    for asked, attacked in ((False, 2), (True, 6)):
        study = Study(config | {"attack": {"losses": ["latent-kl"], "snapshots": asked}})
        listed = jobs(study)
        stages = ("train", "snapshot", "evaluate", "attack", "measure")
        assert [count(listed, stage) for stage in stages] == [2, 4, 6, attacked, attacked]
        of_cells = [job for job in listed if job.cell]
        assert {job.cell.snapshot for job in of_stage(of_cells, "evaluate")} == {0, 5, 20}
    job = next(job for job in of_stage(listed, "snapshot") if job.cell.beta == 4 and job.cell.snapshot == 20)
    folder = "results/models/digits/beta-vae/beta~4/dz~2/seed~0"
    assert job.output == f"{folder}/snapshot~20/model.safetensors"
    assert snapshots(job.cell) == f"{folder}/snapshots.safetensors"
    assert study.source(job.cell, "latent-kl") == Cell("digits", "vae", 1.0, 2, 0, 20)


def test_the_figure_of_a_swiss_roll_is_found_by_the_kind_of_the_data_set():
    roll = {"kind": "swissroll", "grid": {"betas": [1], "d_z": [2, 3], "families": ["vae"]}}
    digits = {"grid": GRID, "attack": {"losses": []}}
    study = Study({"study": ["digits", "roll"], "datasets": {"roll": roll, "digits": digits}})
    (job,) = of_stage(jobs(study), "plot_swissroll")
    assert (job.dataset, job.outputs["png"]) == ("roll", "results/figures/swissroll.png")
    assert drawings.swissroll_cells(study) == [Cell("roll", "vae", 1.0, 2, 0)]
    # a name alone, or a swiss roll without models of d_z = 2, gives no figure
    named = {"kind": "digits", "grid": {"d_z": [2]}}
    for other in ({"swissroll": named}, {"swissroll": {"grid": {"d_z": [3]}}}):
        assert not of_stage(jobs(Study({"study": ["swissroll"], "datasets": other})), "plot_swissroll")


def test_no_two_jobs_write_the_same_file_log_or_benchmark():
    listed = jobs(Study(CONFIG))
    written = [path for job in listed for path in job.outputs.values()]
    assert len(set(written)) == len(written) and not any("{" in path for path in written)
    for other in ("log", "benchmark"):
        named = [path for job in listed if (path := getattr(job, other))]
        assert len(set(named)) == len(named), other


def test_the_files_of_a_job_name_its_cell():
    listed = jobs(Study(CONFIG))
    (job,) = [job for job in of_stage(listed, "measure") if job.loss == "output" and job.cell.beta == 4]
    name = "digits/beta-vae/beta~4/dz~2/seed~0/output"
    assert job.name == name and job.output == f"results/measures/{name}.h5"
    assert job.log == f"logs/measures/{name}.log" and job.benchmark == f"benchmarks/measures/{name}.jsonl"
    assert f"results/attacks/{name}/lambda~1..2.h5" in paths(listed, "attack_block")


def test_stages_that_use_a_gpu_are_measured():
    assert all(stage.benchmark for stage in STAGES.values() if stage.on_gpu)


def test_a_stage_reads_the_list_back_from_the_effective_configuration(tmp_path):
    study = Study(CONFIG)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(study.effective()))
    assert read_jobs(path, digest(jobs(study))) == jobs(study)
    with pytest.raises(DataError, match="holds another study"):
        read_jobs(path, "0123456789abcdef")
    path.write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        read_jobs(path)


def test_the_digest_follows_the_files_and_not_the_settings():
    def of(**attack):
        return digest(jobs(Study(CONFIG | {"attack": attack})))

    assert of(threads=2) == of(threads=1) == of(draws=7)
    digits = {**CONFIG["datasets"]["digits"], "grid": GRID | {"seeds": [0, 1]}}
    larger = CONFIG | {"datasets": CONFIG["datasets"] | {"digits": digits}}
    assert digest(jobs(Study(larger))) != of(threads=1)
    assert Job("config").output == "results/config.json"


def test_a_figure_that_a_study_cannot_fill_is_not_made_and_says_what_it_needs():
    plain = Study({"study": ["digits"]})
    absent = drawings.absent_figures(plain)
    assert absent.keys() == {"ball", "disentanglement", "part2", "path", "swissroll"}
    assert "ball: {losses: [latent-kl]}" in absent["ball"] and not absent.keys() & {
        *drawings.figure_names(plain)
    }
    # what each says to write fills it
    asked = {"ball": {"losses": ["latent-kl"]}, "grid": {"families": ["beta-tcvae", "seatbelt"]}}
    asked |= {"train": {"snapshots": [10, 100]}, "attack": {"losses": ["latent-kl"]}}
    full = Study({"study": ["sprites", "swissroll"], **asked})
    assert not drawings.absent_figures(full) and "samples/sprites" in drawings.figure_names(full)
    nothing = Study({"study": ["swissroll"]})
    assert set(drawings.figure_names(nothing)) >= {"elbo", "training/swissroll", "swissroll"}
    assert "an attack" in drawings.absent_figures(nothing)["adversarial_loss"]
