"""Job specs: what a job gets on its command line, and what does not belong there."""

import pytest
import yaml
from conftest import ROOT

from vaepipe.storage.errors import DataError
from vaepipe.study.caveats import caveat
from vaepipe.study.settings import ExternalOptions, Model, TrainOptions
from vaepipe.study.specs import (
    AttackSpec,
    BallSpec,
    EvaluateSpec,
    ExternalSpec,
    FigureSpec,
    MeasureSpec,
    ModelSpec,
    PrepareSpec,
)
from vaepipe.study.study import Study

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
MODEL = ExternalOptions(entry="a:b", weights="w.pt", dataset="digits", shape=(1, 8, 8), d_z=3)
SPECS = [
    PrepareSpec(dataset="mine", kind="folder", path="here", options={"size": None, "channels": 1}),
    ModelSpec(family="seatbelt", beta=0.1, model=Model(layers=2, sigma_x=1 / 3), train=TrainOptions(clip=2)),
    ExternalSpec(family="mine", beta=0, external=MODEL),
    EvaluateSpec(keep=7),
    AttackSpec(loss="output", lambdas=(2.0**-20, 1 / 3), pairs=((0, 1), (2, 3))),
    BallSpec(l2=(), restarts=0),
    MeasureSpec(pair_seed=3),
    FigureSpec(cells=(ModelSpec().cell,), things={"digits": "images"}),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_a_spec_is_read_back_from_its_json_exactly(spec):
    assert type(spec).from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (AttackSpec, '{"lambda": [1]}', "lambda: "),
        (AttackSpec, '{"pairs": 4.5}', "pairs"),
        (AttackSpec, '{"batch_size": "64"}', "batch_size: "),
        (AttackSpec, '{"loss": "latent"}', "latent-kl"),
        (AttackSpec, '{"lambdas": [1, 1]}', "no duplicates"),
        (ModelSpec, '{"train": {"epochs": 0}}', "train.epochs: "),
        (PrepareSpec, "{}", "dataset: "),
        (PrepareSpec, "[]", "object"),
        (PrepareSpec, "{", "JSON"),
    ],
)
def test_a_mistake_in_a_spec_gives_one_line(kind, text, words):
    with pytest.raises(DataError) as caught:
        kind.from_json(text)
    message = str(caught.value)
    assert message.startswith("--spec: ") and words in message and "\n" not in message


def specs(change):
    study = Study(DEFAULT | change)
    cell, loss = next((cell, loss) for cell, loss in study.attacks() if cell.beta != 1)
    return {
        "train": study.model_spec(cell),
        "evaluate": study.evaluate_spec(cell),
        "attack": study.attack_spec(cell, loss),
        "ball": study.ball_spec(cell, loss),
        "measure": study.measure_spec(cell, loss),
    }


@pytest.mark.parametrize(
    ("change", "reruns"),
    [
        ({"train": {"threads": 3}, "attack": {"threads": 3, "lambdas_per_job": 1}}, set()),
        (
            {"attack": {"losses": ["latent-kl", "output", "latent-skl"]}, "ball": {"losses": ["output"]}},
            set(),
        ),
        ({"model": {"layers": 2}}, set()),  # only the Seatbelt-VAE reads it
        ({"attack": {"snapshots": True}}, set()),
        ({"train": {"snapshots": [3]}}, {"train"}),
        ({"train": {"free_bits": 1.0}}, {"train"}),
        ({"attack": {"samples": 3}}, {"measure"}),
        ({"checks": {"noise": 1}}, {"measure"}),
        ({"attack": {"pairs": 3}}, {"attack", "ball"}),
        ({"attack": {"pair_seed": 3}}, {"attack", "ball", "measure"}),
        ({"attack": {"tolerance": 0.1}}, {"attack"}),
        ({"ball": {"steps": 3}}, {"ball"}),
        ({"evaluate": {"max_images": 3}}, {"evaluate"}),
        ({"train": {"precision": "float32"}}, {"train"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_a_spec_holds_what_decides_the_numbers_of_its_job_and_nothing_else(change, reruns):
    before, after = specs({}), specs(change)
    assert {stage for stage in before if before[stage].to_json() != after[stage].to_json()} == reruns


def test_the_settings_of_a_family_are_in_its_own_spec():
    study = Study({"study": ["digits"], "grid": {"families": ["vae", "seatbelt"], "d_z": [4], "betas": [2]}})
    models = {spec.family: spec for spec in map(study.model_spec, study.cells)}
    assert '"layers": 4' in models["seatbelt"].to_json() and "layers" not in models["vae"].to_json()


@pytest.mark.parametrize(
    ("dataset", "device", "attack", "rows"),
    [
        ("digits", "cpu", {}, 256),
        ("digits", "auto", {}, 256),
        ("sprites", "cpu", {}, 64),
        ("digits", "cpu", {"batch_size": 7}, 7),
        ("digits", "cuda", {"pairs": 3, "lambdas": [1, 2], "lambdas_per_job": 1}, 6),
        ("digits", "cuda", {"pairs": [[0, 1], [2, 3]]}, 100),
        ("digits", "cuda", {"pairs": 600}, 4096),
    ],
)
def test_the_batch_size_of_attacks_is_a_number_in_their_specs(dataset, device, attack, rows):
    given = {"study": [dataset], "device": device, "attack": {"losses": ["latent-kl"], **attack}}
    study = Study(given | {"ball": {"losses": ["latent-kl"]}})
    cell = study.cells[0]
    specs = [study.attack_spec(cell, "latent-kl"), study.ball_spec(cell, "latent-kl")]
    specs += [study.measure_spec(cell, "latent-kl")]
    specs += [study.attack_spec(cell, "latent-kl", block) for block in study.blocks(dataset)]
    assert {spec.batch_size for spec in specs} == {rows}


def test_models_that_reproduce_wrong_code_have_a_caveat():
    released = {"study": ["digits"], "grid": {"families": ["vae", "beta-tcvae"], "d_z": [4], "betas": [1, 2]}}
    study = Study(released | {"train": {"estimator": "mss-released"}})
    found = {(cell.family, cell.beta): caveat(study.model_spec(cell).model_dump()) for cell in study.cells}
    assert found == {("vae", 1): "", ("beta-tcvae", 2): "estimator mss-released: as released, not correct"}
    assert study.figure_spec().caveats == {"digits": "estimator mss-released: as released, not correct"}
    assert Study(released | {"train": {"estimator": "mws"}}).caveats() == {}
