"""Two studies that were never run, for the tests of figures: tables and files of one, tables of another.

A test file gets the fixtures by ``pytest_plugins = ["synthetic"]``.
"""

import numpy as np
import pandas as pd
import pytest

from vaepipe.figures.data import Data
from vaepipe.figures.registry import FIGURES, cells_for
from vaepipe.stages import inputs, plot
from vaepipe.storage.h5 import write_h5
from vaepipe.study.cells import Cell, cells
from vaepipe.study.settings import Grid, Plot
from vaepipe.study.specs import FigureSpec

OPTIONS = Plot(beta=10, d_z=16, pairs=3, resamples=200)
THINGS = {"swissroll": "points", "digits": "images"}
GRID = Grid(families=("beta-vae", "beta-tcvae"), betas=(1, 4, 8), d_z=(8, 16), seeds=(0, 1))
ROLL = GRID.model_copy(update={"betas": (1, 32), "d_z": (2,)})
CELLS = [*cells("swissroll", ROLL), *cells("digits", GRID)]
FAMILIES = ("beta-vae", "beta-tcvae")
PAIRS, LAMBDAS, IMAGES = 5, [0.01, 0.1, 1.0, 10.0], 30


@pytest.fixture(scope="session")
def tables():
    """Losses grow with β for the β-TCVAE and fall for the β-VAE."""
    rng = np.random.default_rng(0)
    images, attacks = [], []
    for cell in CELLS:
        size = rng.normal(np.sqrt(cell.d_z), 0.2, IMAGES) ** 2
        ll, kl = rng.normal(-20 - cell.beta, 3, IMAGES), rng.gamma(4, 1, IMAGES)
        rows = {
            "image": np.arange(IMAGES),
            "log_likelihood": ll,
            "kl": kl,
            "elbo": ll - kl,
            "sigma_norm": size,
        }
        images.append(pd.DataFrame(vars(cell) | rows))
        if cell.dataset == "digits":
            grow = {"vae": 0, "beta-vae": -1, "beta-tcvae": 1}[cell.family] * np.log(cell.beta)
            start = np.exp(
                4 + grow + np.random.default_rng(1).normal(0, 0.3, PAIRS)
            )  # pairs are alike for all models
            weight = np.array(LAMBDAS)[:, None]
            norm = np.where(weight > 5, 0, rng.gamma(5, 1, (4, PAIRS)))
            rows = {
                "loss": "latent-kl",
                "lam": np.repeat(LAMBDAS, PAIRS),
                "pair": np.tile(np.arange(PAIRS), 4),
            }
            rows |= {"objective": np.minimum(start, start / 3 + weight * norm + start * (norm == 0)).ravel()}
            rows |= {
                "initial_divergence": np.tile(start, 4),
                "norm": norm.ravel(),
                "converged": rng.random(4 * PAIRS) < 0.9,
            }
            adversarial = (
                4 - 0.3 * norm + 0.1 * rng.random(norm.shape)
            )  # the farther, the nearer to the target
            rows |= {
                "adversarial_distance": adversarial.ravel(),
                "target_distance": 1.0,
                "original_distance": 4.05,
            }
            rows |= {"input_distance": 12.0, "target_nll": 20 + cell.beta - norm.ravel()}
            attacks.append(pd.DataFrame(vars(cell) | rows))
    images, attacks = pd.concat(images, ignore_index=True), pd.concat(attacks, ignore_index=True)
    models = (
        images.groupby([*Cell.__dataclass_fields__], sort=False).mean().drop(columns="image").reset_index()
    )
    n = len(models)
    models = models.assign(
        active_units=models["d_z"] // 2, total_correlation=rng.random(n), state="ok", mean_norm=3.0
    )
    models = models.assign(mig=np.where(models["dataset"] == "digits", rng.random(n), np.nan))
    start = 100 * np.where(models["family"] == "beta-tcvae", models["beta"], 1.0)
    models = models.assign(
        pair_divergence=start, pair_divergence_median=start / 2, squared_precision=0.8 * start, steps=100
    )
    dimensions = pd.concat(
        [
            pd.DataFrame(
                vars(cell) | {"rank": np.arange(1, cell.d_z + 1), "precision": np.linspace(3, 0, cell.d_z)}
            )
            for cell in CELLS
        ],
        ignore_index=True,
    )
    balls = attacks.assign(ball="l2", radius=attacks["lam"], divergence=attacks["objective"])
    robust = models[list(Cell.__dataclass_fields__)].assign(loss="latent-kl", noise_gain=np.nan, masked="")
    tables = {"models": models, "images": images, "attacks": attacks, "ball": balls, "robustness": robust}
    return tables | {"dimensions": dimensions}


@pytest.fixture(scope="session")
def attack_files(tmp_path_factory):
    """(cell, attack, measure) of the montage of ``digits``."""
    rng, folder, files = np.random.default_rng(2), tmp_path_factory.mktemp("attacks"), []
    for cell in cells_for("montage", "digits", CELLS, OPTIONS):
        numbers = {name: rng.random((4, PAIRS)) for name in ("objective", "norm", "divergence")}
        solved = numbers | {
            name: rng.integers(0, 256, (PAIRS, 1, 8, 8)).astype("uint8") for name in ("x", "target")
        }
        solved |= {"lambdas": np.array(LAMBDAS), "initial_divergence": np.full((4, PAIRS), 2.0)}
        solved |= {"distortion": rng.normal(0, 0.1, (4, PAIRS, 1, 8, 8)).astype("float32")}
        distance = rng.random((4, PAIRS))
        distance[:, 1] = 0.5  # all λ are equal: the first is shown
        stills = ("reconstruction", "target_reconstruction")
        measured = {name: rng.integers(0, 256, (PAIRS, 1, 8, 8)).astype("uint8") for name in stills}
        measured |= {"adversarial_distance": distance, "input_distance": np.full(PAIRS, 3.0)}
        measured |= {"adversarial_reconstruction": rng.integers(0, 256, (4, PAIRS, 1, 8, 8)).astype("uint8")}
        attributes = {**vars(cell), "loss": "latent-kl"}
        paths = [str(folder / f"{cell.family}-{kind}.h5") for kind in ("attack", "measure")]
        for path, kind, arrays in zip(paths, ("attack", "measure"), (solved, measured)):
            write_h5(path, kind, {k: (a, k) for k, a in arrays.items()}, attributes)
        files.append((cell, *paths))
    return files


@pytest.fixture(scope="session")
def roll_files(tmp_path_factory):
    rng, folder, files = np.random.default_rng(3), tmp_path_factory.mktemp("roll"), []
    x = rng.normal(0, 5, (60, 3)).astype("float32")
    for cell in cells_for("swissroll", "swissroll", CELLS, OPTIONS):
        z = rng.normal(0, 1, (60, 2)).astype("float32")
        arrays = {"x": x, "sample": z, "reconstruction": x + cell.beta / 100}
        path = str(folder / f"{cell.family}{cell.beta:g}.h5")
        write_h5(path, "evaluation", {k: (a, k) for k, a in arrays.items()}, {})
        files.append((cell, path))
    return files


@pytest.fixture(scope="session")
def model_files(tmp_path_factory):
    """Figure of the models of ``digits`` → (cell, evaluation or history)."""
    rng, folder, files = np.random.default_rng(4), tmp_path_factory.mktemp("models"), {}
    for cell in cells_for("samples", "digits", CELLS, OPTIONS):
        shapes = {
            "reconstruction": (40, 1, 8, 8),
            "prior_sample": (16, 1, 8, 8),
            "traversal": (6, 7, 1, 8, 8),
        }
        arrays = {name: rng.random(shape).astype("float32") for name, shape in shapes.items()}
        arrays |= {"x": rng.integers(0, 256, (40, 1, 8, 8)).astype("uint8"), "traversed": np.arange(6)[::-1]}
        evaluation, history = (str(folder / f"{cell.family}.{end}") for end in ("h5", "csv"))
        write_h5(evaluation, "evaluation", {k: (a, k) for k, a in arrays.items()}, {})
        columns = {"epoch": np.arange(1, 31), "log_likelihood": -100 + np.arange(30.0), "kl": 5.0}
        pd.DataFrame(columns | {"held_out_elbo": -106 + np.arange(30.0)}).to_csv(history, index=False)
        for name in ("reconstructions", "samples", "traversals"):
            files.setdefault(name, []).append((cell, evaluation))
        files.setdefault("training", []).append((cell, history))
    return files


@pytest.fixture(scope="session")
def data(tables, attack_files, roll_files, model_files):
    """Name of the figure → what it reads, as the stage reads the arrays."""
    attacked = plot.read(
        FIGURES["montage"],
        FigureSpec(plot=OPTIONS, cells=tuple(cell for cell, *_ in attack_files)),
        {},
        [attack for _, attack, _ in attack_files],
        [measure for _, _, measure in attack_files],
    ).arrays
    axes = FIGURES["swissroll"].arrays["evaluation"]
    rolls = [inputs.read_evaluation(cell, path, axes) for cell, path in roll_files]
    arrays = {"montage": attacked, "swissroll": rolls}
    for name, files in model_files.items():
        spec = FigureSpec(plot=OPTIONS, cells=tuple(cell for cell, _ in files))
        arrays[name] = plot.read(FIGURES[name], spec, {}, [path for _, path in files]).arrays
    found = {name: Data(**tables, arrays=arrays.get(name, []), things=THINGS) for name in FIGURES}
    models = tables["models"]
    kept = models.assign(snapshot=50, steps=50, pair_divergence=2 * models["pair_divergence"])
    found["path"].models = pd.concat([kept, models], ignore_index=True)
    return found


# --- another study, in tables only: three families, several losses ---

BETAS, D_Z, SEEDS, N_PAIRS, LAMBDA_GRID, N_IMAGES = (1.0, 2.0, 4.0), (4, 8), (0, 1), 4, (0.25, 1.0, 8.0), 12


def grid(families=("beta-vae", "beta-tcvae", "seatbelt")):
    for family in families:
        for beta in BETAS:
            for d_z in D_Z:
                for seed in SEEDS:
                    shared = "vae" if beta == 1 and family != "seatbelt" else family
                    yield {
                        "dataset": "dsprites",
                        "family": shared,
                        "beta": beta,
                        "d_z": d_z,
                        "seed": seed,
                        "snapshot": 0,
                    }


def make_tables(losses=("latent-kl", "output"), factors=True):
    """A study of three families, whose attacks need more distortion the larger β is."""
    rng = np.random.default_rng(0)
    models, images, attacks = [], [], []
    for cell in {tuple(cell.items()): cell for cell in grid()}.values():
        elbo = rng.normal(-90 - 5 * cell["beta"] + 3 * (cell["family"] == "seatbelt"), 1, N_IMAGES)
        rows = {"image": np.arange(N_IMAGES), "elbo": elbo, "log_likelihood": elbo + 5, "kl": 5.0}
        images.append(pd.DataFrame(cell | rows | {"sigma_norm": rng.random(N_IMAGES) + 1}))
        row = {
            "active_units": 3,
            "total_correlation": rng.random(),
            "state": "ok",
            "mean_norm": 2.0,
            "kl": 5.0,
        }
        row |= {"sigma_norm": 1.5, "overlap": 0.01 * cell["beta"], "overlap_se": 0.001}
        models.append(cell | row | {"mig": rng.random() if factors else np.nan})
        for loss in losses:
            for pair in range(N_PAIRS):
                for k, weight in enumerate(LAMBDA_GRID):
                    norm = (2 - k) * (1 + 0.3 * cell["beta"]) * rng.uniform(0.9, 1.1)
                    a = 1 + 3 * np.exp(-norm / (1 + 0.2 * cell["beta"]))
                    trial = {
                        "loss": loss,
                        "lam": weight,
                        "pair": pair,
                        "norm": norm,
                        "input_distance": 5.0,
                    }
                    trial |= {"adversarial_distance": a, "target_distance": 1.0, "original_distance": 4.0}
                    trial |= {
                        "initial_divergence": 50.0,
                        "objective": min(50.0, 10 * cell["beta"] + weight * norm),
                    }
                    attacks.append(cell | trial | {"target_nll": 100 + cell["beta"], "converged": True})
    attacks = pd.DataFrame(attacks)
    return Data(pd.DataFrame(models), pd.concat(images, ignore_index=True), attacks, in_balls(attacks))


def in_balls(attacks):
    """Attacks of bounded size, a radius for each λ, and two norms."""
    balls = attacks.assign(radius=1 / attacks["lam"], divergence=attacks["objective"] + 0.1 * attacks["pair"])
    return pd.concat([balls.assign(ball=norm) for norm in ("l2", "linf")], ignore_index=True)
