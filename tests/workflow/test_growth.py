"""What is added is one file and one line of a registry, and no finished job runs again."""

import re

import pytest
from conftest import ROOT, SMOKE
from planning import overlay, planned

from vaepipe.figures.registry import FIGURES

MODELS = {"train", "evaluate"}
ATTACKS = {"attack_block", "attack", "ball", "measure"}
TABLES = {"collect", "plot", "headline", "claims", "report_pages", "explorer"}
NUMBERS = {"prepare", *MODELS, *ATTACKS}


def write_copy(folder, room, source, name, replacements=()) -> None:
    """Copy a file of a room under a new name, with replacements in its text."""
    text = (folder / "vaepipe" / room / source).read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text, (source, old)
        text = text.replace(old, new)
    (folder / "vaepipe" / room / name).write_text(text, encoding="utf-8")


def register(folder, wing, after, line) -> None:
    """Add a line to a registry, below the first line that matches ``after``."""
    path = folder / "vaepipe" / wing / "registry.py"
    text, count = re.subn(after, lambda match: match[0] + line, path.read_text(encoding="utf-8"), count=1)
    assert count == 1, path
    path.write_text(text, encoding="utf-8")


def add_loss(folder):
    renamed = [('"latent-mean"', '"extra-loss"')]
    write_copy(folder, "attacks/losses", "latent_mean.py", "extra_loss.py", renamed)
    register(folder, "attacks", r"LOSSES: [^=]*= \(", '"extra-loss",')


def add_dataset(folder):
    write_copy(folder, "datasets", "digits.py", "extra.py")
    facts = 'content="digits", count=1797, shape=(1, 8, 8), details="grey", licence="none", generated=True'
    line = f'"extra": Dataset(module="extra", {facts}),'
    register(folder, "datasets", r"DATASETS: [^=]*= \{", line)


def add_family(folder):
    write_copy(folder, "models/families", "beta_vae.py", "extra.py", [('"beta-vae"', '"extra"')])
    register(folder, "models", r"FAMILIES: [^=]*= \(", '"extra",')


def add_network(folder):
    write_copy(folder, "models/networks", "mlp.py", "extra.py")
    register(folder, "models", r"NETWORKS: [^=]*= \(", '"extra",')


def add_figure(folder):
    write_copy(folder, "figures", "heatmap.py", "extra.py")
    line = '"extra": Entry("extra", tables={"attacks": TRIAL}),'
    register(folder, "figures", r"FIGURES: [^=]*= \{", line)


def add_latent_metric(folder):
    write_copy(folder, "metrics/latent", "overlap.py", "extra.py", [('"overlap"', '"extra"')])
    register(folder, "metrics", r"LATENT_METRICS: [^=]*= \(", '"extra",')


def add_trial_metric(folder):
    write_copy(folder, "metrics/trial", "likelihood.py", "extra.py", [('"target_nll"', '"extra"')])
    register(folder, "metrics", r"TRIAL_METRICS: [^=]*= \(", '"extra",')


DIGITS = {"betas": [1, 4], "d_z": [4]}
SMALL = {"grid": {"families": ["vae"], "d_z": [4]}, "train": {"epochs": 5}}
UNUSED = {"loss": add_loss, "data set": add_dataset, "family": add_family, "network": add_network}
USED = {
    "loss": (
        {"digits": {"attack": {"losses": ["latent-kl", "extra-loss"]}}},
        {"attack_block": 9, "attack": 3, "measure": 3},
    ),
    "data set": (
        {"extra": SMALL | {"attack": {"lambdas": [1], "pairs": 2}}},
        {"prepare": 1, "train": 1, "evaluate": 1, "attack": 1, "measure": 1},
    ),
    "family": (
        {"digits": {"grid": DIGITS | {"families": ["beta-vae", "beta-tcvae", "extra"]}}},
        {"train": 1, "evaluate": 1, "attack_block": 3, "attack": 1, "ball": 1, "measure": 1},
    ),
    "network": (
        {"digits": {"model": {"network": "extra"}}},
        {"train": 3, "evaluate": 3, "attack_block": 9, "attack": 3, "ball": 3, "measure": 3},
    ),
}


REWORDED = {
    "an exception": ("storage/h5.py", '"no such file"', '"there is no file of this name"'),
    "an annotation": ("storage/h5.py", "path: str | Path", "path: str"),
    "a docstring": ("attacks/objective.py", '"""', '"""Reworded. '),
}


def test_what_is_registered_and_what_is_only_said_reruns_nothing(changed):
    for add in UNUSED.values():
        add(changed)
    for file, old, new in REWORDED.values():
        path = changed / "vaepipe" / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    for file in ("models/external.py", "study/jobs.py"):  # no stage of this study computes with it
        path = changed / "vaepipe" / file
        path.write_text(path.read_text(encoding="utf-8") + "\nADDED = 1\n", encoding="utf-8")
    assert planned(changed, "--configfile", SMOKE) == {}


@pytest.mark.parametrize("kind", USED)
def test_what_is_used_adds_its_own_cells_only(changed, kind):
    UNUSED[kind](changed)
    datasets, expected = USED[kind]
    study = ["swissroll", "digits", *(["extra"] if "extra" in datasets else [])]
    jobs = planned(changed, "--configfile", SMOKE, overlay(changed, study=study, datasets=datasets))
    assert {rule: count for rule, count in jobs.items() if rule in NUMBERS} == expected
    assert jobs.keys() - NUMBERS <= TABLES | {"config", "plot_montage", "plot_models"}


def test_a_figure_is_drawn_and_no_other_one(changed):
    add_figure(changed)
    assert planned(changed, "--configfile", SMOKE) == {"plot": 1, "report_pages": 1}


def test_a_latent_metric_evaluates_again_and_trains_and_attacks_nothing(changed):
    add_latent_metric(changed)
    jobs = planned(changed, "--configfile", SMOKE)
    assert {rule: count for rule, count in jobs.items() if rule in NUMBERS} == {"evaluate": 6}
    assert jobs.keys() - NUMBERS == TABLES | {"plot_swissroll", "plot_models"}


def test_a_trial_metric_measures_again_and_solves_nothing(changed):
    add_trial_metric(changed)
    jobs = planned(changed, "--configfile", SMOKE)
    assert {rule: count for rule, count in jobs.items() if rule in NUMBERS} == {"measure": 3}
    assert jobs.keys() - NUMBERS == TABLES | {"plot_montage"}


def test_every_figure_of_the_registry_is_a_file():
    assert all((ROOT / f"vaepipe/figures/{entry.module}.py").is_file() for entry in FIGURES.values())
