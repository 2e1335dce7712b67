"""Figures: the numbers are read back from what was drawn."""

import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from vaepipe.analysis import formatting
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.analysis.selection import nearest, representatives
from vaepipe.analysis.trials import best_lambda
from vaepipe.analysis.verdict import verdict
from vaepipe.figures import curves, montage, sigma_density, style
from vaepipe.figures import headline as headlines
from vaepipe.figures.captions import captions
from vaepipe.figures.data import CellArrays, Data
from vaepipe.figures.registry import FIGURES, cells_for
from vaepipe.stages import inputs, plot
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, write_h5
from vaepipe.storage.tables import write_table
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


@pytest.fixture(scope="module")
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
                "lambda": np.repeat(LAMBDAS, PAIRS),
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
    balls = attacks.assign(ball="l2", radius=attacks["lambda"], divergence=attacks["objective"])
    robust = models[list(Cell.__dataclass_fields__)].assign(loss="latent-kl", noise_gain=np.nan, masked="")
    tables = {"models": models, "images": images, "attacks": attacks, "ball": balls, "robustness": robust}
    return tables | {"dimensions": dimensions}


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def data(tables, attack_files, roll_files):
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
    found = {name: Data(**tables, arrays=arrays.get(name, []), things=THINGS) for name in FIGURES}
    models = tables["models"]
    kept = models.assign(snapshot=50, steps=50, pair_divergence=2 * models["pair_divergence"])
    found["path"].models = pd.concat([kept, models], ignore_index=True)
    return found


def make(name, data, **options):
    return FIGURES[name].load()(data, OPTIONS.model_copy(update=options))


def part(figure, gid, panel=0):
    (found,) = figure.axes[panel].findobj(lambda artist: artist.get_gid() == gid)
    return found


def notes(figure):
    return "\n".join(
        " ".join(text.get_text().split()) for text in figure.findobj(Text) if text.get_gid() == "note"
    )


def nothing_is_cut_off(figure):
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return box.x0 > -0.01 and box.y0 > -0.01 and box.x1 < width + 0.01 and box.y1 < height + 0.01


def pick(frame, families, **equal):
    rows = frame[frame["family"].isin(families)]
    for name, value in equal.items():
        rows = rows[rows[name] == value]
    return rows


# --- the registry -----------------------------------------------------------------------------------


def test_registry_costs_nothing_at_parse_time():
    heavy = "('matplotlib', 'pandas', 'numpy', 'torch')"
    modules = "sys, vaepipe.figures.registry, vaepipe.figures.captions"
    code = f"import {modules}; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_nearest():
    assert nearest([1, 4, 8], 10) == 8
    assert nearest([2, 8, 4], 6) == 4  # a tie: the smaller


def test_representatives_and_cells_for():
    assert [(c.family, c.beta, c.d_z, c.seed) for c in cells_for("montage", "digits", CELLS, OPTIONS)] == [
        ("vae", 1, 16, 0),
        ("beta-vae", 8, 16, 0),
        ("beta-tcvae", 8, 16, 0),
    ]
    assert len(cells_for("swissroll", "swissroll", CELLS, OPTIONS)) == 3  # one of two seeds
    assert (
        cells_for("swissroll", "digits", CELLS, OPTIONS) == [] == cells_for("elbo", "digits", CELLS, OPTIONS)
    )
    assert representatives([], 10, 16) == []
    one_family = cells("digits", GRID.model_copy(update={"families": ("vae",)}))
    assert [c.family for c in representatives(one_family, 10, 16)] == ["vae"]


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "headline"])
def test_nothing_is_cut_off(name, data):
    assert nothing_is_cut_off(make(name, data[name]))


@pytest.mark.parametrize("lines, grown", [(1, False), (16, True)])
def test_long_notes_make_the_page_higher_and_not_the_panels_flat(lines, grown, tmp_path):
    with matplotlib.rc_context(style.RC):
        page, axes = style.panels(4, 2.9)
    for ax in axes:
        style.note(ax, "\n".join("so many words" for _ in range(lines)))
    before = page.get_figheight()
    for suffix in (".pdf", ".png"):
        style.save(page, tmp_path / f"page{suffix}", suffix)
    assert (page.get_figheight() > before) == grown
    assert min(ax.get_position().height for ax in axes) * page.get_figheight() > 2.9 / 2 - 0.02


# --- curves against β -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_adversarial_loss_is_the_plain_mean_with_its_interval(family, data, tables):
    figure = make("adversarial_loss", data["adversarial_loss"])
    assert [ax.get_title() for ax in figure.axes] == ["digits, attack latent-kl"]
    line, band, start = (part(figure, gid) for gid in (family, f"band {family}", f"start {family}"))
    assert list(line.get_xdata()) == [1, 4, 8] == list(start.get_xdata()) == list(figure.axes[0].get_xticks())
    assert figure.axes[0].get_yscale() == "log"
    outline = band.get_paths()[0].vertices
    for beta, mean, first in zip(line.get_xdata(), line.get_ydata(), start.get_ydata()):
        rows = pick(tables["attacks"], (family, "vae"), beta=beta)
        assert mean == pytest.approx(sum(rows["objective"]) / len(rows))
        assert first == pytest.approx(rows["initial_divergence"].mean())
        _, low, high = clustered_interval(
            rows["objective"], [rows["pair"], rows["seed"]], log=True, resamples=200
        )
        ends = outline[outline[:, 0] == beta, 1]
        assert (ends.min(), ends.max()) == (pytest.approx(low), pytest.approx(high))


def test_adversarial_loss_says_what_its_band_is(data, tables):
    text = notes(make("adversarial_loss", data["adversarial_loss"]))
    assert "n = 80 trials per point (5 pairs × 4 λ × 2 $d_z$ × 2 seeds)" in text
    assert (
        "bootstrap over 5 pairs and 2 training seeds, 200 resamples, Student's t" in text
        and "make it wide" in text
    )
    assert "in 25 % of trials" in text
    single = Data(attacks=tables["attacks"][tables["attacks"]["seed"] == 0])
    assert "one training seed: variation between trainings is not in it" in notes(
        make("adversarial_loss", single)
    )


@pytest.mark.parametrize(("name", "column"), [("likelihood", "log_likelihood"), ("elbo", "elbo")])
def test_quality(name, column, data, tables):
    figure = make(name, data[name])
    assert [ax.get_title() for ax in figure.axes] == ["swissroll", "digits"]
    assert figure.axes[0].get_ylabel().endswith("nats per point") and figure.axes[1].get_ylabel().endswith(
        "nats per image"
    )
    assert "60 rows" in notes(figure) and "120 rows per point (30 images × 2 $d_z$ × 2 seeds)" in notes(
        figure
    )
    for panel, dataset in enumerate(("swissroll", "digits")):
        line = part(figure, "beta-tcvae", panel)
        frame = tables["images"][tables["images"]["dataset"] == dataset]
        expected = [pick(frame, ("vae", "beta-tcvae"), beta=beta)[column].mean() for beta in line.get_xdata()]
        assert line.get_ydata() == pytest.approx(expected)
    assert part(figure, "vae", 1).get_ydata() == pytest.approx([pick(frame, ("vae",))[column].mean()])


def test_missing_parts_are_said(tables):
    one = Data(images=pick(tables["images"], ("vae", "beta-vae"), dataset="digits"))
    assert "Not in this study: β-TCVAE." in notes(make("elbo", one)) and "β-TCVAE" in notes(
        make("sigma_density", one)
    )
    no_vae = Data(attacks=pick(tables["attacks"], ("beta-tcvae",), beta=4, seed=0, pair=0))
    text = notes(make("adversarial_loss", no_vae))
    assert "No band" in text and "one pair" in text and "Not in this study: β-VAE, β = 1." in text
    lonely = Data(
        attacks=pick(tables["attacks"], ("vae",)),
        models=pick(tables["models"], ("vae",)),
        images=pick(tables["images"], ("vae",)),
    )
    for name in ("adversarial_loss", "likelihood", "sigma_density", "headline"):
        assert make(name, lonely)
    uneven = tables["attacks"].drop(pick(tables["attacks"], ("beta-vae",), beta=4, d_z=8).index)
    assert "n = 40 to 80 trials per point (at most 5 pairs" in notes(
        make("adversarial_loss", Data(attacks=uneven))
    )


def test_nothing_to_show_is_said(tables):
    nothing = tables["attacks"].iloc[:0].astype(object)
    assert "was attacked" in notes(make("adversarial_loss", Data(attacks=nothing)))
    assert "was attacked" in make("headline", Data(attacks=nothing, models=tables["models"]))
    assert notes(make("montage", Data())) and notes(make("swissroll", Data()))
    assert notes(make("elbo", Data(images=tables["images"].iloc[:0])))


def test_short_numbers():
    shown = {
        0.0123456: "0.0123",
        7.8: "7.80",
        236.4: "236",
        1073.0: "1,070",
        999.9: "1,000",
        12345678.0: "1.23e+07",
        0.0: "0.00",
    }
    assert {number: formatting.short(number) for number in shown} == shown
    assert (formatting.short(float("nan")), formatting.short(float("inf"))) == ("nan", "inf")


def test_means_off_the_axis_are_said(tables):
    wild = tables["attacks"].copy()
    wild.loc[pick(wild, ("beta-vae",), beta=4).index[0], "objective"] = np.inf
    figure = make("adversarial_loss", Data(attacks=wild))
    assert "not drawn: β-VAE at β = 4 (inf)" in notes(figure) and np.isfinite(figure.axes[0].get_ylim()).all()
    wild.loc[pick(wild, ("beta-vae",), beta=4).index, "objective"] = 0.0  # a model that ignores its input
    assert "not drawn: β-VAE at β = 4 (0)" in notes(make("adversarial_loss", Data(attacks=wild)))
    wild.loc[pick(wild, ("vae",)).index, "objective"] = 0.0
    assert "0.00 [–, –]" in make("headline", Data(attacks=wild, models=tables["models"]))


# --- density ----------------------------------------------------------------------------------------


def test_sigma_density_integrates_to_one(data, tables):
    figure = make("sigma_density", data["sigma_density"])
    for panel in (0, 1):
        for family in ("vae", *FAMILIES):
            for seed in (0, 1):
                x, y = part(figure, f"{family} {seed}", panel).get_data()
                assert np.trapezoid(y, x) == pytest.approx(1, abs=0.03)
    assert part(figure, "prior", 1).get_xdata()[0] == 4
    assert figure.axes[1].get_title() == "digits, β = 8, $d_z$ = 16"
    x, y = part(figure, "beta-vae 1", 1).get_data()
    values = pick(tables["images"], ("beta-vae",), dataset="digits", beta=8, d_z=16, seed=1)[
        "sigma_norm"
    ].to_numpy()
    bandwidth = values.std() * len(values) ** -0.2
    at = 500
    assert y[at] == pytest.approx(
        np.exp(-0.5 * ((x[at] - values) / bandwidth) ** 2).mean() / bandwidth / np.sqrt(2 * np.pi)
    )


def test_a_collapsed_model_is_a_visible_spike(tables):
    images = tables["images"].copy()
    images.loc[images["family"] == "beta-vae", "sigma_norm"] = 4.0
    figure = make("sigma_density", Data(images=images[images["dataset"] == "digits"]))
    x, y = part(figure, "beta-vae 0").get_data()
    top = figure.axes[0].get_ylim()[1]
    lowest = min(line.get_ydata().max() for line in figure.axes[0].lines if line.get_gid() != "prior")
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01) and x[y.argmax()] == pytest.approx(4, abs=0.05)
    assert np.ptp(x[y > y.max() / 2]) > np.ptp(x) / 200  # wide enough to be seen
    assert top <= sigma_density.CUT * lowest * 1.13 < y.max()
    assert f"{y.max():.3g}" in [text.get_text() for text in figure.axes[0].texts]


# --- pictures ---------------------------------------------------------------------------------------


def brute_best(distance):
    """The rule, in words: among those at most the mean, the largest."""
    mean = sum(distance) / len(distance)
    return max((d, -i) for i, d in enumerate(distance) if d <= mean)[1] * -1


def test_best_lambda():
    rng = np.random.default_rng(4)
    for _ in range(50):
        distance = rng.random(7)
        assert best_lambda(distance) == brute_best(list(distance))
    assert best_lambda(np.full(7, 0.1)) == 0  # their mean rounds to less than 0.1
    assert best_lambda(np.array([np.nan, 1, 2, 9])) == 2
    assert best_lambda(np.full(3, np.nan)) == 0 == best_lambda(np.array([3.0]))


def test_montage_shows_the_chosen_lambda(data, attack_files):
    figure = make("montage", data["montage"])
    assert [ax.get_title() for ax in figure.axes] == ["VAE, β = 1", "β-VAE, β = 8", "β-TCVAE, β = 8"]
    for ax, (_, attack, measure) in zip(figure.axes, attack_files):
        with open_h5(attack, "attack") as file, open_h5(measure, "measure") as measured:
            norm, objective, distance = (
                file["norm"][:],
                file["objective"][:],
                measured["adversarial_distance"][:],
            )
        labels = [label.get_text() for label in ax.get_xticklabels()]
        assert len(labels) == OPTIONS.pairs
        for p, label in enumerate(labels):
            row = brute_best(list(distance[:, p]))
            numbers = [formatting.short(value) for value in (LAMBDAS[row], norm[row, p], objective[row, p])]
            assert label == "λ {}\n‖d‖ {}\nΔ {}".format(*numbers)
    assert "Δ = divergence + λ‖d‖₂ in nats" in notes(figure)


def test_montage_marks_the_models_whose_attacks_the_checks_flag(data, attack_files):
    frame = pd.DataFrame([vars(cell) | {"loss": "latent-kl", "masked": ""} for cell, *_ in attack_files])
    weak = frame.assign(masked=["", "noise of the same norm does 95 % as well", np.nan])
    figure = make("montage", Data(robustness=weak, arrays=data["montage"].arrays))
    assert [ax.get_title() for ax in figure.axes] == ["VAE, β = 1", "β-VAE, β = 8 †", "β-TCVAE, β = 8"]
    said = "† Attack too weak by its checks, do not call robust (models): β-VAE β = 8 (1 of 1)."
    assert notes(figure).endswith(said) and nothing_is_cut_off(figure)
    for clean in (Data(robustness=frame, arrays=data["montage"].arrays), data["montage"]):
        figure = make("montage", clean)
        assert "†" not in notes(figure) and not any("†" in ax.get_title() for ax in figure.axes)


def test_montage_scales_the_distortion_about_grey(data, attack_files):
    first = [
        item._replace(
            arrays={k: a[..., :1, :, :, :] if a.ndim > 3 else a[..., :1] for k, a in item.arrays.items()}
            | {"lambdas": item.arrays["lambdas"]}
        )
        for item in data["montage"].arrays
    ]
    figure = make("montage", Data(arrays=first))
    tile = figure.axes[0].images[0].get_array()
    side = tile.shape[1]
    assert tile.shape == (7 * side, side, 3)
    shown = [montage.columns(item.arrays)[0] for item in data["montage"].arrays]
    reach = max(np.abs(column.pictures[3]).max() for column in shown)
    assert f"±{reach:.2g}" in figure.axes[0].get_yticklabels()[3].get_text()
    d = shown[0].pictures[3][0]
    middle = tile[3 * side : 4 * side]
    gap = (side - 66) // 2 + 1  # gap and frame around 64 pixels, eight for each of the image's
    assert (
        middle[gap + 4 : gap + 64 : 8, gap + 4 : gap + 64 : 8, 0] == np.round((0.5 + 0.5 * d / reach) * 255)
    ).all()
    assert montage._distortion(np.zeros((1, 2, 2)), 0.0).tolist() == [[[128, 128], [128, 128]]]


def test_colour_pictures():
    picture = np.random.default_rng(5).integers(0, 256, (3, 32, 32)).astype("uint8")
    tile = montage._tile(picture)
    edge = (len(tile) - 64) // 2
    assert (tile[edge : edge + 64 : 2, edge : edge + 64 : 2] == picture.transpose(1, 2, 0)).all()


def test_swissroll_layout(data, roll_files):
    figure = make("swissroll", data["swissroll"])
    flat = [ax for ax in figure.axes if ax.name != "3d" and ax.get_title()]
    deep = [ax for ax in figure.axes if ax.name == "3d"]
    assert [ax.get_title() for ax in flat] == ["VAE, q(z)", "β-VAE, q(z)", "β-TCVAE, q(z)"]
    assert [ax.get_ylabel() for ax in flat if ax.get_ylabel()] == ["β = 1", "β = 32"]
    assert len({ax.get_xlim() + ax.get_ylim() for ax in flat}) == 1
    assert len({ax.get_xlim() + ax.get_ylim() + ax.get_zlim() for ax in deep}) == 1
    with open_h5(roll_files[0][1], "evaluation") as file:
        x, z = file["x"][:], file["sample"][:]
    points = flat[0].collections[0]
    assert np.allclose(points.get_offsets(), z)
    assert np.allclose(points.get_array(), np.sqrt(x[:, 0] ** 2 + x[:, 2] ** 2))


def test_swissroll_without_a_model(data):
    others = [
        item for item in data["swissroll"].arrays if (item.cell.family, item.cell.beta) != ("beta-vae", 32)
    ]
    figure = make("swissroll", Data(arrays=others))
    assert any("not in" in text.get_text() for text in figure.findobj(Text))


def test_swissroll_on_a_line(roll_files):
    """A posterior that collapsed in one dimension exactly has no density; its points are still drawn."""
    x, z = np.random.default_rng(6).normal(size=(2, 20, 3))
    arrays = {"x": x, "sample": z[:, :2] * [1, 0], "reconstruction": x}
    assert make("swissroll", Data(arrays=[CellArrays(roll_files[0][0], arrays)]))


# --- precision and path -----


def test_precision_shows_each_model_and_the_dimensions_in_order(data):
    page = make("precision", data["precision"])
    digits = page.axes[2]
    points = part(page, "models beta-tcvae", 2).get_offsets()
    assert sorted(map(tuple, np.unique(points, axis=0))) == [(320, 400), (640, 800)]
    line = part(page, "precision beta-tcvae 8", 3)
    assert list(line.get_xdata()) == list(range(1, 17)) and (np.diff(line.get_ydata()[:8]) < 0).all()
    assert digits.get_title() == "digits" and digits.get_xscale() == "log"


def test_path_has_mean_and_median_against_steps(data):
    page = make("path", data["path"])
    line = part(page, "pair_divergence beta-tcvae 8", 1)
    assert list(line.get_xdata()) == [50, 100] and list(line.get_ydata()) == pytest.approx([1600, 800])
    assert list(part(page, "pair_divergence_median vae 1", 1).get_ydata()) == pytest.approx([50, 50])
    still = Data(models=data["headline"].models)
    assert "keeps no snapshots" in notes(make("path", still))


# --- headline ---------------------------------------------------------------------------------------


def test_headline_numbers(data, tables):
    text = make("headline", data["headline"])
    frame = tables["attacks"]
    base, raised = (
        pick(frame, (family,), beta=beta)["objective"].mean()
        for family, beta in (("vae", 1), ("beta-tcvae", 8))
    )
    (row,) = [line for line in text.splitlines() if line.split()[:1] == ["8"]]
    assert f"{raised / base:.3g}" in row and row.split()[-1] == "higher" and "lower" in row
    assert "β-VAE: β > 1 does not raise the loss (lower at β = 4, 8)." in text
    assert "β-TCVAE: β > 1 raises the loss (higher at β = 4, 8)." in text
    assert "d ≈ 0 (‖d‖₂ < 0.0001): VAE 25 %, β-VAE 25 %, β-TCVAE 25 %" in text
    elbo = pick(tables["models"], ("beta-vae",), dataset="digits", beta=8)["elbo"].mean()
    assert f"β-VAE β = 8: {elbo:.1f}" in text
    assert max(map(len, text.splitlines())) <= 120
    answer = " ".join(text.split("\n\n")[0].split())
    assert answer.startswith("digits, latent KL attack: is β > 1 harder to fool?")
    assert (
        "Δ₀, before any attack, rises (× 8.00), and the precision of the latent code makes up 80 % and 80 %"
        in answer
    )


def test_a_study_without_a_beta_has_a_line_per_model(tables):
    alone = pick(tables["attacks"], ("vae",))
    text = make("headline", Data(attacks=alone, models=pick(tables["models"], ("vae",))))
    mean = formatting.short(alone["objective"].mean())
    assert f"  VAE: {mean} [" in text and "× β=1" not in text


def test_change_is_the_paired_ratio(tables):
    frame = tables["attacks"]
    found = headlines.excess(frame, "beta-tcvae", 4.0, 200)
    key = ["d_z", "seed", "lambda", "pair"]
    base, raised = (pick(frame, (f,), beta=b).sort_values(key) for f, b in (("vae", 1), ("beta-tcvae", 4)))
    ids = [raised["pair"], raised["seed"]]
    ratio = clustered_interval(
        raised["objective"], ids, against=base["objective"].to_numpy(), compare="ratio", resamples=200
    )
    assert np.array(found) + 1 == pytest.approx(np.array(ratio))
    negative = frame.assign(objective=frame["objective"] - 1e4)
    shifted = headlines.excess(negative, "beta-tcvae", 4.0, 200)
    assert shifted.estimate == pytest.approx(raised["objective"].mean() - base["objective"].mean())


def test_headline_stays_short(tables):
    many = pd.concat([tables["attacks"].assign(dataset=name) for name in "abc"])
    many = pd.concat([many, *(many[many["beta"] == 4].assign(beta=float(beta)) for beta in range(20, 30))])
    text = make("headline", Data(attacks=many, models=tables["models"]))
    assert len(text.split("\n\n", 3)[-1].splitlines()) <= 40 and text.count("     29  ") == 3


# --- the stage --------------------------------------------------------------------------------------


@pytest.fixture
def arguments(tables, attack_files, roll_files, tmp_path):
    """name → command line, and where it writes."""
    for name, frame in tables.items():
        write_table(tmp_path / f"{name}.parquet", frame[frame["dataset"] == "digits"])
    arrays = {"montage": attack_files, "swissroll": [(cell, path, "") for cell, path in roll_files]}

    def build(name, folder="a"):
        outs = [tmp_path / folder / f"{name}{suffix}" for suffix in FIGURES[name].suffixes]
        files = arrays.get(name, [])
        spec = FigureSpec(plot=OPTIONS, cells=tuple(cell for cell, *_ in files), things=THINGS).to_json()
        tables = [
            x for table in FIGURES[name].tables for x in (f"--{table}", str(tmp_path / f"{table}.parquet"))
        ]
        measures = [measure for _, _, measure in files if measure]
        read = ["--arrays", *(path for _, path, _ in files), "--measures", *measures]
        return [name, "--spec", spec, *tables, *read, "--out", *map(str, outs)], outs

    return build


@pytest.mark.parametrize("name", FIGURES)
def test_same_input_same_bytes(name, arguments):
    argv, outs = arguments(name)
    plot.main(argv)
    again, others = arguments(name, "b")
    kept = [path for path in others if path.suffix != ".png"]  # slow; as good as the PDF
    plot.main([*again[: again.index("--out") + 1], *map(str, kept)])
    for out in outs:
        content = out.read_bytes()
        assert (
            content.startswith(
                {".pdf": b"%PDF", ".png": b"\x89PNG", ".txt": b"digits", ".csv": b""}[out.suffix]
            )
            and content
        )
        assert b"CreationDate" not in content and b"Software" not in content
    for other in kept:
        assert other.read_bytes() == other.parent.parent.joinpath("a", other.name).read_bytes()


def test_wrong_input_is_one_line(arguments, tmp_path):
    argv, _ = arguments("elbo")
    with pytest.raises(DataError, match="--images is missing"):
        plot.main([*argv[:3], *argv[5:]])
    with pytest.raises(DataError, match="nowhere: no such file"):
        plot.main([*argv[:4], "nowhere", *argv[5:]])
    with pytest.raises(DataError, match=r"written as \.pdf or \.png or \.csv"):
        plot.main([*argv, "x.svg"])
    (tmp_path / "images.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"images\.parquet: not a readable table"):
        plot.main(argv)
    write_table(tmp_path / "images.parquet", pd.DataFrame([vars(CELLS[0]) | {"image": 0}]))
    with pytest.raises(DataError, match="lacks column elbo"):
        plot.main(argv)
    argv, _ = arguments("montage")
    argv.remove(argv[argv.index("--arrays") + 1])
    with pytest.raises(DataError, match="2 files for 3 cells"):
        plot.main(argv)


def test_the_hierarchical_family_starts_from_its_own_model_at_beta_one():
    found = {
        ("vae", 1.0): 1,
        ("seatbelt", 1.0): 2,
        ("seatbelt", 4.0): 3,
        ("beta-vae", 4.0): 5,
        ("ae", 0.0): 9,
    }
    assert curves.line_over_beta(found, "seatbelt") == ([1.0, 4.0], [2, 3])
    assert curves.line_over_beta(found, "beta-vae") == ([1.0, 4.0], [1, 5])
    assert curves.line_over_beta(found, "beta-tcvae") == ([], [])


@pytest.mark.parametrize(("noise", "reason"), [(0.5, "noise of the same norm does"), (1.9, "")])
def test_the_montage_is_flagged_by_the_files_of_its_attacks(attack_files, tmp_path, noise, reason):
    """The same reasons as in the table robustness, without waiting for it."""
    cell, attack, measure = attack_files[1]
    with open_h5(attack, "attack") as file:
        grid = {name: file[name][:] for name in ("objective", "divergence", "initial_divergence", "norm")}
    with open_h5(measure, "measure") as file:
        arrays = {name: (array[()], name) for name, array in file.items()}
    arrays["noise_divergence"] = (np.full((4, PAIRS), noise), "noise")
    write_h5(tmp_path / "m.h5", "measure", arrays, {})
    balls = {
        "ball": np.array([b"l2", b"linf"]),
        "divergence": np.full((2, PAIRS), 1e9),
        "norm": np.ones((2, PAIRS)),
    }
    write_h5(
        tmp_path / "b.h5", "ball", {k: (a, k) for k, a in balls.items()}, {**vars(cell), "loss": "latent-kl"}
    )
    spec = FigureSpec(plot=OPTIONS, cells=(cell,))
    measures, bounded = [str(tmp_path / "m.h5")], [str(tmp_path / "b.h5")]
    (row,) = plot.read(FIGURES["montage"], spec, {}, [attack], measures, bounded).robustness.to_dict(
        "records"
    )
    trials = {name: array.ravel() for name, array in grid.items()} | {"input_distance": 3.0}
    trials |= {"lambda": np.repeat(LAMBDAS, PAIRS), "pair": np.tile(np.arange(PAIRS), 4)}
    checks = {"noise_divergence": np.full((4, PAIRS), noise), "ball_divergence": np.full((1, PAIRS), 1e9)}
    expected = verdict(pd.DataFrame(trials), checks | {"ball_norm": np.ones((1, PAIRS))})
    assert row["masked"] == expected["masked"] and expected["ball_wins"] == 0
    assert row["masked"].startswith(reason) and bool(row["masked"]) == bool(reason)


def test_captions_are_found_without_importing_the_figures():
    attack = {"losses": ["latent-kl"], "pairs": 20, "lambdas": [0.25, 1, 4]}
    section = {"attack": attack, "evaluate": {"max_images": 1000}, "grid": {"betas": [1, 8]}}
    texts = captions(
        {"plot": vars(OPTIONS), "datasets": {"digits": section, "roll": section | {"kind": "swissroll"}}}
    )
    pictures = {entry.module for entry in FIGURES.values() if ".png" in entry.suffixes}
    assert texts.keys() == pictures - {"montage"} | {"montage/digits", "montage/roll"}
    assert "Attacks: 20 pairs × 3 λ from 0.25 to 4 (digits)" in texts["heatmap"]
    assert "The first 3 of 20 pairs" in texts["montage/digits"] and "β = 1, 8" in texts["swissroll"]
    assert not any("{" in text or "}" in text for text in texts.values())
