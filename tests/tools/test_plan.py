"""What a study will cost: counts, what is done, hours from benchmarks, bytes."""

import json
import re

import h5py
import pytest
import yaml
from conftest import run_stage

from vaepipe.datasets.registry import DATASETS
from vaepipe.study.jobs import Job, jobs
from vaepipe.study.study import Study
from vaepipe.tools import plan

CONFIG = {
    "study": ["digits"],
    "device": "cuda",
    "datasets": {"digits": {"grid": {"betas": [1, 4], "d_z": [2], "families": ["beta-vae"]}}},
    "attack": {"losses": ["latent-kl"], "pairs": 5, "lambdas": [1, 2, 3, 4, 5], "lambdas_per_job": 3},
}


def rows(text):
    """stage → the numbers of its row; what is partly unknown, by its known part."""
    lines = text.split("\n\n")[0].splitlines()[1:]
    return {
        line.split()[0]: [float(x) for x in re.sub(r" \+ \?", "", line).split()[1:] if x != "?"]
        for line in lines
    }


def touch(folder, path, size=0):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(b"x" * size)


def bench(folder, path, seconds):
    touch(folder, path)
    (folder / path).write_text(json.dumps({"s": seconds, "max_rss": 2 * seconds, "h:m:s": "0"}) + "\n")


def test_of_an_untouched_study_it_knows_the_jobs_and_the_bytes_but_no_hours(tmp_path):
    text = plan.plan(Study(CONFIG), tmp_path, gpu=True)
    table = rows(text)
    counts = {"prepare": 1, "train": 2, "evaluate": 2, "attack_block": 4, "attack": 2, "measure": 2}
    counts |= {"collect": 1, "explorer": 1}
    assert {stage: table[stage][:3] for stage in plan.COUNTED if stage in table} == {
        stage: [n, 0, n] for stage, n in counts.items()
    }
    assert table["total"][:3] == [15, 0, 15]
    assert "The time is not known for prepare digits, train digits" in text
    sizes = {plan.size(Study(CONFIG), job) for job in jobs(Study(CONFIG)) if job.stage.startswith("attack")}
    assert sizes == {plan.Size(rows, rows * 64 * 4) for rows in (10, 15, 25)}
    assert "25 rows" in text


def test_attacks_of_bounded_size_are_counted_with_their_rows(tmp_path):
    study = Study(CONFIG | {"ball": {"losses": ["latent-kl", "output"], "l2": [1], "linf": [0.1, 0.2]}})
    assert rows(plan.plan(study, tmp_path, gpu=True))["ball"][:3] == [4, 0, 4]
    sizes = {plan.size(study, job) for job in jobs(study) if job.stage == "ball"}
    assert sizes == {plan.Size(15, 15 * 64 * 4)}
    measured = {job.loss: plan.size(study, job).rows for job in jobs(study) if job.stage == "measure"}
    assert measured == {"latent-kl": 25 + 15, "output": 15}
    assert not any(job.stage == "ball" for job in jobs(Study(CONFIG)))


def test_hours_are_those_of_earlier_jobs_and_per_row_for_attacks(tmp_path):
    study = Study(CONFIG)
    first, second = study.cells
    for path in Job("train", cell=first).outputs.values():
        touch(tmp_path, path, 1000)
    bench(tmp_path, f"benchmarks/models/{first.name}/train.jsonl", 7200)
    bench(tmp_path, f"benchmarks/models/{first.name}/evaluate.jsonl", 3600)
    short, long = sorted(study.blocks("digits"), key=lambda block: len(study.blocks("digits")[block]))
    bench(
        tmp_path, f"benchmarks/attacks/{first.name}/latent-kl/{short}.jsonl", 3600
    )  # 10 rows; the others have 10, 15, 15
    text = plan.plan(study, tmp_path, gpu=True)
    table = rows(text)
    assert table["train"] == [2, 1, 1, 7200, 2, 2, 0]  # jobs, done, to do, s per job, hours, GPU hours, GB
    assert table["evaluate"][3:6] == [3600, 2, 2]
    assert table["attack_block"][3:6] == [4500, 5, 5]
    assert table["total"][3:5] == [9, 9]
    assert f"longest job to do: train {second.name}, 120.0 min" in text and "14.40 GB" in text
    assert rows(plan.plan(study, tmp_path, gpu=False))["total"][4] == 0
    (tmp_path / f"benchmarks/models/{first.name}/train.jsonl").write_text("{half")
    assert rows(plan.plan(study, tmp_path, gpu=True))["train"][:3] == [2, 1, 1]
    assert len(long) > 0


def test_bytes_are_those_of_the_files_that_are_there(tmp_path):
    study = Study(CONFIG)
    trainings = [job for job in jobs(study) if job.stage == "train"]
    sizes = {job: plan.size(study, job) for job in trainings}
    assert plan.expected_bytes(trainings, sizes, tmp_path) is None
    for path in trainings[0].outputs.values():
        touch(tmp_path, path, 500)
    assert plan.expected_bytes(trainings, sizes, tmp_path) == len(trainings[0].outputs) * 1000


def test_the_digits_are_as_large_as_their_registry_entry_states(digits):
    with h5py.File(digits) as file:
        shapes = [file[split]["x"].shape for split in ("train", "test")]
    info = DATASETS["digits"]
    assert info.count == sum(shape[0] for shape in shapes) and info.shape == shapes[0][1:]


def test_files_of_the_users_are_as_large_as_they_are_which_the_registry_does_not_know(tmp_path):
    (tmp_path / "part.npz").touch()
    own = {"kind": "dsprites", "path": str(tmp_path / "part.npz")}
    study = Study(CONFIG | {"study": ["sprites"], "datasets": {"sprites": own}})
    (job,) = [job for job in jobs(study) if job.stage == "prepare"]
    assert plan.size(study, job) == plan.Size()


@pytest.mark.slow
def test_from_outside_it_starts_nothing_and_says_mistakes_in_one_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump({"study": ["digits"], "datasets": {"digits": {"grid": {"betas": [1], "d_z": [2, 3]}}}})
    )
    done = run_stage("plan", "--configfile", file, "--directory", tmp_path)
    assert done.returncode == 0 and rows(done.stdout)["train"][:3] == [2, 0, 2], done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    for text, said in (
        ("train: {epoch: 3}", "error: config: train.epoch: unknown key"),
        ("[", "not a readable YAML file"),
    ):
        file.write_text(text)
        done = run_stage("plan", "--configfile", file)
        assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
