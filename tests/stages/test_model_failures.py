"""An external model that raises in a stage gives one line that names it; our own errors keep a traceback."""

import json
import re
import shutil

import pytest
import torch
from conftest import ROOT, make_images, run_stage
from outside_models import Failing

from vaepipe.models import external
from vaepipe.models.external import External
from vaepipe.stages import attack as attack_stage
from vaepipe.stages.adopt import adopt
from vaepipe.stages.attack import attack
from vaepipe.stages.ball import ball
from vaepipe.stages.evaluate import evaluate
from vaepipe.stages.measure import measure
from vaepipe.storage.errors import DataError
from vaepipe.storage.weights import read_weights, write_weights
from vaepipe.study.study import Study

CPU = torch.device("cpu")
METHODS = ("posterior", "decode")


@pytest.fixture
def fails(monkeypatch):
    """A function that sets when the models fail."""

    def when(**values):
        for name, value in {"calls": 0, "last": 0, **values}.items():
            monkeypatch.setattr(Failing, name, value)

    when()
    return when


@pytest.fixture(scope="module")
def stages(tmp_path_factory, digits, few_weights):
    """Stage → a function of a path to write to; and what the attack is called with."""
    folder = tmp_path_factory.mktemp("failing")
    weights, model = folder / "w.pt", folder / "m.safetensors"
    torch.save(Failing().state_dict(), weights)
    mine = {
        "entry": "outside_models:load_failing",
        "weights": str(weights),
        "range": [-1, 1],
        "dataset": "digits",
    }
    mine |= {"shape": [1, 8, 8], "d_z": 4}
    config = {"study": ["digits"], "external": {"mine": mine}}
    config["checks"] = {"noise": 1, "restarts": 1, "restart_steps": 2, "polish": 1}
    penalised = {"pairs": 2, "lambdas": [0.1], "losses": ["output"], "max_iterations": 20}
    config["attack"] = penalised
    config |= {
        "evaluate": {"max_images": 40},
        "ball": {"losses": ["output"], "l2": [1], "linf": [], "steps": 2},
    }
    study = Study(config)
    cell = study.cells[-1]
    adopt(study.model_spec(cell), digits, weights, model)
    spec, attacked = study.attack_spec(cell, "output"), folder / "a.h5"
    attack(spec, digits, model, attacked, CPU)
    runs = {
        "evaluate": lambda out: evaluate(study.evaluate_spec(cell), digits, model, out, CPU),
        "attack": lambda out: attack(spec, digits, model, out, CPU),
        "ball": lambda out: ball(study.ball_spec(cell, "output"), digits, model, out, CPU),
        "measure": lambda out: measure(
            study.measure_spec(cell, "output"), digits, model, out, CPU, attack=attacked
        ),
    }
    return runs, (spec, digits, model)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stage", ["evaluate", "attack", "ball", "measure"])
def test_whenever_a_model_fails_in_a_stage_one_line_names_it_and_nothing_is_written(
    stages, tmp_path, fails, stage, method
):
    run = stages[0][stage]
    fails(method=method)
    run(tmp_path / "whole.h5")
    count = Failing.calls
    tried = 4 if method == "posterior" else 2  # by `build`, as the model is loaded
    assert count > tried
    for last in {tried + 1, (tried + 1 + count) // 2, count}:
        fails(method=method, last=last)
        with pytest.raises(DataError) as caught:
            run(tmp_path / "out.h5")
        shape = r"\(\d+, 1, 8, 8\)" if method == "posterior" else r"\(\d+, 4\)"
        text = r"\(RuntimeError: shape '\[3, 64\]' is invalid for input of size 1024\)"
        assert re.fullmatch(
            rf"outside_models:load_failing: {method} failed on shape {shape} {text}", str(caught.value)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["whole.h5"]


@pytest.mark.slow
def test_from_outside_it_is_one_line_without_a_traceback(stages, tmp_path):
    spec, data, model = stages[1]
    shutil.copy2(ROOT / "tests/outside_models.py", tmp_path)
    entry = tmp_path / "entry.py"
    entry.write_text(
        "from outside_models import Failing, load_failing as load\n"
        "Failing.method, Failing.last, Failing.error = 'posterior', 9, KeyError('scale')\n"
    )
    tensors, meta = read_weights(model)
    model_spec = json.loads(meta["spec"])
    model_spec["external"]["entry"] = f"{entry}:load"
    write_weights(tmp_path / "m.safetensors", tensors, meta | {"spec": json.dumps(model_spec)})
    arguments = ("--spec", spec.to_json(), "--data", data, "--model", tmp_path / "m.safetensors")
    done = run_stage("attack", *arguments, "--out", tmp_path / "a.h5", cwd=tmp_path)
    assert done.returncode == 1 and not (tmp_path / "a.h5").exists()
    assert re.fullmatch(rf"error: {re.escape(str(entry))}:load: posterior failed on shape \(\d+, 1, 8, 8\) "
                        r"\(KeyError: 'scale'\)\n", done.stderr)  # fmt: skip


MESSAGES = [
    (AssertionError(), "(AssertionError)"),
    (KeyError("mu"), "(KeyError: 'mu')"),
    (
        ValueError("Expected loc\n  to be real,\n  but found nan " + 500 * "nan, "),
        "(ValueError: Expected loc to be real, but",
    ),
    (MemoryError(), "(MemoryError)"),
]


@pytest.mark.parametrize(("error", "message"), MESSAGES, ids=[type(error).__name__ for error, _ in MESSAGES])
def test_any_exception_is_named_with_its_text_in_one_short_line(fails, error, message):
    fails(last=1, error=error)
    with pytest.raises(DataError) as caught:
        External(Failing().eval(), (4,), (-1, 1), "my_vae.py:load").posterior(make_images(5))
    text = str(caught.value)
    assert text.startswith(f"my_vae.py:load: posterior failed on shape (5, 1, 8, 8) {message}")
    assert "\n" not in text and len(text) < 400 and caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt(), SystemExit(3)]
)
def test_what_is_not_the_models_fault_is_left_as_it_is(fails, error):
    fails(last=1, error=error)
    with pytest.raises(type(error)) as caught:
        External(Failing().eval(), (4,), (-1, 1)).posterior(make_images(2))
    assert caught.value is error


def test_too_little_memory_still_halves_the_batch_of_an_attack(stages, tmp_path, fails, capsys):
    fails(
        last=30, error=torch.OutOfMemoryError("CUDA out of memory")
    )  # the checks before take 10 calls or so
    stages[0]["attack"](tmp_path / "a.h5")
    assert (
        "out of memory: going on with 128 rows at once" in capsys.readouterr().out
        and (tmp_path / "a.h5").exists()
    )


def test_likelihoods_and_priors_that_fail_are_named_too():
    class Broken:
        @property
        def mean(self):
            raise NotImplementedError

        def log_prob(self, x):
            return {}["scale"]

    class Model:
        def decode(self, *z):
            return Broken()

        def priors(self, *z):
            return [None, *z[:1]] if len(z[0]) < 3 else z[5]

    model, z = External(Model(), (2, 3), (0, 1), "m:load"), (torch.zeros(2, 2), torch.zeros(2, 3))
    with pytest.raises(DataError, match=r"^m:load: mean of what decode gave failed \(NotImplementedError\)$"):
        _ = model.decode(*z).mean
    with pytest.raises(
        DataError,
        match=r"^m:load: log_prob of what decode gave failed on shape \(2, 1\) \(KeyError: 'scale'\)$",
    ):
        model.decode(*z).log_prob(torch.zeros(2, 1))
    with pytest.raises(DataError, match=r"^m:load: priors: gave Tensor; expected"):
        model.priors(*z)
    with pytest.raises(
        DataError,
        match=r"^m:load: priors failed on shape \(4, 2\), \(4, 3\) \(IndexError: tuple index out of",
    ):
        model.priors(torch.zeros(4, 2), torch.zeros(4, 3))


def test_a_mistake_of_ours_keeps_its_traceback(stages, tmp_path, monkeypatch):
    def broken(*given, **options):
        raise KeyError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(attack_stage, "run_attack", broken)
        with pytest.raises(KeyError, match="ours"):
            stages[0]["attack"](tmp_path / "a.h5")
    monkeypatch.setattr(external, "normals", broken)
    with pytest.raises(KeyError, match="ours"):
        External(Failing().eval(), (4,), (-1, 1)).posterior(make_images(2))
    assert not list(tmp_path.iterdir())
