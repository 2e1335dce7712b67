"""`vaepipe audit`: a stranger's module and images to a scorecard, and one line for what cannot be."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import vaepipe
from vaepipe.models.checkpoint_file import read_checkpoint
from vaepipe.models.distributions import DiagonalNormal, Gaussian
from vaepipe.storage.errors import DataError
from vaepipe.storage.tables import read_table
from vaepipe.storage.weights import write_weights
from vaepipe.tools import audit_flags, audit_model, audit_report, audit_run, leaderboard
from vaepipe.tools.audit import main

CODE = """
import torch
from torch import nn
from parts import width


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 2 * width), nn.Linear(width, 64)

    def encode(self, x):
        return self.a(x.flatten(1)).chunk(2, 1)

    def decode(self, z):
        return self.b(z).unflatten(1, (1, 8, 8))


def load(weights):
    net = Net()
    net.load_state_dict(weights)
    return net.eval()


def dropping(weights):
    net = load(weights)

    class Wrapper:
        drop = nn.Dropout(0.5)

        def encode(self, x):
            return net.encode(self.drop(x))

        decode = staticmethod(net.decode)

    return Wrapper()


def without_gradient(weights):
    net = load(weights)
    net.encode = torch.no_grad()(net.encode)
    return net


def nothing(weights):
    return object()
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with somebody's code in two files, weights of a linear VAE on [-1,1], and pictures."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "net.py").write_text(CODE)
    (folder / "parts.py").write_text("width = 6\n")
    (folder / "photos").mkdir()
    x = load_digits().images
    for number, image in enumerate(x[:40]):
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / "photos" / f"{number}.png")
    points = torch.tensor(x / 8 - 1).float().flatten(1)
    _, _, axes = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    encoder = torch.cat([axes[:6], torch.zeros(6, 64)])
    bias = torch.cat([-axes[:6] @ points.mean(0), torch.full((6,), -2.0)])
    weights = {
        "a.weight": encoder,
        "a.bias": bias,
        "b.weight": axes[:6].T.contiguous(),
        "b.bias": points.mean(0),
    }
    torch.save({"model.ema": weights}, folder / "w.pt")
    return folder


def command(mine, *options, model="net.py:load", images="photos", out="audit"):
    return ["--model", f"{mine}/{model}", "--weights", f"{mine}/w.pt", "--key", "model.ema", "--images",
            f"{mine}/{images}", "--out", f"{mine}/{out}", *options]  # fmt: skip


@pytest.fixture(scope="module")
def audited(mine):
    size = replace(audit_run.BUDGETS["quick"]["size"], lambdas=8, steps=30, polish=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(audit_run.BUDGETS["quick"], "size", size)
        main(command(mine, "--who", "somebody", "--purify-with", "zoo:digits-ae"))
    return mine / "audit"


@pytest.mark.slow
def test_everything_is_found_out_and_the_numbers_are_those_of_the_tables(audited):
    card = json.loads((audited / "scorecard.json").read_text())
    assert card["shape"] == [1, 8, 8] and card["d_z"] == 6 and card["range"] == [-1, 1]
    assert card["likelihood"] == "gaussian" and card["name"] == "net" and card["images"] == 20
    assert leaderboard.read_audit(audited) == card
    import pandas as pd

    attacks = pd.read_parquet(audited / "results/tables/attacks.parquet")
    (lead,) = card["losses"]
    known = attacks.dropna(subset=["ratio"])
    h = known["norm"] / known["input_distance"]
    for budget in ("0.1", "0.25", "0.5"):
        fooled = known[(h <= float(budget)) & (known["ratio"] < 0.5)]["pair"].nunique()
        success = lead["success"][budget]
        assert success["fooled"] == fooled and success["low"] <= fooled / lead["pairs"] <= success["high"]
    purifiers = pd.read_csv(audited / "results/tables/purifiers.csv")
    assert list(purifiers["purifier"]) == ["none", "zoo:digits-ae", "any", "all"]
    assert [row["fooled"] for row in card["purifiers"]] == pytest.approx(list(purifiers["success_25"]))
    adaptive = f"{100 * purifiers['adaptive_success_25'][1]:.0f} %"
    assert re.search(rf"latent-kl +zoo:digits-ae +\d+ % +{adaptive} +8\n", audit_report.text(card))
    page = (audited / "index.html").read_text()
    assert (
        "Behind purifiers" in page
        and card["verdict"] in page
        and "http:" not in page
        and "https:" not in page
    )


def test_a_model_that_tells_images_hardly_apart_is_flagged(audited):
    """The verdict of a model that rebuilds nothing means nothing, and says so; left out pairs are counted."""
    found = {name: next((audited / "results/tables").glob(f"{name}.*")) for name in ("attacks", "robustness")}
    tables = {name: read_table(path) for name, path in found.items()}
    clear = audit_report._of_loss(tables, "latent-kl")
    assert clear["rebuilt"] < 0.8 and audit_flags.BLUR not in clear["flags"]
    attacks = tables["attacks"]
    blurred = attacks.assign(target_distance=0.95 * attacks["original_distance"])
    blurred.loc[blurred["pair"] == 0, "ratio"] = np.nan
    flagged = audit_report._of_loss(tables | {"attacks": blurred}, "latent-kl")
    assert flagged["rebuilt"] == pytest.approx(0.95) and audit_flags.BLUR in flagged["flags"]
    text = audit_report.verdict("mine", [flagged])
    assert f"1 of {flagged['attacked']} pairs are left out" in text and "so this says little" in text
    masked = tables["robustness"].assign(masked="every row of the attack is infinite")
    infinite = audit_report._of_loss(tables | {"robustness": masked}, "latent-kl")
    assert audit_report.verdict("mine", [infinite]).startswith("mine was not attacked: every row")


def test_the_pictures_are_of_pairs_that_count():
    nan, h = np.nan, np.array([[0.1] * 4, [0.4] * 4, [0.9] * 4])
    ratio = np.array([[0.9, nan, 0.8, 0.7], [0.5, nan, 0.3, 0.6], [0.1, nan, 0.1, 0.1]])
    assert audit_report.typical(ratio, h) == {"strongest": (1, 2), "median": (1, 0)}
    assert audit_report.typical(ratio[:, 1:3], h[:, 1:3]) == {"strongest": (1, 1)}
    far = np.array([[0.6] * 2, [0.7] * 2, [0.9] * 2])  # no row within half of the way
    assert audit_report.typical(ratio[:, 1:3], far) == {"strongest": (2, 1)}
    assert set(audit_report.typical(ratio[:, [1, 1]], h[:, :2])) == {"strongest", "median"}  # none counts


def test_a_study_takes_the_files_of_an_audit_in(audited):
    from vaepipe.study.study import Study

    study = Study.read(audited / "results/config.json")
    assert len(study.cells) == 1 and study.cells[0].family == "net"


@pytest.mark.slow
def test_in_python_any_module_is_audited_and_deterministic_ones_too(tmp_path, capsys, monkeypatch):
    class Autoencoder(nn.Module):
        def encode(self, x):
            return x.flatten(1)[:, ::2] * 2

        def decode(self, z):
            return (z / 2).repeat_interleave(2, 1).unflatten(1, (1, 8, 8))

    size = replace(audit_run.BUDGETS["quick"]["size"], lambdas=6, steps=15, polish=1)
    monkeypatch.setitem(audit_run.BUDGETS["quick"], "size", size)
    images = load_digits().images[:30, None] / 16
    report = vaepipe.audit(Autoencoder().eval(), images, out=tmp_path / "a", pairs=3)
    assert [loss["loss"] for loss in report.scorecard["losses"]] == ["latent-mean", "output"]
    assert "deterministic" in str(report) and report.scorecard["elbo"] is None
    assert len(report.tables["attacks"]) == 2 * 3 * 6
    assert len(report.figure().axes) == 2 and len(report.pictures().axes) == 14
    report.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "index.html").is_file()
    with pytest.raises(DataError, match=r"'latent-kl' is infinite for a posterior without width"):
        vaepipe.audit(Autoencoder().eval(), images, losses=["latent-kl"], pairs=2, quiet=True)


MISTAKES = [
    ({"model": "net.py:dropping"}, [], "posterior: differs when asked twice; call .eval() on every network"),
    ({"model": "net.py:without_gradient"}, [], "posterior: has no gradient, which attacks need"),
    (
        {"model": "net.py:nothing"},
        [],
        "gave object, which has no posterior and no decode; give it encode",
    ),
    ({"model": "nothing.py:load"}, [], "nothing.py is not a file"),
    ({"model": "net.py:absent"}, [], "has no function 'absent'"),
    ({"model": "net.py"}, [], "expected file.py:function, package.module:function, zoo:NAME"),
    ({"images": "nowhere"}, [], "nowhere: no such folder or file"),
    ({"images": "empty"}, [], "no images in it"),
    ({"images": "one"}, [], "1 image; at least 4 are needed"),
    ({"images": "colour.npy"}, [], "images are 8×8 colour; the model takes 8×8 grey; give a folder of image"),
    ({"images": "large.npy"}, [], "images are 16×16 grey; the model takes 8×8 grey; give a folder of image"),
    ({}, ["--shape", "1,9,9"], "posterior failed on shape (1, 1, 9, 9)"),
    ({}, ["--range", "1,0"], "--range 1,0: expected the darkest pixel, then the brightest"),
    ({}, ["--losses", "kl"], "--losses kl: expected some of latent-kl"),
    ({}, ["--purify-with", "zoo:x"], "checks.purifiers: 'zoo:x': no such model"),
    ({}, ["--purify-with", "zoo:sprites-vae"], "zoo:sprites-vae takes no images of shape (1, 8, 8)"),
    ({}, ["--pairs", "0"], "--pairs 0: expected at least 1"),
    ({}, ["--key", "ema"], "has no 'ema'; it has model.ema"),
    ({}, ["--weights", "nan.pt"], "nan.pt: b.bias holds values that are not finite"),
    ({}, ["--weights", "other.pt"], "missing a.weight, a.bias, b.weight, b.bias; unexpected c.weight"),
    ({"out": "photos"}, [], "photos: is there and no audit; choose another folder"),
]


@pytest.fixture(scope="module")
def mistaken(mine):
    """The folder with inputs that cannot be."""
    (mine / "empty").mkdir()
    (mine / "one").mkdir()
    Image.new("L", (8, 8)).save(mine / "one" / "one.png")
    for name, shape in (("colour", (8, 3, 8, 8)), ("large", (8, 1, 16, 16))):
        np.save(mine / f"{name}.npy", np.arange(np.prod(shape)).astype(np.uint8).reshape(shape))
    weights = torch.load(mine / "w.pt")["model.ema"]
    torch.save({"model.ema": weights | {"b.bias": torch.full((64,), torch.nan)}}, mine / "nan.pt")
    torch.save({"model.ema": {"c.weight": torch.zeros(2)}}, mine / "other.pt")
    return mine


@pytest.mark.parametrize(("where", "options", "text"), MISTAKES)
def test_what_cannot_be_is_one_line_and_nothing_is_written(mistaken, where, options, text):
    def names():
        return sorted(path.name for path in mistaken.rglob("*") if path.parent.name != "__pycache__")

    before = names()
    given = command(mistaken, **{"out": "refused", **where})
    for option, value in zip(options[::2], options[1::2]):
        value = f"{mistaken}/{value}" if option == "--weights" else value
        given = given[: given.index(option)] + given[given.index(option) + 2 :] if option in given else given
        given += [option, value]
    with pytest.raises(DataError) as error:
        main(given)
    assert text in str(error.value) and "\n" not in str(error.value)
    assert set(names()) - {"__pycache__"} == set(before) - {"__pycache__"}


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("zoo:nothing", "zoo:nothing: no such model; expected one of digits-ae"),
        (
            "jax:model",
            "no module 'jax' is installed; before the colon may be zoo, diffusers, pythae",
        ),
        ("diffusers:nowhere", "nowhere does not exist; expected what diffusers saved"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(tmp_path, model, text):
    with pytest.raises(DataError) as error:
        main(["--model", model, "--images", "digits", "--out", str(tmp_path / "audit")])
    assert text in str(error.value) and not list(tmp_path.iterdir())


def test_a_library_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"diffusers: this package is not installed; install vaepipe\["):
        main(["--model", "diffusers:x", "--images", "digits", "--out", str(tmp_path / "audit")])


def test_a_checkpoint_written_on_a_gpu_is_read_on_a_cpu(tmp_path):
    """The location in the pickle is what torch.save writes for a tensor on a GPU."""
    import zipfile

    torch.save({"w": torch.arange(3.0)}, tmp_path / "cpu.pt")
    with zipfile.ZipFile(tmp_path / "cpu.pt") as old, zipfile.ZipFile(tmp_path / "gpu.pt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    assert (tmp_path / "gpu.pt").read_bytes().count(b"cuda:0") == 1
    assert read_checkpoint(tmp_path / "gpu.pt", None)["w"].tolist() == [0, 1, 2]


def test_the_size_of_an_audit_follows_the_operations_of_the_network(monkeypatch):
    """Linear maps 64 → 6 → 64: a forward pass has 2·64·6 operations each, and the gradient as many more."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 6), nn.Linear(6, 64)

        def posterior(self, x):
            mean = self.a(x.flatten(1))
            return (DiagonalNormal(mean, torch.zeros_like(mean)),)

        def decode(self, z):
            return Gaussian(self.b(z).unflatten(1, (1, 8, 8)), 0.1)

    model, x = Linear().requires_grad_(False), torch.rand(1, 1, 8, 8)
    whole = audit_run.BUDGETS["quick"]["size"]
    target, one = 2 * 64 * 6, 4 * 64 * 6  # the target's posterior, then value and gradient
    before = None
    for share in (2.0, 1.0, 0.5, 0.2, 0.05, 0.01):
        monkeypatch.setattr(audit_run, "QUICK", share * whole.evaluations * (one + target))
        size = audit_run.affordable(model, x, "quick", None, ["latent-mean"])
        at_least = (size.pairs, size.lambdas, size.steps) == audit_run.FEWEST[:3]
        assert size.evaluations <= share * whole.evaluations or at_least
        assert (size == replace(whole, images=size.images)) == (share >= 1)
        if before is not None:
            assert size.evaluations <= before.evaluations and size.images <= before.images
        before = size
    assert at_least
    assert audit_run.affordable(model, x, "quick", 3, ["latent-mean"]).pairs == 3
    full = audit_run.affordable(model, x, "full", None, ["latent-mean"])
    assert full == audit_run.BUDGETS["full"]["size"]


def test_arrays_keep_their_shape_where_the_model_takes_it(tmp_path, monkeypatch):
    """A convolutional network takes any shape, so what is tried first decides."""

    class Convolutions(nn.Module):
        def encode(self, x):
            return nn.functional.avg_pool2d(x, 2)

        def decode(self, z):
            return nn.functional.interpolate(z, scale_factor=2.0)

    monkeypatch.chdir(tmp_path)
    found = audit_model.adopt_object(Convolutions().eval())
    write_weights(found.weights, {"none": torch.zeros(1)}, {})
    shapes = [audit_model.fit_shape(found, (3, 160, 192), files).shape for files in (False, True)]
    assert shapes == [(3, 160, 192), (3, 64, 64)]
    assert audit_model.fit_shape(found, (1, 40, 30)).shape == (1, 30, 30)


def test_a_leaderboard_takes_audits_whose_files_are_theirs(audited, tmp_path, capsys):
    import shutil

    leaderboard.main([str(audited), "--out", str(tmp_path / "board")])
    page = (tmp_path / "board" / "index.html").read_text()
    assert "somebody" in page and "net" in page and "somebody" in capsys.readouterr().out
    copy = tmp_path / "copy"
    shutil.copytree(audited, copy)
    card = json.loads((copy / "scorecard.json").read_text())
    card["losses"][0]["success"]["0.25"]["fooled"] = (
        0 if card["losses"][0]["success"]["0.25"]["fooled"] else 1
    )
    (copy / "scorecard.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match="its numbers are not those of the tables beside it"):
        leaderboard.read_audit(copy)
    (copy / "results/tables/robustness.csv").write_text("loss\n")
    with pytest.raises(
        DataError, match=r"robustness\.csv: is not the file that scorecard\.json was made from"
    ):
        leaderboard.read_audit(copy)
    with pytest.raises(DataError, match="no readable scorecard"):
        leaderboard.read_audit(tmp_path)
