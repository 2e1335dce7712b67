"""The models that come with the package: their files are the recorded ones, and measure what was recorded."""

import shutil

import pytest
import torch
from conftest import ROOT

from vaepipe.datasets import digits, sprites
from vaepipe.storage.errors import DataError
from vaepipe.tools import zoo
from vaepipe.tools.audit_model import build, find_model, fit_shape

NAMES = list(zoo.models()["name"])
TEST = {"digits": digits.load, "sprites": sprites.load}


def test_all_families_are_there_twice_and_small():
    table = zoo.models()
    assert table["bytes"].max() <= 2e6 and table["bytes"].sum() < 4e6
    for _, models in table.groupby("dataset"):
        counts = models["family"].value_counts()
        assert counts["vae"] == counts["ae"] == 1
        assert (counts[["beta-vae", "beta-tcvae", "seatbelt"]] == 2).all()
    assert sorted(path.stem for path in zoo.FOLDER.glob("*.safetensors")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_model_has_the_recorded_elbo_and_is_an_entry(name):
    row = zoo.models().set_index("name").loc[name]
    model, x = zoo.load(name), torch.from_numpy(TEST[row["dataset"]](row["dataset"], None, None)["test"].x)
    x = x[: int(row["images"])].float() / 255
    assert sum(model.latent_sizes) >= row["d_z"]
    with torch.no_grad():
        noise = torch.randn(len(x), sum(model.latent_sizes), generator=torch.Generator().manual_seed(0))
        posteriors, samples = model.infer(x, noise)
        log_likelihood = model.decode(*samples).log_prob(x)
        if row["family"] == "ae":
            assert log_likelihood.isfinite().all() and row["elbo"] == -torch.inf
            return
        pairs = zip(posteriors, model.priors(*samples))
        elbo = (log_likelihood - sum(q.kl(prior) for q, prior in pairs)).mean()
    assert float(elbo) == pytest.approx(row["elbo"], abs=3 * row["elbo_se"])


def test_a_model_is_an_entry_and_a_file_that_was_changed_is_refused(tmp_path, monkeypatch):
    found = fit_shape(find_model("zoo:digits-vae", None, None), (1, 8, 8))
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(build(found).posterior(x)[0].mean, zoo.load("digits-vae").posterior(x)[0].mean)
    with pytest.raises(DataError, match="zoo:digits: no such model; expected one of digits-"):
        zoo.find("digits")
    shutil.copytree(zoo.FOLDER, tmp_path / "zoo")
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    (tmp_path / "zoo" / "digits-vae.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match=r"not the file that zoo\.csv names"):
        zoo.find("digits-vae")


def test_the_zoo_is_data_of_the_package():
    assert '"zoo/*"' in (ROOT / "pyproject.toml").read_text()
