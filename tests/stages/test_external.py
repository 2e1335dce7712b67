"""Models trained elsewhere: what docs/your-model.md says, done from outside; and what is refused."""

import argparse
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import HANGS, ROOT, SERVED, make_images, snakemake
from outside_models import Plain, WithoutWidth
from printed import blocks, files
from safetensors.torch import save_file
from torch import nn
from torch.distributions import Normal

from vaepipe.models import distributions
from vaepipe.models.checkpoint_file import read_checkpoint
from vaepipe.models.external import External, MeanAndLogVariance, build, normals
from vaepipe.models.user_code import entry_point
from vaepipe.stages.adopt import adopt
from vaepipe.stages.attack import attack
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.study import Study

PAGE = "docs/your-model.md"
QUICK = {"effort": "fast", "max_iterations": 40}
UNCHECKED = {"restarts": 0, "polish": 0}
"""No checks but those by noise and by distortions of other models."""


@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path):
    for name, text in files(PAGE).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"my_vae.py", "train_mine.py", "my.yaml"}
    environment = os.environ | SERVED | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    said = blocks(PAGE, "sh")[0].text.replace("path/to/vaepipe", str(ROOT))
    for program, ours in (("python", sys.executable), ("snakemake", f"{sys.executable} -m snakemake")):
        assert said.count(f"$VAEPIPE/.venv/bin/{program} ") == 1
        said = said.replace(
            f"$VAEPIPE/.venv/bin/{program} ", f"{ours} "
        )  # the tests may have another environment
    targets = "results/tables/robustness.csv results/figures/montage/digits.png"
    smaller = {"datasets": {"digits": {"attack": {"pairs": 3} | QUICK, "checks": UNCHECKED}}}
    (tmp_path / "smaller.yaml").write_text(yaml.safe_dump(smaller), encoding="utf-8")
    said = said.replace(" --configfile my.yaml ", " --configfile my.yaml smaller.yaml ")
    command = f"set -e\n{said.strip()} --cores 2 -- {targets}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=HANGS
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    table = pd.read_csv(tmp_path / "results/tables/robustness.csv").set_index("family")
    assert (
        list(table.index) == ["vae", "mine"]
        and table.loc["mine", "d_z"] == 6
        and table.loc["mine", "beta"] == 0
    )
    assert table.loc["mine", ["auddc", "success_100", "noise_gain", "transfer_wins"]].notna().all()
    models = pd.read_csv(tmp_path / "results/tables/models.csv").set_index("family")
    assert models.loc["mine", "state"] == "ok" and np.isfinite(models.loc["mine", "elbo"])


def test_another_range_and_torchs_distributions_give_the_same_densities():
    plain = Plain().eval()
    model, x = External(plain, (4,), (-1, 1)), make_images(3)
    expected, (found,) = plain.ours.posterior(x)[0], model.posterior(x)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.log_std, expected.log_std, rtol=1e-4, atol=1e-5)
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    reference = distributions.Gaussian(plain.ours.decode(z).mean, 0.1)  # 0.2 over a range of 2
    torch.testing.assert_close(model.decode(z).mean, reference.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.decode(z).log_prob(x), reference.log_prob(x), rtol=1e-4, atol=1e-3)
    noise = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.infer(x, noise)[1][0], expected.sample(noise), rtol=1e-4, atol=1e-4)


def test_mean_and_log_variance_become_a_normal_and_the_likelihood_that_is_named():
    class Pair(nn.Module):
        def encode(self, x):
            return x.flatten(1)[:, :2], torch.full((len(x), 2), math.log(0.25))

        def decode(self, z):
            return z.sum(1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)

    model = MeanAndLogVariance(Pair().eval(), "gaussian", 0.3)
    assert not model.training and MeanAndLogVariance(Pair(), "bernoulli").training
    (q,) = model.posterior(torch.rand(5, 1, 2, 2))
    torch.testing.assert_close(q.log_std.exp(), torch.full((5, 2), 0.5))
    assert model.decode(torch.ones(5, 2))[1] == 0.3
    torch.testing.assert_close(
        MeanAndLogVariance(Pair(), "bernoulli").decode(torch.zeros(1, 2)).mean, torch.full((1, 1, 2, 2), 0.5)
    )
    with pytest.raises(ValueError, match="expected bernoulli or gaussian"):
        MeanAndLogVariance(Pair(), "laplace")


def test_weights_are_read_from_either_format_and_from_within_a_checkpoint(tmp_path):
    tensors = {"a.weight": torch.randn(2, 3), "b": torch.arange(3)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.pt")
    save_file({f"vae.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "inner.safetensors")
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    args = argparse.Namespace(latent=3, path=tmp_path, score=np.float64(1))
    torch.save({"epoch": 3, "args": args, "nets": {"vae": wrapped}}, tmp_path / "nested.pt")
    lightning = {"state_dict": {f"vae.{name}": tensor for name, tensor in tensors.items()}, "args": args}
    torch.save(lightning, tmp_path / "ckpt.pt")
    torch.save({"model": tensors, "ema": tensors, "optimizer": {"state": {0: tensors}}}, tmp_path / "two.pt")
    places = (("w.safetensors", None), ("w.pt", None), ("nested.pt", "nets.vae"), ("nested.pt", None))
    for name, key in (*places, ("inner.safetensors", "vae"), ("two.pt", "ema"), ("ckpt.pt", "vae")):
        found = read_checkpoint(tmp_path / name, key)
        assert set(found) == set(tensors) and all(torch.equal(found[n], t) for n, t in tensors.items())
    with pytest.raises(DataError, match=r"holds weights at model, ema; say with `key` \(--key\) which"):
        read_checkpoint(tmp_path / "two.pt", None)
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(DataError, match=r"holds epoch, no names with tensors"):
        read_checkpoint(tmp_path / "none.pt", None)
    with pytest.raises(DataError, match=r"has no 'nets\.ae'; it has vae"):
        read_checkpoint(tmp_path / "nested.pt", "nets.ae")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_no_pickle_is_executed(tmp_path):
    torch.save({"w": torch.ones(1), "x": Bomb(tmp_path / "gone off")}, tmp_path / "bomb.pt")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "gone off")))
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:200])
    for name in ("bomb.pt", "bomb.pkl", "whole.pt", "half.pt"):
        with pytest.raises(DataError, match="holds more than weights") as caught:
            read_checkpoint(tmp_path / name, None)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "gone off").exists()


MODELS = {
    "load = 3": "has no function 'load'",
    "import no_such_module_here": "could not be imported (ModuleNotFoundError",
    "def load(weights): raise KeyError('w')": "failed (KeyError: 'w')",
    "def load(weights): return object()": "gave object, which has no posterior and no decode",
    "def load(weights): return Plain()": "in training mode",
    "def load(weights):\n m = Plain().eval(); m.posterior = lambda x: x; return m": (
        "posterior: gave Tensor; expected"
    ),
    "def load(weights):\n m = Plain().eval(); m.decode = lambda z: z; return m": (
        "decode: gave Tensor without log_prob"
    ),
    "def load(weights):\n m = Plain().eval(); m.ours.encoder = None; return m": (
        "posterior failed on shape (1, 1, 8, 8) (TypeError: 'NoneType' object is not callable)"
    ),
    "def load(weights):\n"
    " m = Plain().eval(); f = m.posterior; m.posterior = lambda x: f(x.view(1, 1, 8, 8)); return m": (
        "posterior failed on shape (3, 1, 8, 8) (RuntimeError: shape"
    ),
    "def load(weights):\n"
    " m = Plain().eval(); f = m.posterior; m.posterior = lambda x: f(x.detach()); return m": (
        "posterior: has no gradient"
    ),
    "def load(weights):\n m = Plain().eval(); f = m.decode; m.decode = lambda z: f(z.detach()); return m": (
        "decode: has no gradient"
    ),
    "def load(weights): return Plain().eval()  #": "the model has 4 latent dimensions; external says d_z: 5",
}


@pytest.mark.parametrize(("code", "message"), MODELS.items(), ids=[str(i) for i in range(len(MODELS))])
def test_what_an_entry_point_lacks_is_one_line_that_names_it(tmp_path, code, message):
    file = tmp_path / "theirs.py"
    file.write_text(f"from outside_models import Plain\n{code}\n")
    with pytest.raises(DataError) as caught:
        build(
            SimpleNamespace(entry=f"{file}:load", range=(-1, 1), d_z=5 if "#" in code else 4), {}, (1, 8, 8)
        )
    text = str(caught.value)
    assert text.startswith(f"{file}:load: ") and message in text and "\n" not in text


def test_an_autoencoder_from_elsewhere_is_refused_a_kl_in_one_line_and_attacked_by_the_distance_of_means(
    tmp_path, digits
):
    torch.save(WithoutWidth().state_dict(), tmp_path / "w.pt")
    options = {
        "entry": "outside_models:without_width",
        "weights": str(tmp_path / "w.pt"),
        "key": None,
        "range": [-1, 1],
    }
    options |= {"dataset": "digits", "shape": [1, 8, 8], "d_z": 4}
    study = Study(
        {"study": ["digits"], "external": {"mine": options}, "attack": {"pairs": 2, "lambdas": [0.01]}}
    )
    (cell,) = (cell for cell in study.cells if cell.family == "mine")
    model, out = tmp_path / "m.safetensors", tmp_path / "a.h5"
    adopt(study.model_spec(cell), digits, tmp_path / "w.pt", model)
    with pytest.raises(
        DataError,
        match=r"^attack\.losses, or external\.mine\.losses: loss: 'latent-kl' is .* latent-mean, .*$",
    ) as caught:
        attack(study.attack_spec(cell, "latent-kl"), digits, model, out, torch.device("cpu"))
    assert "\n" not in str(caught.value) and not out.exists()
    attack(study.attack_spec(cell, "latent-mean"), digits, model, out, torch.device("cpu"))
    with open_h5(out, "attack") as file:
        assert file["converged"][:].all() and (file["divergence"][:] < file["initial_divergence"][:]).all()


@pytest.mark.slow
def test_a_model_is_attacked_by_its_own_losses_beside_another_that_is_attacked_by_all(tmp_path):
    torch.save(WithoutWidth().state_dict(), tmp_path / "w.pt")
    mine = {
        "entry": "outside_models:without_width",
        "weights": str(tmp_path / "w.pt"),
        "range": [-1, 1],
        "dataset": "digits",
    }
    mine |= {"shape": [1, 8, 8], "d_z": 4, "losses": ["latent-mean"]}
    digits = {
        "grid": {"families": ["vae"], "d_z": [4]},
        "train": {"epochs": 1},
        "evaluate": {"max_images": 50},
    }
    digits["attack"] = {"losses": ["latent-kl", "latent-mean"], "pairs": 2, "lambdas": [0.01, 1]} | QUICK
    digits["checks"] = UNCHECKED
    config = {"study": ["digits"], "external": {"mine": mine}, "datasets": {"digits": digits}}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.copy2(
        ROOT / "tests/outside_models.py", tmp_path
    )  # Snakemake and its jobs import from where they run
    arguments = ["--snakefile", ROOT / "Snakefile", "--configfile", "my.yaml", "--cores", 2, "--", "tables"]
    arguments += ["results/explorer.html", "results/figures/montage/digits.png"]
    done = snakemake(tmp_path, *arguments, env=os.environ | SERVED)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    every = {("vae", "latent-kl"), ("vae", "latent-mean"), ("mine", "latent-mean")}
    for stage in ("attacks", "measures"):
        files = [
            p.relative_to(tmp_path / f"results/{stage}/digits")
            for p in tmp_path.glob(f"results/{stage}/**/*.h5")
        ]
        assert {(path.parts[0], path.stem) for path in files} == every and len(files) == 3
    table = pd.read_csv(tmp_path / "results/tables/robustness.csv").set_index(["family", "loss"])
    assert set(table.index) == every and table[["auddc", "noise_gain"]].notna().all(axis=None)
    assert np.isfinite(
        table.loc[("mine", "latent-mean"), "transfer_wins"]
    )  # the VAE's distortions for that loss
    columns = pd.read_csv(tmp_path / "results/figures/montage/digits.csv")
    assert set(zip(columns["family"], columns["loss"])) == {("vae", "latent-kl"), ("mine", "latent-mean")}
    page = (tmp_path / "results/explorer.html").read_text(encoding="utf-8")
    shown = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["entries"]
    assert {(entry["family"], entry["loss"]) for entry in shown} == every


def test_the_losses_of_a_model_are_no_part_of_what_it_is(tmp_path):
    (tmp_path / "w.pt").touch()
    options = {
        "entry": "m:load",
        "weights": str(tmp_path / "w.pt"),
        "dataset": "digits",
        "shape": [1, 8, 8],
        "d_z": 4,
    }
    both = {"losses": ["latent-kl", "latent-mean"]}
    config = {"study": ["digits"], "attack": both, "ball": both}
    studies = [
        Study(config | {"external": {"mine": options | own}}) for own in ({}, {"losses": ["latent-mean"]})
    ]
    cell = studies[0].cells[-1]
    assert [study.losses(cell) for study in studies] == [["latent-kl", "latent-mean"], ["latent-mean"]]
    assert [[loss for its, loss in study.balls() if its == cell] for study in studies] == [
        both["losses"],
        ["latent-mean"],
    ]
    assert studies[0].model_spec(cell) == studies[1].model_spec(cell)


def test_entry_points_by_module_and_by_file_and_normals_of_layers():
    assert entry_point("vaepipe.models.network:find_network").__name__ == "find_network"
    assert entry_point(f"{ROOT}/vaepipe/models/network.py:find_network")("conv").name == "conv"
    layers = normals(
        [
            Normal(torch.zeros(2, 3), torch.ones(2, 3)),
            distributions.DiagonalNormal(torch.ones(2, 1), torch.zeros(2, 1)),
        ]
    )
    assert [q.mean.shape for q in layers] == [(2, 3), (2, 1)] and layers[0].log_std.abs().max() == 0


BAD = [
    ({"dataset": "mnist"}, "external.mine.dataset: 'mnist'"),
    ({"dataset": "swissroll"}, "external.mine.dataset: 'swissroll'"),
    ({"weights": "no/such.pt"}, "external.mine.weights: 'no/such.pt' is not a file"),
    ({"entry": "my_vae.py"}, "external.mine.entry: 'my_vae.py'"),
    ({"entry": "no/such.py:load"}, "external.mine.entry: 'no/such.py' is not a file"),
    ({"range": [1, -1]}, "external.mine.range: [1, -1]"),
    ({"shape": [8, 8]}, "external.mine.shape: [8, 8]"),
    ({"wieghts": "x"}, "external.mine.wieghts: unknown key"),
    ({"losses": []}, "external.mine.losses: [] is not allowed; expected all, or a non-empty list"),
    ({"losses": ["latent"]}, "external.mine.losses: ['latent'] is not allowed; expected all, or"),
    ({"losses": "latent-kl"}, "external.mine.losses: 'latent-kl' is not allowed; expected all, or"),
    (
        {"losses": ["latent-kl", "latent-mean"]},
        "external.mine.losses: 'latent-mean' is not allowed; "
        "attack.losses and ball.losses of digits have latent-kl, output",
    ),
]


@pytest.mark.parametrize(("change", "start"), BAD, ids=[start for _, start in BAD])
def test_a_mistake_in_the_section_is_one_line(tmp_path, change, start):
    weights = tmp_path / "w.pt"
    weights.touch()
    options = {"entry": "m:load", "weights": str(weights), "dataset": "digits", "shape": [1, 8, 8], "d_z": 4}
    config = {"study": ["swissroll", "digits"], "external": {"mine": options}, "ball": {"losses": ["output"]}}
    assert [c.family for c in Study(config).cells if c.d_z == 4 and c.beta == 0] == ["mine"]
    with pytest.raises(ConfigError) as caught:
        Study(config | {"external": {"mine": options | change}})
    assert str(caught.value).startswith(start) and "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="external: 'vae' is not allowed as a name"):
        Study(config | {"external": {"vae": options}})
    assert yaml.safe_load(files(PAGE)["my.yaml"])["external"]["mine"].keys() >= options.keys()
