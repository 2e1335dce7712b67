"""Figures: the numbers are read back from what was drawn."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic import CELLS, FAMILIES, GRID, LAMBDAS, OPTIONS, PAIRS, THINGS

from vaepipe.analysis import formatting
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.analysis.selection import nearest, representatives
from vaepipe.analysis.trials import best_lambda
from vaepipe.analysis.verdict import verdict
from vaepipe.figures import curves, montage, scales, sigma_density, style
from vaepipe.figures import headline as headlines
from vaepipe.figures.captions import Caption, power_of_two
from vaepipe.figures.data import CellArrays, Data
from vaepipe.figures.registry import FIGURES, cells_for
from vaepipe.stages import plot
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, write_h5
from vaepipe.storage.tables import write_table
from vaepipe.study.cells import cells
from vaepipe.study.specs import FigureSpec

pytest_plugins = ["synthetic"]
CAVEAT = "estimator mss-released: as released, not correct"


def make(name, data, **options):
    return FIGURES[name].load()(data, OPTIONS.model_copy(update=options))


def part(figure, gid, panel=0):
    (found,) = figure.axes[panel].findobj(lambda artist: artist.get_gid() == gid)
    return found


def notes(figure):
    return figure.caption.plain()


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


# --- curves against β -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_adversarial_loss_is_the_plain_mean_with_its_interval(family, data, tables):
    figure = make("adversarial_loss", data["adversarial_loss"])
    assert [ax.get_title() for ax in figure.axes] == ["digits, latent KL attack"]
    line, band, start, median = (
        part(figure, gid) for gid in (family, f"band {family}", f"start {family}", f"median {family}")
    )
    assert list(line.get_xdata()) == [1, 4, 8] == list(start.get_xdata()) == list(figure.axes[0].get_xticks())
    assert figure.axes[0].get_yscale() == "log"
    outline = band.get_paths()[0].vertices
    for beta, mean, first, middle in zip(
        line.get_xdata(), line.get_ydata(), start.get_ydata(), median.get_ydata()
    ):
        rows = pick(tables["attacks"], (family, "vae"), beta=beta)
        assert middle == np.median(rows["objective"])
        written = {
            row["quantity"]: row["estimate"]
            for row in figure.numbers()
            if row["beta"] == beta and row["family"] == (family if beta > 1 else "vae")
        }
        assert written["median of objective"] == middle and written["mean of initial_divergence"] == first
        assert mean == pytest.approx(sum(rows["objective"]) / len(rows))
        assert first == pytest.approx(rows["initial_divergence"].mean())
        _, low, high = clustered_interval(
            rows["objective"], [rows["pair"], rows["seed"]], log=True, resamples=200
        )
        ends = outline[outline[:, 0] == beta, 1]
        assert (ends.min(), ends.max()) == (pytest.approx(low), pytest.approx(high))


def test_adversarial_loss_says_what_its_band_is(data, tables):
    text = notes(make("adversarial_loss", data["adversarial_loss"]))
    assert "mean of 80 trials (5 pairs × 4 λ × 2 d_z × 2 seeds)" in text
    assert (
        "bootstrap of 5 pairs and 2 training seeds, 200 resamples, Student's t" in text
        and "make them wide" in text
    )
    assert "25 % of the trials have no distortion" in text
    single = Data(attacks=tables["attacks"][tables["attacks"]["seed"] == 0])
    assert "one training seed: the variation between trainings is not in them" in notes(
        make("adversarial_loss", single)
    )


def test_quality(data, tables):
    figure = make("elbo", data["elbo"])
    columns = ("elbo", "log_likelihood", "kl")
    titles = [f"{dataset}, {term}" for dataset in THINGS for term in ("ELBO", "log p(x|z)", "KL")]
    assert [ax.get_title() for ax in figure.axes] == titles
    assert figure.axes[0].get_ylabel() == "nats per point" and figure.axes[3].get_ylabel() == "nats per image"
    assert "mean of 60 rows" in notes(figure) and "120 rows (30 images × 2 d_z × 2 seeds)" in notes(figure)
    for panel, (dataset, column) in enumerate((dataset, column) for dataset in THINGS for column in columns):
        line = part(figure, "beta-tcvae", panel)
        frame = tables["images"][tables["images"]["dataset"] == dataset]
        expected = [pick(frame, ("vae", "beta-tcvae"), beta=beta)[column].mean() for beta in line.get_xdata()]
        assert line.get_ydata() == pytest.approx(expected)
        assert part(figure, "vae", panel).get_ydata() == pytest.approx([pick(frame, ("vae",))[column].mean()])


def test_missing_parts_are_said(tables):
    one = Data(images=pick(tables["images"], ("vae", "beta-vae"), dataset="digits"))
    assert "Not in this study: β-TCVAE." in notes(make("elbo", one)) and "β-TCVAE" in notes(
        make("sigma_density", one)
    )
    no_vae = Data(attacks=pick(tables["attacks"], ("beta-tcvae",), beta=4, seed=0, pair=0))
    text = notes(make("adversarial_loss", no_vae))
    assert "Bands are missing" in text and "one pair" in text and "Not in this study: β-VAE, β = 1." in text
    lonely = Data(
        attacks=pick(tables["attacks"], ("vae",)),
        models=pick(tables["models"], ("vae",)),
        images=pick(tables["images"], ("vae",)),
    )
    for name in ("adversarial_loss", "elbo", "sigma_density", "headline"):
        assert make(name, lonely)
    uneven = tables["attacks"].drop(pick(tables["attacks"], ("beta-vae",), beta=4, d_z=8).index)
    assert "mean of 40 to 80 trials (at most 5 pairs" in notes(make("adversarial_loss", Data(attacks=uneven)))


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
    assert f"β-VAE {y.max():.3g}" in notes(figure)


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
            assert label.startswith("λ {}\n‖d‖ {}\nΔ {}\n‖d‖ ".format(*numbers))
    assert "Δ in nats" in notes(figure)


def test_montage_marks_the_models_whose_attacks_the_checks_flag(data, attack_files):
    frame = pd.DataFrame([vars(cell) | {"loss": "latent-kl", "masked": ""} for cell, *_ in attack_files])
    weak = frame.assign(masked=["", "noise of the same norm does 95 % as well", np.nan])
    figure = make("montage", Data(robustness=weak, arrays=data["montage"].arrays))
    assert [ax.get_title() for ax in figure.axes] == ["VAE, β = 1", "β-VAE, β = 8 †", "β-TCVAE, β = 8"]
    said = "† A check finds the attack too weak, so these models must not be called robust: "
    said += "β-VAE β = 8 (1 of 1)."
    assert said in notes(figure)
    for clean in (Data(robustness=frame, arrays=data["montage"].arrays), data["montage"]):
        figure = make("montage", clean)
        assert "†" not in notes(figure) and not any("†" in ax.get_title() for ax in figure.axes)


def test_montage_scales_the_distortion_about_white():
    d = np.array([[[0.0, 0.5], [-0.5, 0.25]]])
    shown = montage._distortion(d, 0.5).transpose(1, 2, 0).astype(int)
    assert shown.shape == (2, 2, 3) and (shown[0, 0] > 240).all()
    red, blue, half = shown[0, 1], shown[1, 0], shown[1, 1]
    assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0] and red[0] < half[0] and half[0] > half[2]
    assert (montage._distortion(np.zeros((3, 2, 2)), 0.0) > 240).all()


def test_the_lower_block_of_the_montage_is_at_one_norm(data):
    models = [item.arrays for item in data["montage"].arrays]
    norms = montage.common_norms(models)
    for p in range(OPTIONS.pairs):
        chosen = sorted(
            arrays["norm"][brute_best(list(arrays["adversarial_distance"][:, p])), p] for arrays in models
        )
        assert norms[p] == chosen[1]  # the median of three
        for arrays in models:
            shown = montage.columns(arrays, norms)[p]
            away = abs(arrays["norm"][:, p] - norms[p])
            assert abs(shown.equal_norm - norms[p]) == min(away)
            picture = shown.pictures[montage.ROWS.index("x + d, equal ‖d‖")]
            distorted = arrays["x"][p] / 255 + arrays["distortion"][away.argmin(), p]
            assert np.array_equal(picture, (distorted.clip(0, 1) * 255).round())


def test_colour_pictures():
    picture = np.random.default_rng(5).integers(0, 256, (3, 32, 32)).astype("uint8")
    tile = montage.tile(picture)
    edge = (len(tile) - 64) // 2
    assert (tile[edge : edge + 64 : 2, edge : edge + 64 : 2] == picture.transpose(1, 2, 0)).all()


def test_swissroll_layout(data, roll_files):
    figure = make("swissroll", data["swissroll"])
    flat = [ax for ax in figure.axes if ax.name != "3d" and ax.get_title()]
    deep = [ax for ax in figure.axes if ax.name == "3d"]
    assert [ax.get_title() for ax in flat] == ["VAE, q(z)", "β-VAE, q(z)", "β-TCVAE, q(z)"]
    assert [ax.get_ylabel() for ax in flat if ax.get_ylabel()] == ["β = 1", "β = 32"]
    assert len({ax.get_xlim() + ax.get_ylim() + ax.get_zlim() for ax in deep}) == 1
    for item, ax in zip(data["swissroll"].arrays, flat):
        z = np.abs(item.arrays["sample"])
        assert ax.get_xlim()[1] == ax.get_ylim()[1] == pytest.approx(max(1.25, 1.1 * np.quantile(z, 0.998)))
    x, rebuilt = (data["swissroll"].arrays[-1].arrays[name] for name in ("x", "reconstruction"))
    kept = [
        1 - ((x - rebuilt)[:, axes] ** 2).sum() / ((x - x.mean(0))[:, axes] ** 2).sum()
        for axes in ([1], [0, 2])
    ]
    assert deep[-2].get_title() == f"rebuilt, {min(kept):.2f}"
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
    assert "Not in this study: β-VAE β = 32" in notes(figure)


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
    assert answer.startswith("digits, latent KL attack, in image space against β = 1: β-VAE at β = 8 is ")
    assert "Δ₀ rises (× 8.00), of which precision makes up 80 % and 80 % at β = 1 and 8." in answer


def test_a_study_without_a_beta_has_a_line_per_model(tables):
    alone = pick(tables["attacks"], ("vae",))
    text = make("headline", Data(attacks=alone, models=pick(tables["models"], ("vae",))))
    mean = formatting.short(alone["objective"].mean())
    assert f"  VAE: {mean} [" in text and "× β=1" not in text


def test_a_study_of_external_models_has_a_line_per_model(tables):
    def renamed(frame):
        theirs = pick(frame, ("beta-vae",), beta=4)
        mine = pick(frame, ("vae",)).assign(family="mine")
        return pd.concat([mine, theirs.assign(family="theirs")]).assign(beta=0.0)

    attacks = renamed(tables["attacks"])
    text = make("headline", Data(attacks=attacks, models=renamed(tables["models"])))
    for family, rows in attacks.groupby("family"):
        assert f"  {family}: {formatting.short(rows['objective'].mean())} [" in text
    assert "× β=1" not in text and "in image space against" not in text
    assert "Brackets are 95 % intervals" in text


@pytest.mark.parametrize(("factor", "words"), [(1.0, "stays (× 1.00)"), (0.5, "falls (× 0.500)")])
def test_the_answer_says_how_the_divergence_before_an_attack_differs(tables, factor, words):
    models = tables["models"].assign(pair_divergence=7.0)
    models.loc[models["beta"] > 1, "pair_divergence"] *= factor
    text = make("headline", Data(attacks=tables["attacks"], models=models))
    assert f"Δ₀ {words}" in " ".join(text.split("\n\n")[0].split())


def test_change_is_the_paired_ratio(tables):
    frame = tables["attacks"]
    found = headlines.excess(frame, "beta-tcvae", 4.0, 200)
    key = ["d_z", "seed", "lam", "pair"]
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
def arguments(tables, attack_files, roll_files, model_files, tmp_path):
    """name → command line, and where it writes."""
    files_of = model_files | {"swissroll": roll_files}
    arrays = {name: [(cell, path, "") for cell, path in files] for name, files in files_of.items()}
    arrays["montage"] = attack_files

    def build(name, folder="a"):
        outs = [tmp_path / folder / f"{name}{suffix}" for suffix in FIGURES[name].suffixes]
        files = arrays.get(name, [])
        spec = FigureSpec(plot=OPTIONS, cells=tuple(cell for cell, *_ in files), things=THINGS).to_json()
        read = []
        for table in FIGURES[name].tables:
            path = tmp_path / f"{table}.parquet"
            if not path.exists():
                write_table(path, tables[table][tables[table]["dataset"] == "digits"])
            read += [f"--{table}", str(path)]
        measures = [measure for _, _, measure in files if measure]
        read += ["--arrays", *(path for _, path, _ in files), "--measures", *measures]
        return [name, "--spec", spec, *read, "--out", *map(str, outs)], outs

    return build


STARTS = {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<?xml", ".csv": b"", ".md": b"**", ".txt": b""}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_same_input_same_bytes(name, arguments):
    argv, outs = arguments(name)
    plot.main(argv)
    again, others = arguments(name, "b")
    kept = [path for path in others if path.suffix != ".png"]  # slow; as good as the PDF
    plot.main([*again[: again.index("--out") + 1], *map(str, kept)])
    for out in outs:
        content = out.read_bytes()
        assert content.startswith(STARTS[out.suffix]) and content
        assert b"CreationDate" not in content and b"Software" not in content
    for other in kept:
        assert other.read_bytes() == other.parent.parent.joinpath("a", other.name).read_bytes()


def test_wrong_input_is_one_line(arguments, tmp_path):
    argv, _ = arguments("elbo")
    with pytest.raises(DataError, match="--images is missing"):
        plot.main([*argv[:3], *argv[5:]])
    with pytest.raises(DataError, match="nowhere: no such file"):
        plot.main([*argv[:4], "nowhere", *argv[5:]])
    with pytest.raises(DataError, match=r"written as \.pdf or \.png or \.svg or \.csv"):
        plot.main([*argv, "x.jpg"])
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
    trials |= {"lam": np.repeat(LAMBDAS, PAIRS), "pair": np.tile(np.arange(PAIRS), 4)}
    checks = {"noise_divergence": np.full((4, PAIRS), noise), "ball_divergence": np.full((1, PAIRS), 1e9)}
    expected = verdict(pd.DataFrame(trials), checks | {"ball_norm": np.ones((1, PAIRS))})
    assert row["masked"] == expected["masked"] and expected["ball_wins"] == 0
    assert row["masked"].startswith(reason) and bool(row["masked"]) == bool(reason)


@pytest.mark.parametrize("name", ["adversarial_loss", "precision", "elbo"])
def test_models_that_are_not_correct_are_named_on_the_figure_and_in_its_caption(name, data):
    plain, marked = make(name, data[name]), make(name, replace(data[name], caveats={"digits": CAVEAT}))
    assert marked.get_supxlabel() == f"{plain.get_supxlabel()}\ndigits, {CAVEAT}".strip()
    assert CAVEAT not in notes(plain)
    elsewhere = make(name, replace(data[name], caveats={"a data set that the figure does not show": CAVEAT}))
    assert CAVEAT not in notes(elsewhere)
    (text, shared, parts), marks = plain.caption.paragraphs(), marked.caption.paragraphs()
    assert marks == (text, [*shared, f"digits, {CAVEAT}."], parts)


def test_a_caption_says_once_what_holds_for_all_panels():
    caption = Caption(title="Loss", text="What\nit is, z* of x_t and d_z.")
    caption.say("a", "n = 3.\nOnly a.")
    caption.say("b", "n = 3.")
    caption.say("c", "n = 3.\nOnly c, with pooled_z.")
    assert caption.plain() == (
        "Loss. What it is, z* of x_t and d_z.\n\nn = 3.\n\na: Only a.\n\nc: Only c, with pooled_z.\n"
    )
    assert caption.markdown() == (
        "**Loss.** What it is, z\\* of x<sub>t</sub> and d<sub>z</sub>.\n\nn = 3.\n\n- a: Only a.\n"
        "- c: Only c, with pooled_z.\n"
    )
    assert [power_of_two(value) for value in (2.0**-20, 1, 8, 3)] == ["2⁻²⁰", "2⁰", "2³", "3"]


def test_training_shows_both_elbos_of_every_model(data):
    figure = make("training", data["training"])
    held_out = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    training = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert len(held_out) == len(training) == 3
    assert list(held_out[0].get_ydata()) == list(-106 + np.arange(30.0))
    assert list(training[0].get_ydata()) == list(-105 + np.arange(30.0))


def test_pictures_of_models_stand_where_the_rows_say(data):
    figure = make("reconstructions", data["reconstructions"])
    arrays = data["reconstructions"].arrays[1].arrays
    mosaic = figure.axes[1].images[0].get_array()
    side = mosaic.shape[0] // 6  # three rows of originals, three of reconstructions
    gap = (side - 66) // 2 + 1

    def shown(row, column):
        corner = row * side + gap, column * side + gap
        return mosaic[corner[0] + 4 : corner[0] + 64 : 8, corner[1] + 4 : corner[1] + 64 : 8, 0]

    assert np.array_equal(shown(0, 1), arrays["x"][1, 0])
    assert np.array_equal(shown(1, 1), (arrays["reconstruction"][1, 0] * 255).round())
    labels = [text.get_text() for text in make("traversals", data["traversals"]).axes[0].get_yticklabels()]
    assert labels == [f"$z_{{{d}}}$" for d in (5, 4, 3, 2, 1, 0)]


def test_of_ticks_whose_texts_would_touch_the_right_one_has_its_text():
    _, (ax,) = style.panels([{"dataset": "a"}], OPTIONS)
    betas = [1, 1.000001, 2, 4]
    ax.plot(betas, betas)
    scales.beta_axes({ax: betas})
    assert list(ax.get_xticks()) == betas
    assert [text.get_text() for text in ax.get_xticklabels()] == ["", "1.000001", "2", "4"]
