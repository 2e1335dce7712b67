"""config.yaml: what it resolves to, the one line that each mistake gives, and the generated reference."""

import copy
import itertools
import json
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from vaepipe.study.mistakes import ConfigError
from vaepipe.study.study import Study
from vaepipe.study.types import lambda_values
from vaepipe.tools import reference

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
PAPER = yaml.safe_load((ROOT / "configs" / "paper.yaml").read_text(encoding="utf-8"))


def merge(base, overlay):
    """As snakemake merges --configfile."""
    merged = copy.deepcopy(base)
    for key, value in overlay.items():
        merged[key] = (
            merge(merged[key], value)
            if isinstance(value, dict) and isinstance(merged.get(key), dict)
            else value
        )
    return merged


MISTAKES = [
    ({"trian": {}}, "trian: unknown key", "did you mean train"),
    ({"train": {"epoch": 3}}, "train.epoch: unknown key", "did you mean epochs"),
    ({"train": {"epochs": "ten"}}, "train.epochs: 'ten'", "an integer ≥ 1"),
    ({"train": {"epochs": 2.5}}, "train.epochs: 2.5", "an integer"),
    ({"train": {"epochs": True}}, "train.epochs: True", "an integer"),
    (
        {"train": {"learning_rate": "1e-3"}},
        "train.learning_rate: '1e-3'",
        "YAML reads 1e-3 as text: write 1.000000e-03",
    ),
    ({"train": {"learning_rate": float("inf")}}, "train.learning_rate: inf", "a finite number"),
    ({"train": {"schedule": "linear"}}, "train.schedule: 'linear'", "one of constant, cosine"),
    ({"train": None}, "train: None", "a mapping"),
    ({"grid": {"betas": [0]}}, "grid.betas[0]: 0", "a number > 0"),
    ({"grid": {"betas": [-1.0]}}, "grid.betas[0]: -1.0", "a number > 0"),
    ({"grid": {"betas": []}}, "grid.betas: []", "a non-empty list"),
    ({"grid": {"betas": [1, 1.0]}}, "grid.betas: [1, 1.0]", "without duplicates"),
    ({"grid": {"betas": [1, float("nan")]}}, "grid.betas[1]: nan", "a finite number"),
    (
        {"datasets": {"digits": {"grid": {"betas": [2, 2.00000001]}}}},
        "datasets.digits.grid.betas: two values",
        "both written 2",
    ),
    ({"grid": {"d_z": [4.0]}}, "grid.d_z[0]: 4.0", "an integer ≥ 1"),
    ({"ball": {"linf": ["8/0"]}}, "ball.linf[0]: '8/0'", "a number > 0"),
    ({"ball": {"linf": ["0/255"]}}, "ball.linf[0]", "a number > 0"),
    ({"grid": {"d_z": [0]}}, "grid.d_z[0]: 0", "an integer ≥ 1"),
    ({"grid": {"families": ["tcvae"]}}, "grid.families[0]: 'tcvae'", "beta-tcvae"),
    ({"attack": {"losses": ["latent"]}}, "attack.losses[0]: 'latent'", "latent-kl"),
    ({"attack": {"lambdas": [1.0, -2.0]}}, "attack.lambdas: [1.0, -2.0]", "a number ≥ 1e-30"),
    ({"attack": {"lambdas": [0]}}, "attack.lambdas: [0]", "a number ≥ 1e-30"),
    ({"attack": {"lambdas": [1e39]}}, "attack.lambdas: [1e+39]", "≤ 1e+30"),
    (
        {"attack": {"lambdas": {"log2_min": -20, "log2_max": 2000, "count": 5}}},
        "attack.lambdas",
        "a mapping with log2_min",
    ),
    (
        {"attack": {"lambdas": {"log2_min": 2, "log2_max": 1, "count": 5}}},
        "attack.lambdas: log2_min 2 is above",
        "log2_max 1",
    ),
    ({"grid": {"seeds": [2**70]}}, "grid.seeds[0]", "≤ 9.22337e+18"),
    ({"datasets": {5: {}}}, "datasets.5: unknown", "known: swissroll"),
    ({"datasets": {"digits": {"plot": {"beta": 2}}}}, "datasets.digits.plot: unknown key", "known: path"),
    ({"attack": {"lambdas_per_job": 0}}, "attack.lambdas_per_job: 0", "all, or an integer ≥ 1"),
    ({"attack": {"effort": "high"}}, "attack.effort: 'high'", "one of fast, default, thorough"),
    ({"attack": {"pairs": 0}}, "attack.pairs: 0", "an integer ≥ 1"),
    ({"attack": {"pairs": [[1, 2, 3]]}}, "attack.pairs: [[1, 2, 3]]", "a list of 2, each an integer ≥ 0"),
    (
        {"study": ["mine"], "datasets": {"mine": {"kind": "foldr"}}},
        "datasets.mine.kind: 'foldr'",
        "did you mean folder",
    ),
    (
        {"study": ["mine"], "datasets": {"mine": {"kind": "folder"}}},
        "datasets.mine.path: None",
        "file or folder",
    ),
    (
        {"study": ["mnist"], "datasets": {"mnist": {"key": "x"}}},
        "datasets.mnist.key: 'x'",
        "mnist takes path, checksum",
    ),
    (
        {"study": ["mnist"], "datasets": {"mnist": {"checksum": "md5:0"}}},
        "datasets.mnist.checksum: 'md5:0'",
        "like md5:… or sha1:…",
    ),
    ({"datasets": {"a/b": {"kind": "folder"}}}, "datasets: 'a/b'", "a text like"),
    ({"data_dir": 3}, "data_dir: 3", "null or a text"),
    ({"study": ["digit"]}, "study: 'digit' is not a data set", "did you mean digits"),
    ({"study": []}, "study: []", "a non-empty list"),
    ({"datasets": {"digit": {}}}, "datasets.digit: unknown", "did you mean digits"),
    ({"datasets": {"digits": {"path": 3}}}, "datasets.digits.path: 3", "null or a text"),
    (
        {"study": ["mnist"], "datasets": {"mnist": {"path": "no/such $(folder)"}}},
        "datasets.mnist.path: 'no/such $(folder)'",
        "does not exist",
    ),
    ({"datasets": {"digits": {"path": "config.yaml"}}}, "datasets.digits.path", "is generated"),
    (
        {"datasets": {"swissroll": {"model": {"network": "conv"}}}},
        "datasets.swissroll.model.network: 'conv'",
        "needs images",
    ),
    ({"model": {"network": "burgess"}}, "datasets.swissroll.model.network: 'burgess'", "needs images"),
    ({"device": "gpu"}, "device: 'gpu'", "one of auto, cpu, cuda"),
]


@pytest.mark.parametrize(("overlay", "start", "also"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_gives_one_line_with_key_value_and_what_is_allowed(overlay, start, also):
    with pytest.raises(ConfigError) as caught:
        Study(merge(DEFAULT, overlay))
    message = str(caught.value)
    assert message.startswith(start)
    assert also in message
    assert "\n" not in message


def test_precedence_is_schema_then_data_set_then_top_then_section():
    study = Study(
        {
            "study": ["swissroll", "digits"],
            "train": {"epochs": 7},
            "datasets": {"digits": {"train": {"epochs": 3}}},
        }
    )
    assert study.settings["swissroll"].train.epochs == 7
    assert study.settings["digits"].train.epochs == 3
    assert study.settings["swissroll"].model.sigma_x == 0.35  # the data set's own
    assert study.settings["digits"].train.batch_size == 64  # the data set's own
    assert study.settings["digits"].train.clip is None  # the section's
    top = Study({"study": ["swissroll"], "model": {"sigma_x": 2.0}})
    assert top.settings["swissroll"].model.sigma_x == 2.0


def test_points_are_never_attacked():
    study = Study(merge(DEFAULT, {"attack": {"losses": ["latent-kl"]}}))
    assert {cell.dataset for cell, _ in study.attacks()} == {"digits"}


def test_the_seeds_study_has_the_papers_axes_and_counts():
    study = Study(merge(DEFAULT, PAPER))
    per_set = 6 + 2 * 5 * 6  # β = 1 shared, then two families at five β, at six d_z
    assert len([c for c in study.cells if c.dataset == "chairs"]) == per_set
    assert len(study.attacks()) == 3 * per_set
    values = study.settings["faces"].attack.lambdas
    assert len(values) == 50 and values[0] == 2.0**-20 and values[-1] == 2.0**20
    ratios = [b / a for a, b in itertools.pairwise(values)]
    assert max(ratios) - min(ratios) < 1e-12 and abs(ratios[0] - 1.7609) < 1e-4
    one_each = Study(merge(merge(DEFAULT, PAPER), {"attack": {"lambdas_per_job": 1}}))
    assert len(one_each.blocks("faces")) == 50 and study.blocks("faces") == {}
    cell = study.attacks()[0][0]
    spec = one_each.attack_spec(cell, "latent-kl", list(one_each.blocks(cell.dataset))[7])
    assert spec == study.attack_spec(cell, "latent-kl").model_copy(update={"lambdas": values[7:8]})


def test_runtime_choices_are_not_part_of_what_decides_a_model():
    base, other = (Study(merge(DEFAULT, {"train": {"threads": n}})) for n in (1, 2))
    assert base.model_spec(base.cells[0]) == other.model_spec(other.cells[0])


def test_lambdas_are_sorted_and_may_be_one():
    assert lambda_values([4, 1, 2.5]) == (1.0, 2.5, 4.0)
    assert lambda_values({"log2_min": -3, "log2_max": 5, "count": 1}) == (0.125,)


def test_radii_may_be_written_in_levels_of_a_byte():
    settings = Study({"study": ["digits"], "ball": {"linf": ["8/255", 0.1]}}).settings["digits"]
    assert settings.ball.linf == (8 / 255, 0.1)


def test_every_key_has_a_meaning_and_a_default():
    schema = reference.described_schema()
    keys = {
        f"{name}.{key}": node
        for name, section in [("Settings", schema), *schema["$defs"].items()]
        for key, node in section["properties"].items()
        if name != "Geometric" and "$ref" not in node and "$ref" not in str(node.get("additionalProperties"))
    }
    assert len(keys) > 60
    of_data_set = {f"Model.{key}" for key in ("network", "hidden", "likelihood", "sigma_x")} | {
        "Attack.effort"
    }
    required = {f"External.{key}" for key in schema["$defs"]["External"]["required"]}
    optional = {
        f"DatasetSettings.{key}"
        for key in (
            "kind",
            "checksum",
            "size",
            "crop",
            "channels",
            "frames",
            "key",
            "labels",
            "axes",
            "maximum",
        )
    }
    assert {key for key, node in keys.items() if "default" not in node} == of_data_set | required | optional
    assert all(node["description"].endswith(".") for node in keys.values())


@pytest.mark.parametrize(
    ("path", "text"), [(reference.DOCUMENT, reference.document), (reference.SCHEMA, reference.schema_text)]
)
def test_the_reference_is_generated_from_the_settings(path, text):
    assert (ROOT / path).read_text(encoding="utf-8") == text(), "run: make reference"


def test_every_row_of_the_documentation_has_four_cells():
    table = reference.document().split("## All keys")[1]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) > 70 and {row.replace("\\|", "").count("|") for row in rows} == {5}


def test_the_effective_configuration_is_one_and_is_read_back_as_it_is(tmp_path):
    (tmp_path / "w.pt").touch()
    own = {"kind": "folder", "path": str(tmp_path), "size": None}
    model = {
        "entry": "m:load",
        "weights": str(tmp_path / "w.pt"),
        "dataset": "mine",
        "shape": [3, 8, 8],
        "d_z": 4,
    }
    change = {
        "study": ["swissroll", "digits", "mine"],
        "datasets": {"mine": own},
        "external": {"theirs": model},
    }
    study = Study(merge(DEFAULT, change))
    assert study.prepare_spec("mine").options == {"size": None} and study.prepare_spec("digits").options == {}
    assert study.external["theirs"].dataset == "mine"  # a data set is known by its kind, not by its name
    again = Study(json.loads(json.dumps(study.effective())))
    (tmp_path / "config.json").write_text(json.dumps(study.effective()), encoding="utf-8")
    (tmp_path / "w.pt").unlink()
    for other in (again, Study.read(tmp_path / "config.json")):
        assert other.effective() == study.effective() and other.cells == study.cells
        assert other.prepare_spec("mine") == study.prepare_spec("mine")
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config.json: not readable"):
        Study.read(tmp_path / "config.json")


def test_a_study_is_read_without_pytorch_hdf5_or_pandas():
    code = "import sys, vaepipe.study.study; print(*{'torch', 'h5py', 'pandas'} & set(sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
        == "\n"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_overlay_is_valid(path):
    overlay = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section in overlay.get("datasets", {}).values():
        section.pop("path", None)
    assert Study(merge(DEFAULT, overlay)).cells


HOSTILE = ["$(touch x)", "`id`", "a;b", "a'b", 'a"b', "<script>", "../x", "{a}", "a b", "ok\n", "-n", ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_reach_paths_shells_and_pages_are_letters_digits_and_dots(tmp_path, name):
    (tmp_path / "w.pt").touch()
    given = {
        "entry": "m:load",
        "weights": str(tmp_path / "w.pt"),
        "dataset": "digits",
        "shape": [1, 8, 8],
        "d_z": 4,
    }
    for change in (
        {"datasets": {name: {"kind": "folder", "path": str(tmp_path)}}, "study": [name]},
        {"external": {name: given}},
    ):
        with pytest.raises(ConfigError, match="is not allowed"):
            Study(merge(DEFAULT, change))
        harmless = {key: {"ok": value[name]} if key != "study" else ["ok"] for key, value in change.items()}
        Study(merge(DEFAULT, harmless))
