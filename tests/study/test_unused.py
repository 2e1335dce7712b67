"""Every key that changes nothing is named in one line, and no key that changes something."""

import json

import pytest
import yaml
from conftest import ROOT

from vaepipe.study.files import merge_layers, read_file
from vaepipe.study.study import Study
from vaepipe.study.unused import unused_keys

BASE = read_file(ROOT / "config.yaml")
ONE_FAMILY = "study: [digits]\ngrid: {families: [beta-vae]}\n"
SCIPY_IGNORES = ("effort", "max_iterations", "tolerance")
CASES = {
    "epochs beside steps": (
        "study: [digits]\ntrain: {epochs: 3, steps: 9}",
        ["train.epochs has no effect: train.steps takes its place"],
    ),
    "a data set outside": (
        "datasets: {mnist: {train: {epochs: 3}}}",
        ["datasets.mnist has no effect: mnist is not in `study`"],
    ),
    "seatbelt's": (
        "model: {layers: 2}",
        ["model.layers has no effect: no seatbelt is trained"],
    ),
    "autoencoder": (
        "study: [digits]\ngrid: {families: [ae]}\ntrain: {free_bits: 0.5, kl: sample}",
        [
            "train.free_bits has no effect: an autoencoder has no KL",
            "train.kl has no effect: an autoencoder has no KL",
        ],
    ),
    "snapshots": (
        "study: [digits]\nattack: {snapshots: true}",
        ["attack.snapshots has no effect: train.snapshots is []"],
    ),
    "hidden": (
        "study: [digits]\nmodel: {network: conv, hidden: [9]}",
        ["model.hidden has no effect: the network conv does not have it"],
    ),
    "sigma": (
        "study: [mnist]\nmodel: {sigma_x: 0.3}",
        ["model.sigma_x has no effect: the likelihood is bernoulli"],
    ),
    "estimator": (
        ONE_FAMILY + "train: {estimator: mws}",
        ["train.estimator has no effect: no beta-tcvae or seatbelt is trained at β ≠ 1"],
    ),
    "β": (
        "study: [digits]\ngrid: {families: [ae, vae], betas: [1, 4]}",
        ["grid.betas has no effect: β does not apply to ae, vae"],
    ),
    "warmup": (
        "study: [digits]\ngrid: {betas: [1]}\ntrain: {beta_warmup: 4}",
        ["train.beta_warmup has no effect: no model is trained at β ≠ 1"],
    ),
    "ball is off": (
        "study: [digits]\nball: {steps: 3, l2: [1]}",
        ["ball.steps has no effect: ball.losses is []", "ball.l2 has no effect: ball.losses is []"],
    ),
    "no attacks": (
        "study: [digits]\nattack: {losses: [], pairs: 3, tolerance: 0.1}\nchecks: {noise: 1}",
        [
            "attack.pairs has no effect: attack.losses and ball.losses are []",
            "attack.tolerance has no effect: attack.losses is []",
            "checks.noise has no effect: attack.losses is []",
        ],
    ),
    "balls only": (
        "study: [digits]\nattack: {losses: [], pairs: 3, lambdas: [1]}\nball: {losses: [latent-kl]}",
        ["attack.lambdas has no effect: attack.losses is []"],
    ),
    "draws": (
        "study: [digits]\nattack: {losses: [latent-kl], draws: 2}",
        ["attack.draws has no effect: no draws of z in latent-kl"],
    ),
    "scipy": (
        "study: [digits]\nattack: {solver: scipy, effort: thorough, max_iterations: 9, tolerance: 0.1}",
        [f"attack.{key} has no effect: the solver scipy has its own" for key in SCIPY_IGNORES],
    ),
    "points": (
        "study: [swissroll]\nattack: {pairs: 3}",
        ["attack.pairs has no effect: swissroll has points, which are not attacked"],
    ),
    "points of a mixed study": (
        "datasets: {swissroll: {attack: {losses: [output]}}}",
        ["datasets.swissroll.attack.losses has no effect: swissroll has points, which are not attacked"],
    ),
    "switched off": (
        "study: [digits]\n"
        "checks: {probe_images: 9, mcmc_leapfrogs: 2, adaptive_iterations: 3, restarts: 0, restart_steps: 3}",
        [
            "checks.probe_images has no effect: checks.probe is false",
            "checks.mcmc_leapfrogs has no effect: checks.mcmc_steps is 0",
            "checks.adaptive_iterations has no effect: checks.adaptive_steps is 0",
            "checks.restart_steps has no effect: checks.restarts is 0",
        ],
    ),
    "transfer": (
        "study: [digits]\ngrid: {betas: [2, 4]}\nchecks: {transfer: true}",
        [
            "checks.transfer has no effect: "
            "there is no model at β = 1 beside another one with its d_z and seed"
        ],
    ),
    "both have their own": (
        "train: {epochs: 9}\ndatasets: {digits: {train: {epochs: 8}}, swissroll: {train: {epochs: 7}}}",
        [
            "train.epochs has no effect: datasets.swissroll.train.epochs takes its place; "
            "datasets.digits.train.epochs takes its place"
        ],
    ),
    "the whole study's": (
        "device: cpu\ngpu_jobs_per_device: 2\ndata_dir: x",
        [
            "gpu_jobs_per_device has no effect: device is cpu",
            "data_dir has no effect: nothing is downloaded, as every data set is generated or has a path",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_key_without_effect_is_named_once_with_the_reason(case):
    text, expected = CASES[case]
    config = merge_layers([BASE, yaml.safe_load(text)])
    assert unused_keys(config, Study(config)) == expected


@pytest.mark.parametrize("path", ["", *sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))])
def test_the_studies_that_come_with_the_package_have_no_such_key(path):
    config = merge_layers([BASE, *([read_file(ROOT / "configs" / path)] if path else [])])
    for own in config.get("datasets", {}).values():
        own.pop("path", None)
    assert unused_keys(config, Study(config)) == []


def everything(config):
    """All that jobs get of a study."""
    study = Study(config)
    specs = [study.prepare_spec(name).to_json() for name in study.names]
    for cell in study.cells:
        specs += [cell.name, study.model_spec(cell).to_json(), study.evaluate_spec(cell).to_json()]
    for get, listed in ((study.attack_spec, study.attacks()), (study.ball_spec, study.balls())):
        specs += [f"{cell.name} {loss} {get(cell, loss).to_json()}" for cell, loss in listed]
    return json.dumps(specs)


KEYS = {
    "grid": {"betas": [1, 3], "seeds": [5]},
    "model": {"hidden": [7], "likelihood": "gaussian", "sigma_x": 0.7, "layers": 3},
    "train": {
        "epochs": 77,
        "steps": 3,
        "free_bits": 0.7,
        "clip": 3.0,
        "schedule": "constant",
        "snapshots": [2],
    },
    "evaluate": {"keep": 3},
    "attack": {"losses": ["max-damage"], "pairs": 7, "lambdas": [3], "tolerance": 0.3},
    "ball": {"l2": [3], "steps": 7, "restarts": 1},
}
STUDIES = {
    "default": {},
    "seatbelt": {"study": ["digits"], "grid": {"families": ["seatbelt"]}},
    "points": {"study": ["swissroll"]},
    "ball": {"study": ["digits"], "ball": {"losses": ["latent-kl"]}, "attack": {"losses": []}},
    "conv": {"study": ["mnist"], "model": {"network": "conv"}},
    "vae": {"study": ["mnist"], "grid": {"families": ["vae"]}},
}


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize(
    ("section", "key"), [(section, key) for section, keys in KEYS.items() for key in keys]
)
def test_a_key_that_changes_a_job_is_not_named_and_one_that_changes_none_is(name, section, key):
    before = merge_layers([BASE, STUDIES[name]])
    config = merge_layers([before, {section: {key: KEYS[section][key]}}])
    named = any(line.startswith(f"{section}.{key} ") for line in unused_keys(config, Study(config)))
    changes = everything(config) != everything(before)
    if named:  # the spec of a model holds some keys that its network or likelihood does not read
        assert not changes or (section, key) in (
            ("model", "hidden"),
            ("model", "sigma_x"),
            ("train", "epochs"),
        )
    else:
        assert changes or KEYS[section][key] == getattr(
            getattr(Study(before).settings[before["study"][0]], section), key
        )
