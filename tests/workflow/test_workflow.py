"""The workflow from outside: the smoke study, what reruns after which change, and bad input."""

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import (
    HANGS,
    ROOT,
    SERVED,
    SMOKE,
    SNAKEMAKE,
    copy_repository,
    copy_study,
    snakemake,
    start_snakemake,
    until,
)
from PIL import Image
from planning import overlay, planned

from vaepipe.claims import claims as claims_of_posts
from vaepipe.datasets.prepared import read_split
from vaepipe.figures.registry import FIGURES
from vaepipe.study.patterns import HANDED_OVER, STAGES
from vaepipe.tools.plan import read_benchmark

pytestmark = pytest.mark.slow


def test_the_smoke_study_makes_every_table_and_figure_and_ends_with_the_headline(finished):
    folder, said = finished, (finished.parent / "said.txt").read_text(encoding="utf-8")
    figures = {
        path.relative_to(folder / "results/figures").as_posix()
        for path in (folder / "results/figures").rglob("*.*")
    }
    names = [
        *(name for name, entry in FIGURES.items() if ".png" in entry.suffixes and not entry.per_dataset),
        *(f"{name}/digits" for name, entry in FIGURES.items() if entry.per_dataset),
        "training/swissroll",
    ]
    unfilled = {"disentanglement", "part2", "path"}  # without factors, a Seatbelt-VAE, and snapshots
    ends = ("pdf", "png", "csv", "md", "txt")
    assert figures == {f"{name}.{end}" for name in names if name not in unfilled for end in ends}
    attacks = pd.read_parquet(folder / "results/tables/attacks.parquet")
    assert len(attacks) == 3 * 3 * 4 and attacks["objective"].gt(0).all()
    assert sorted(attacks["lam"].unique()) == [0.01, 1, 100]
    balls = pd.read_csv(folder / "results/tables/ball.csv")
    assert len(balls) == 3 * 3 * 4 and set(zip(balls["ball"], balls["radius"])) == {
        ("l2", 0.5),
        ("l2", 2),
        ("linf", 0.1),
    }
    assert pd.read_csv(folder / "results/tables/robustness.csv")["ball_wins"].between(0, 1).all()
    models = pd.read_csv(folder / "results/tables/models.csv")
    assert len(models) == 6 and np.isfinite(models["elbo"]).all()
    assert set(models["family"]) == {"vae", "beta-vae", "beta-tcvae"}
    headline = (folder / "results/headline.txt").read_text(encoding="utf-8")
    claims = pd.read_csv(folder / "results/tables/claims.csv")
    assert (
        claims["claim"].nunique() == len(claims_of_posts()) and "does not hold" in claims["verdict"].to_list()
    )
    lines = said.strip().splitlines()
    first = " ".join(headline.split()).split(". ")[0]
    [at] = [i for i, line in enumerate(lines) if line.startswith(f"Found:  {first}. ")]
    [end] = [i for i, line in enumerate(lines) if line.startswith("Next: ")]
    assert 4 <= end - at + 1 <= 5 and len(lines) < 50
    assert f"Report: {folder}/results/report/index.html" in said
    config = json.loads((folder / "results/config.json").read_text())
    assert config["datasets"]["digits"]["attack"]["lambdas_per_job"] == 1
    logs = (folder / "logs/models/digits/vae/beta~1/dz~4/seed~0/train.log").read_text()
    assert logs.count("epoch") == 5 and "s left" in logs
    assert not list(folder.rglob(".*.resume*")) and not list(folder.rglob("*.tmp*"))
    trained = [read_benchmark(path) for path in folder.glob("benchmarks/models/**/train.jsonl")]
    assert len(trained) == 6 and all(row["max_rss"] < HANDED_OVER for row in trained)  # the server did them


def test_a_second_run_has_nothing_to_do(study):
    done = snakemake(study, "--cores", 2, "--configfile", SMOKE)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


def test_touching_commenting_and_checking_out_reruns_nothing(changed):
    now = time.time() + 60
    for path in [
        changed / "config.yaml",
        changed / "Snakefile",
        *changed.glob("rules/*"),
        *changed.rglob("vaepipe/**/*.py"),
    ]:
        os.utime(path, (now, now))
    for name in ("stages/train.py", "storage/h5.py", "attacks/solvers/lbfgs.py", "figures/style.py"):
        path = changed / "vaepipe" / name
        path.write_text("# a remark\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    results = [*changed.glob("results/data/*.h5"), *changed.rglob("results/models/**/model.safetensors")]
    before = {path: path.stat().st_mtime_ns for path in results}  # and a node whose clock is ahead made these
    for path in results:
        os.utime(path, (now + 3600, now + 3600))
    assert planned(changed, "--configfile", SMOKE) == {}
    for path, then in before.items():
        os.utime(path, ns=(then, then))


MEASURES = {"measure": 3}
AFTER_PLOT = {"explorer": 1, "report_pages": 1}
DRAWN = {"collect": 1, "plot": 12, "headline": 1, "claims": 1, "report_pages": 1, "explorer": 1}
AFTER_MEASURE = MEASURES | DRAWN | {"plot_montage": 1}
AFTER_BALL = AFTER_MEASURE | {"ball": 3}
AFTER_ATTACK = AFTER_MEASURE | {"attack": 3}
AFTER_TRAIN = AFTER_ATTACK | {
    "evaluate": 6,
    "attack_block": 9,
    "ball": 3,
    "plot_swissroll": 1,
    "plot_models": 5,
}
EDITS = [
    ("models/objectives.py", AFTER_TRAIN | {"train": 6}),
    ("attacks/solvers/lbfgs.py", AFTER_ATTACK | AFTER_BALL | {"attack_block": 9}),
    ("attacks/ball.py", AFTER_BALL),
    ("trust/masking.py", AFTER_MEASURE),
    ("stages/evaluate.py", DRAWN | {"evaluate": 6, "plot_swissroll": 1, "plot_models": 3}),
    ("datasets/digits.py", {"prepare": 1}),  # and what follows only if the data turn out to differ
    ("figures/montage.py", {"plot_montage": 1, "plot_models": 3, "report_pages": 1}),  # they share its tiles
    ("figures/elbo.py", {"plot": 1, "report_pages": 1}),
    ("claims/part2.py", {"claims": 1, "report_pages": 1}),
    ("pages/explorer.js", AFTER_PLOT),
]


@pytest.mark.parametrize(("file", "expected"), EDITS, ids=[file for file, _ in EDITS])
def test_an_edit_of_meaning_reruns_the_stages_that_use_it_and_what_follows(changed, file, expected):
    path = changed / "vaepipe" / file
    path.write_text(path.read_text(encoding="utf-8") + "\nADDED = 1\n", encoding="utf-8")
    assert planned(changed, "--configfile", SMOKE) == expected


GRID = {"betas": [1, 4], "d_z": [4]}
ATTACK = {"lambdas": [0.01, 1, 100]}
GROWTH = [
    (
        {"datasets": {"digits": {"grid": GRID | {"betas": [1, 4, 9]}}}},
        {"train": 2, "evaluate": 2, "attack_block": 6, "attack": 2},
    ),
    (
        {"datasets": {"digits": {"grid": GRID | {"d_z": [4, 5]}}}},
        {"train": 3, "evaluate": 3, "attack_block": 9, "attack": 3},
    ),
    (
        {"datasets": {"digits": {"grid": GRID | {"seeds": [0, 7]}}}},
        {"train": 3, "evaluate": 3, "attack_block": 9, "attack": 3},
    ),
    ({"datasets": {"digits": {"attack": {"lambdas": [0.01, 1, 10, 100]}}}}, {"attack_block": 3, "attack": 3}),
    ({"datasets": {"digits": {"train": {"threads": 2}}}}, {}),
]


@pytest.mark.parametrize(("change", "expected"), GROWTH, ids=["beta", "d_z", "seed", "lambda", "threads"])
def test_what_is_added_is_all_that_is_made(study, change, expected):
    jobs = planned(study, "--configfile", SMOKE, overlay(study, **change))
    assert {
        rule: n
        for rule, n in jobs.items()
        if rule in ("prepare", "train", "evaluate", "attack_block", "attack")
    } == expected


def test_what_was_lost_is_made_again_with_the_same_numbers_though_snakemake_is_killed_at_it(
    finished, tmp_path
):
    folder = copy_study(finished, tmp_path)
    tables = [
        folder / "results/tables" / name for name in ("models.csv", "images.parquet", "attacks.parquet")
    ]
    before = [path.read_bytes() for path in tables]
    cells = [f"models/swissroll/{family}/beta~32/dz~2/seed~0" for family in ("beta-tcvae", "beta-vae")]
    (model, other), logs = ([folder / part / cell for cell in cells] for part in ("results", "logs"))
    log, its = (path / "train.log" for path in logs)
    for path in (model, other):
        shutil.rmtree(path)
        path.mkdir()
    log.unlink()
    its.unlink()
    for lost in ("latent-kl.h5", "latent-kl/lambda~1.h5"):
        (folder / "results/attacks/digits/beta-tcvae/beta~4/dz~4/seed~0" / lost).unlink()
    for path in tables:
        path.unlink()
    command = ("--cores", 2, "--configfile", SMOKE, "--", "results/tables/models.csv")
    served = os.environ | SERVED
    with (
        open(model / ".model.lock", "w") as lock,
        open(other / ".model.lock", "w") as second,
        open(tmp_path / "said", "w") as said,
    ):
        for held in (lock, second):
            fcntl.flock(held, fcntl.LOCK_EX)  # the trainings wait, as if they were long ones
            print("a training that opens this file empties it", file=held, flush=True)
        first = start_snakemake(folder, *command, stdout=said, stderr=said, env=served)
        until(lambda: not any(os.path.getsize(held.name) for held in (lock, second)), first)
        for _ in range(2):  # while the first one is alive, and when only its lock is left
            told = snakemake(folder, *command)
            assert told.returncode != 0 and "Directory cannot be locked" in told.stdout + told.stderr
            first.kill()
            first.wait()
        fcntl.flock(
            second, fcntl.LOCK_UN
        )  # one orphan ends before the second run begins, which does not see it
        until((other / "model.safetensors").exists)
        assert its.read_text().count("epoch") == 2
        assert snakemake(folder, "--unlock", *command[2:4]).returncode == 0
        log.unlink()
        again = start_snakemake(folder, *command, stdout=said, stderr=said, env=served)
        until(log.exists, again)
        fcntl.flock(
            lock, fcntl.LOCK_UN
        )  # the other one trains, while the training of the second run still starts
        assert again.wait(HANGS) == 0, (tmp_path / "said").read_text()[-6000:]
    for old, path in zip(before, tables):
        assert path.read_bytes() == old, path.name
    assert "is there already" in log.read_text() and "epoch" not in log.read_text()
    assert its.read_text().startswith("continuing after epoch 2 ") and its.read_text().count("epoch") == 1
    assert not list(folder.rglob(".*.resume*")) and not list(folder.rglob("*.tmp*"))


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_a_user_who_may_only_read_the_folder_is_told_in_one_line(finished, tmp_path):
    os.chown(tmp_path, 65534, 65534)
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search",
             "--ambient-caps=+dac_read_search"]  # fmt: skip
    command = [*other, *SNAKEMAKE, "-n", "--configfile", SMOKE]
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=finished, env=os.environ | home, capture_output=True, text=True)
    assert done.returncode != 0
    said = f"error: {finished}/.snakemake: cannot be written by you; "
    said += "choose a folder of your own with --directory"
    assert said in done.stderr.splitlines() and "Traceback" not in done.stderr


def test_the_seeds_study_is_planned_whole(study):
    jobs = planned(study, "--configfile", "configs/paper.yaml", "--directory", study.parent / "elsewhere")
    expected = {"prepare": 5, "train": 216, "evaluate": 216, "attack": 198, "measure": 198, "collect": 1}
    expected |= {"config": 1, "headline": 1, "claims": 1, "plot": 12, "plot_swissroll": 1, "plot_montage": 3}
    expected |= {"plot_models": 17}
    assert jobs == expected | AFTER_PLOT


BAD = [
    ({"train": {"epoch": 3}}, "config: train.epoch: unknown key; known: epochs"),
    (
        {"train": {"learning_rate": "1e-3"}},
        "config: train.learning_rate: '1e-3' is not allowed; expected a number > 0",
    ),
    (
        {"study": ["mnist"], "datasets": {"mnist": {"path": "no $(touch such) file"}}},
        "config: datasets.mnist.path: 'no $(touch such) file'",
    ),
]


@pytest.mark.parametrize(("change", "line"), BAD, ids=["key", "type", "path"])
def test_bad_input_is_one_line_before_any_job_and_nothing_is_written(tmp_path, change, line):
    folder = copy_repository(tmp_path / "repo")
    before = sorted(folder.rglob("*"))
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(change))
    done = snakemake(folder, "--cores", 2, "--configfile", file)
    assert done.returncode != 0
    said = [
        text
        for text in (done.stdout + done.stderr).splitlines()
        if not text.startswith(("Using workflow", "Config file"))
    ]
    assert len(said) == 1 and said[0].startswith(line), said
    after = [
        path
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and ".snakemake" not in path.parts
    ]
    assert sorted(after) == before


def test_a_data_path_with_spaces_quotes_and_shell_characters_is_only_a_path(tmp_path):
    folder = copy_repository(tmp_path / "repo")
    name = "my 'data' $(touch pwned) ; \"x\".npz"
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, (50, 6))
    np.savez(
        tmp_path / name,
        imgs=random.integers(0, 2, (40, 64, 64)).astype(np.uint8),
        latents_classes=classes[:40],
    )
    file = tmp_path / "own.yaml"
    file.write_text(
        yaml.safe_dump({"study": ["dsprites"], "datasets": {"dsprites": {"path": str(tmp_path / name)}}})
    )
    target = ("--configfile", file, "--", "results/data/dsprites.h5")
    done = snakemake(folder, "--cores", 2, *target, env=os.environ | SERVED)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "results/data/dsprites.h5").exists() and not list(tmp_path.rglob("pwned"))
    assert planned(folder, *target) == {}
    np.savez(
        tmp_path / name,
        imgs=1 - random.integers(0, 2, (50, 64, 64)).astype(np.uint8),
        latents_classes=classes[:50],
    )
    assert planned(folder, "--configfile", file, "--", "results/data/dsprites.h5") == {"prepare": 1}


def test_a_folder_of_photographs_under_a_name_of_its_own(tmp_path):
    folder, photos = copy_repository(tmp_path / "repo"), tmp_path / "my {photos} 'of' \"cats\""
    photos.mkdir()
    random = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(photos / f"a {i}.png")
    file = tmp_path / "own.yaml"
    cats = {"kind": "folder", "path": str(photos), "size": 16, "attack": {"pairs": 2}}
    file.write_text(yaml.safe_dump({"study": ["my-cats", "faces"], "datasets": {"my-cats": cats}}))
    served = os.environ | SERVED
    done = snakemake(folder, "--cores", 2, "--keep-going", "--configfile", file, "--", "data", env=served)
    said = {line.strip() for line in (done.stdout + done.stderr).splitlines() if "error: " in line}
    assert done.returncode != 0 and len(said) == 1 and "error: faces: they are not public" in said.pop()
    assert read_split(folder / "results/data/my-cats.h5", "train").x.shape == (3, 3, 16, 16)
    assert planned(folder, "--configfile", file, "--", "results/data/my-cats.h5") == {}
    Image.new("RGB", (16, 16)).save(photos / "new.png")
    assert planned(folder, "--configfile", file, "--", "results/data/my-cats.h5") == {"prepare": 1}


def test_jobs_to_start_are_only_looked_for_at_the_start_and_when_a_job_has_ended(tmp_path):
    files = [f"results/data/{name}.h5" for name in ("digits", "swissroll")]
    arguments = ("--directory", tmp_path, "--verbose", "--", *files)
    done = snakemake(ROOT, "--cores", 1, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("Ready jobs: ") == len(files)


# --- profiles ---


def test_the_slurm_profile_offers_gres_as_a_block_that_is_only_to_be_uncommented():
    text = (ROOT / "profiles/slurm/config.yaml").read_text()
    block = text.rsplit("# set-resources:\n", 1)[1]
    active = yaml.safe_load(text)["set-resources"]
    other = yaml.safe_load("set-resources:\n" + block.replace("#   ", "  "))["set-resources"]
    assert other == {rule: {"gpu": 0, "gres": "gpu:1", "gpu_percent": 0} for rule in active}


@pytest.mark.skipif(
    not all(
        importlib.util.find_spec(f"snakemake_{name}")
        for name in ("executor_plugin_kubernetes", "storage_plugin_fs")
    ),
    reason="pip install snakemake-executor-plugin-kubernetes snakemake-storage-plugin-fs",
)
def test_kubernetes_is_planned_by_its_profile_alone(tmp_path):
    storage = (
        "--default-storage-provider",
        "fs",
        "--default-storage-prefix",
        tmp_path / "volume",
    )  # s3 needs a server
    profile = (
        "--profile",
        ROOT / "profiles/kubernetes",
        *storage,
        "--configfile",
        ROOT / SMOKE,
        "--directory",
        tmp_path,
    )
    jobs = planned(ROOT, *profile, "--", "models", "attacks", "measures")
    expected = {"prepare": 2, "train": 6, "evaluate": 6, "attack_block": 9, "attack": 3, "measure": 3}
    assert {rule: n for rule, n in jobs.items() if rule in expected} == expected


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_profile_asks_for_a_gpu_for_every_rule_that_may_use_one(name):
    on_gpu = {name for name, stage in STAGES.items() if stage.on_gpu}
    text = (ROOT / "profiles" / name / "config.yaml").read_text()
    assert yaml.safe_load(text)["set-resources"] == {rule: {"gpu": 1, "gpu_percent": 0} for rule in on_gpu}
    lines = text.splitlines()
    keys = [i for i, line in enumerate(lines) if line and line[0] not in " #"]
    assert all(lines[i - 1].startswith("#") for i in keys)  # every key has its reason above it
