"""Figures of robustness: numbers read back from what was drawn, against loops; what cannot be estimated is
said."""

import functools

import numpy as np
import pandas as pd
import pytest
from synthetic import LAMBDA_GRID, in_balls, make_tables

from vaepipe.analysis import correlation, formatting, robustness
from vaepipe.analysis import trials as pairs
from vaepipe.analysis.families import label
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.figures import frontier, published
from vaepipe.figures.data import Data
from vaepipe.figures.registry import FIGURES
from vaepipe.study.settings import Plot

pytest_plugins = ["synthetic"]

OPTIONS = Plot(beta=4, d_z=8, pairs=3, resamples=100)
TABLES = [
    name
    for name, entry in FIGURES.items()
    if entry.tables and ".png" in entry.suffixes and "dimensions" not in entry.tables and not entry.snapshots
]


@pytest.fixture(scope="module")
def data():
    return make_tables()


def make(name, data):
    return FIGURES[name].load()(data, OPTIONS)


@pytest.fixture(scope="module")
def drawn(data):
    """Function of a figure's name: the figure of the whole tables, drawn once."""
    return functools.cache(lambda name: make(name, data))


def notes(page):
    return page.caption.plain()


def part(page, gid, panel=0):
    return page.axes[panel].findobj(lambda artist: artist.get_gid() == gid)[0]


def test_areas_are_those_of_the_robustness_table(data):
    found = pairs.areas(data.attacks)
    assert len(found) == len(data.attacks) / len(LAMBDA_GRID)
    for row in found.iloc[::17].itertuples():
        its = data.attacks.query(
            "loss == @row.loss and family == @row.family and beta == @row.beta "
            "and d_z == @row.d_z and seed == @row.seed "
            "and pair == @row.pair"
        )
        v = (its["adversarial_distance"] - 1) / 3
        assert row.auddc == pytest.approx(robustness.auddc(its["norm"] / 5, v))
        fooled = its["norm"][v < 0.5]
        assert row.fooling_norm == (min(fooled) if len(fooled) else np.inf)


def test_mean_curve_encloses_the_area(data):
    """The area of the mean curve is the mean of the areas, but for the grid's steps."""
    its = data.attacks.query("family == 'beta-vae' and beta == 4 and loss == 'output'")
    curve = pairs.mean_curve(pairs.relative(its), np.linspace(0, 1, 2001)).groupby("h")["v"].mean()
    assert np.trapezoid(curve, curve.index) == pytest.approx(pairs.areas(its)["auddc"].mean(), abs=1e-3)


def test_pairs_that_cannot_be_fooled(data):
    """O ≤ T: the model rebuilds x as near to the target as the target itself."""
    flat = data.attacks.assign(original_distance=0.5)
    found = pairs.areas(flat)
    assert found["auddc"].isna().all() and found["fooling_norm"].isna().all()
    for name in ("distortion", "success", "frontier", "disentanglement"):
        assert make(name, Data(data.models, data.images, flat))
    assert "curves left out: O ≤ T" in notes(make("distortion", Data(attacks=flat)))


def test_attacks_without_a_target_have_no_distance_to_it(data):
    both = Data(data.models, data.images, data.attacks.replace({"loss": {"output": "max-damage"}}))
    for name in ("distortion", "success", "frontier", "disentanglement", "target_nll"):
        assert [ax.get_title().split(", β")[0] for ax in make(name, both).axes] == [
            "dsprites, latent KL attack"
        ]
    assert len(make("adversarial_loss", both).axes) == 2


def test_distortion_curves_and_their_area(data, drawn):
    page = drawn("distortion")
    rows = pd.DataFrame(page.rows)
    area = rows[
        (rows["quantity"] == "auddc") & (rows["family"] == "seatbelt") & (rows["loss"] == "output")
    ].iloc[0]
    its = pairs.areas(data.attacks.query("family == 'seatbelt' and beta == 4 and loss == 'output'"))
    expected = clustered_interval(its["auddc"], [its["pair"], its["seed"]], resamples=100)
    assert (area["estimate"], area["low"], area["high"]) == pytest.approx(expected)
    assert f"Seatbelt {formatting.short(area['estimate'])} [" in notes(page)
    assert "4 pairs" in notes(page) and "λ takes 3 values from 2⁻² to 2³" in notes(page)
    x, y = part(page, "vae").get_data()
    assert y[np.isfinite(y)].max() <= 1 and x[-1] == 1


def test_success_is_the_share_of_fooled_pairs(data, drawn):
    page = drawn("success")
    its = pairs.areas(data.attacks.query("family == 'beta-tcvae' and beta == 4 and loss == 'latent-kl'"))[
        "fooling_norm"
    ]
    norms, shares = part(page, "beta-tcvae").get_data()
    for norm, share in zip(norms[::7], shares[::7]):
        assert share == pytest.approx(sum(its <= norm) / len(its))
    assert shares[0] == 0 and (np.diff(shares) >= 0).all()


def test_attacks_of_bounded_size_are_ratios_of_means_against_the_bound(data, drawn):
    page = drawn("ball")
    titles = [f"{loss} attack, {norm} ball" for norm in ("L₂", "L∞") for loss in ("latent KL", "output")]
    assert [ax.get_title() for ax in page.axes] == titles
    its = data.ball.query("loss == 'latent-kl' and ball == 'linf' and family == 'seatbelt' and beta == 4")
    radii, shares = part(page, "seatbelt", 2).get_data()
    assert list(radii) == [0, 0.125, 1, 4] and shares[0] == 1
    for radius, share in zip(radii[1:], shares[1:]):
        rows = its[its["radius"] == radius]
        assert share == pytest.approx(sum(rows["divergence"]) / sum(rows["initial_divergence"]))
        shown = {"loss": "latent-kl", "ball": "linf", "family": "seatbelt", "radius": radius}
        (row,) = [r for r in page.rows if shown.items() <= r.items()]
        options = {"against": rows["initial_divergence"], "compare": "ratio", "resamples": 100}
        expected = clustered_interval(rows["divergence"], [rows["pair"], rows["seed"]], **options)
        assert (row["estimate"], row["low"], row["high"]) == pytest.approx(expected) and not row["flagged"]
    damage = Data(
        ball=data.ball.assign(loss="max-damage", divergence=-data.ball["divergence"], initial_divergence=0.0)
    )
    radii, means = part(make("ball", damage), "vae").get_data()
    rows = damage.ball.query("ball == 'l2' and family == 'vae' and radius == 1")
    assert means[0] == 0 and means[list(radii).index(1)] == pytest.approx(rows["divergence"].mean())


def flag(attacks, family, beta, loss="latent-kl", seeds=(0,)):
    """The attacks with the models of some seeds flagged, as a table read from a file has it: NaN where
    nothing is said."""
    where = (
        (attacks["family"] == family)
        & (attacks["beta"] == beta)
        & (attacks["loss"] == loss)
        & attacks["seed"].isin(seeds)
    )
    return attacks.assign(masked=np.where(where, "noise does 95 % as well", None))


def daggers(page, panel=0):
    """gid → place of the daggers of a panel."""
    signs = page.axes[panel].findobj(lambda artist: (artist.get_gid() or "").startswith("flag "))
    assert all(sign.get_text() == "†" and sign.get_visible() for sign in signs)
    return {sign.get_gid(): sign.xy for sign in signs}


MARKED = [
    "adversarial_loss",
    "relative_loss",
    "target_nll",
    "distortion",
    "success",
    "frontier",
    "part2",
    "ball",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKED)
def test_attacks_that_their_checks_flag_have_a_dagger_where_they_are_drawn_and_a_footnote(data, drawn, name):
    family = "seatbelt" if name == "part2" else "beta-vae"
    attacks = flag(data.attacks, family, 4.0)
    page = make(name, Data(data.models, data.images, attacks, in_balls(attacks)))
    ((gid, (x, y)),) = daggers(page).items()
    assert gid == f"flag {family} 4"
    line = part(page, f"{family} 4" if name == "frontier" else family).get_data()
    assert (x, y) == pytest.approx(tuple(float(axis[-1]) for axis in line))
    clean = [i for i, ax in enumerate(page.axes) if "output attack" in ax.get_title()]
    assert clean and not any(daggers(page, i) for i in clean)
    named = "† A check finds the attack too weak, so these models must not be called robust: "
    named += f"{label(family)} β = 4 (2 of 4)."
    lines = [line for line in notes(page).splitlines() if "†" in line]
    assert lines and all(named in line and "output" not in line.partition(":")[0] for line in lines)
    plain = drawn(name)
    assert not any(daggers(plain, i) for i in range(len(plain.axes)))
    page.draw_without_rendering()


def test_flagged_models_in_the_scatter_and_in_the_heat_map(data):
    attacks = flag(data.attacks, "vae", 1.0, "output", seeds=(0, 1)).query(
        "d_z == 4 or family != 'vae' or loss != 'output'"
    )
    page = make("disentanglement", Data(data.models, data.images, attacks))
    assert daggers(page) == {} and "†" in notes(page)
    marked = page.axes[1].findobj(lambda artist: artist.get_gid() == "flag vae 1")
    rows = [r for r in page.rows if r["flagged"]]
    assert sorted(m.xy for m in marked) == sorted((r["mig"], r["auddc"]) for r in rows) and len(rows) == 2
    page = make("heatmap", Data(attacks=attacks))
    signed = [(ax, text) for ax in page.axes for text in ax.texts if "†" in text.get_text()]
    # β = 1 is one model, in both families' panels; d_z = 4 is the lower row
    assert {(list(page.axes).index(ax), text.get_position()) for ax, text in signed} == {
        (3 + column, (0, 1)) for column in range(2)
    }
    assert "† A check finds" in notes(page)


def test_a_model_without_beta_is_marked_on_its_line(data):
    other = data.attacks.query("family == 'vae'").assign(
        family="mine", beta=0.0, masked="random restarts do better"
    )
    page = make("target_nll", Data(attacks=pd.concat([data.attacks, other], ignore_index=True)))
    assert daggers(page)["flag mine 0"] == pytest.approx(
        (4, other.query("loss == 'latent-kl'")["target_nll"].mean())
    )


def test_frontier(data, drawn):
    page = drawn("frontier")
    rows = pd.DataFrame(page.rows).query("loss == 'output'")
    for row in rows.itertuples():
        better = [
            o
            for o in rows.itertuples()
            if o.elbo_estimate > row.elbo_estimate and o.auddc_estimate > row.auddc_estimate
        ]
        assert row.undominated == (not better)
        assert part(page, f"{row.family} {row.beta:g}", 1).get_xdata()[0] == row.elbo_estimate
    assert 0 < rows["undominated"].sum() < len(rows)
    images = data.images.query("family == 'seatbelt' and beta == 4")
    assert rows.query("family == 'seatbelt' and beta == 4")["elbo_estimate"].item() == pytest.approx(
        images["elbo"].mean()
    )
    point = {"a": ((1, 0, 0), (1, 0, 0)), "b": ((1, 0, 0), (1, 0, 0))}
    from vaepipe.analysis.intervals import Interval

    equal = {key: tuple(Interval(*i) for i in value) for key, value in point.items()}
    assert frontier.undominated(equal) == {"a", "b"}


def test_relative_loss_is_a_ratio_of_means(data, drawn):
    page = drawn("relative_loss")
    rows = data.attacks.query("family == 'beta-vae' and beta == 4 and loss == 'latent-kl'")
    assert part(page, "beta-vae").get_ydata()[-1] == pytest.approx(rows["objective"].mean() / 50)
    negative = data.attacks.assign(initial_divergence=np.where(data.attacks["loss"] == "output", -3.0, 50.0))
    assert [ax.get_title() for ax in make("relative_loss", Data(attacks=negative)).axes] == [
        "dsprites, latent KL attack"
    ]


def test_heat_map_cells(data, drawn):
    page = drawn("heatmap")
    assert [ax.get_title() for ax in page.axes[:3]] == ["β-VAE", "β-TCVAE", "Seatbelt"]
    table = page.axes[1].images[0].get_array()
    its = data.attacks.query("loss == 'latent-kl' and d_z == 4")
    mean = its.query("family == 'beta-tcvae' and beta == 2")["objective"].mean()
    start = its.query("family == 'vae'")["objective"].mean()
    assert (table[1, 0], table[1, 1]) == (pytest.approx(start), pytest.approx(mean))
    shown = [text.get_text() for text in page.axes[1].texts]
    assert formatting.short(mean) in shown
    gone = data.attacks.query("not (family == 'beta-tcvae' and beta == 2 and d_z == 4)")
    assert "–" in [text.get_text() for text in make("heatmap", Data(attacks=gone)).axes[1].texts]


def test_rank_correlation():
    """Coverage of Fisher's interval with Fieller's variance, for correlated normals."""
    rng, rho, n, hits = np.random.default_rng(1), 0.6, 20, 0
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's ρ of a bivariate normal
    for _ in range(400):
        x = rng.normal(size=n)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
        _, low, high = correlation.rank_correlation(x, y)
        hits += low <= truth <= high
    assert 0.92 <= hits / 400 <= 0.98
    found = correlation.rank_correlation([1, 2, 3, 4, 5, np.nan], [1, 4, 9, 16, 25, 0])
    assert found.estimate == pytest.approx(1) and 0 < found.low < 1
    assert np.isnan(correlation.rank_correlation(range(4), range(4)).estimate)
    assert np.isnan(correlation.rank_correlation([1] * 9, range(9)).estimate)


def test_disentanglement_says_its_correlation(data, drawn):
    found = correlation.rank_correlation(
        *correlation.robustness_and_disentanglement(data.attacks.query("loss == 'output'"), data.models)[
            ["mig", "auddc"]
        ].T.values
    )
    assert (
        f"Spearman's ρ {found.estimate:.2f}, 95 % [{found.low:.2f}, {found.high:.2f}], n = 32 models"
        in notes(drawn("disentanglement"))
    )
    assert (
        "no attacked data set"
        in notes(make("disentanglement", make_tables(("output",), factors=False))).lower()
    )


def test_collapse_names_odd_models(data, drawn):
    models = data.models.copy()
    models.loc[
        models.query("family == 'beta-vae' and beta == 4 and d_z == 8 and seed == 1").index, "state"
    ] = "collapsed"
    assert "β-VAE β = 4, d_z = 8, seed 1 (collapsed)." in notes(make("collapse", Data(models=models)))
    assert "No model collapsed or exploded." in notes(drawn("collapse"))


def test_part2_compares_two_families(data, drawn):
    page = drawn("part2")
    # loss and likelihood for each of two attacks, and the ELBO
    assert sum(ax.get_gid() != "hole" for ax in page.axes) == 5
    assert {row["family"] for row in page.rows} == {"vae", "beta-tcvae", "seatbelt"}
    one = Data(data.models, data.images.query("family != 'seatbelt'"), data.attacks)
    assert "No Seatbelt-VAE" in notes(make("part2", one))


# --- published values -------------------------------------------------------------------------------


def test_published_values_stand_behind_ours_where_they_match(data, drawn):
    page = drawn("adversarial_loss")
    artist = part(page, "published part 1 beta-tcvae")
    assert list(artist.get_xdata()) == [1, 2, 4] and list(artist.get_ydata()) == [2000, 1e5, 1.1e6]
    assert "±0.05 in log10" in notes(page) and "published (part 1)" in [
        t.get_text() for t in page.legends[0].get_texts()
    ]
    other = Data(attacks=data.attacks.assign(dataset="digits"))
    assert "Grey" not in notes(make("adversarial_loss", other))
    assert published.matching(
        "adversarial_loss", {"dataset": "dsprites", "loss": "output"}, [("beta-tcvae", 4.0)]
    ).empty
    assert published.matching(
        "adversarial_loss", {"dataset": "dsprites", "loss": "latent-kl"}, [("beta-vae", 4.0)]
    ).empty


def test_published_table_is_sound():
    table = published.table()
    assert not table.duplicated(["quantity", "dataset", "family", "loss", "beta", "source"]).any()
    assert set(table["quantity"]) == {"adversarial_loss", "target_nll", "elbo", "likelihood"}
    assert set(table["source"]) == {"part 1", "part 2"} == set(published.STYLES)
    both = table.dropna(subset=["low"])
    assert ((both["low"] < both["value"]) & (both["value"] < both["high"])).all()


# --- tables with less in them -----------------------------------------------------------------------


def spoiled(data, what):
    """The tables with something missing, and words that must be said about it in the figures with bands."""
    parts = {"models": data.models, "images": data.images, "attacks": data.attacks}
    match what:
        case "one seed":
            return {
                k: f[f["seed"] == 0] for k, f in parts.items()
            }, "one training seed: the variation between trainings is not in them"
        case "one pair":
            attacks = data.attacks[data.attacks["pair"] == 0]
            return parts | {"attacks": attacks}, "one pair: the variation between pairs is not in them"
        case "one beta":
            return {k: f[f["beta"] == 1] for k, f in parts.items()}, "Not in this study: β-VAE, β-TCVAE."
        case "one cell":
            pick = {
                k: f[(f["family"] == "vae") & (f["seed"] == 0) & (f["d_z"] == 4)] for k, f in parts.items()
            }
            return pick | {"attacks": pick["attacks"][pick["attacks"]["pair"] == 0]}, "Bands are missing"
        case "missing cells":
            gone = {
                k: f.query("not (family == 'beta-vae' and beta == 4 and seed == 1)") for k, f in parts.items()
            }
            return gone, "No rows of β-VAE β = 4, d_z = 4, seed 1; β-VAE β = 4, d_z = 8, seed 1."
        case "NaN":
            holes = {k: f.copy() for k, f in parts.items()}
            for column in ("objective", "target_nll", "adversarial_distance", "norm"):
                holes["attacks"].loc[holes["attacks"].index[:5], column] = np.nan
            holes["attacks"].loc[
                holes["attacks"].query("family == 'beta-vae' and beta == 2").index, "objective"
            ] = np.nan
            holes["images"].loc[holes["images"].index[:3], ["elbo", "log_likelihood", "sigma_norm"]] = np.nan
            holes["models"].loc[0, ["kl", "mig", "total_correlation"]] = np.nan
            return holes, "without a number"
        case "nothing":
            return {k: f.iloc[:0] for k, f in parts.items()}, ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["one seed", "one pair", "one beta", "one cell", "missing cells", "NaN", "nothing"]
)
def test_figures_of_incomplete_tables(what, data):
    attacks = data.attacks[data.attacks["loss"] == "latent-kl"]
    tables, words = spoiled(Data(data.models, data.images, attacks), what)
    tables["ball"] = in_balls(tables["attacks"])
    pages = {name: make(name, Data(**tables)) for name in TABLES}
    for name, page in pages.items():
        if what == "one cell" and name in (
            "collapse",
            "heatmap",
            "distortion",
        ):  # the layout of the least there can be
            page.draw_without_rendering()
        assert page.rows and (what != "nothing" or "note" in page.rows[0])
    assert words in notes(pages["adversarial_loss"])


def test_rows_hold_what_is_drawn(drawn):
    rows = pd.DataFrame(drawn("adversarial_loss").rows)
    line = part(drawn("adversarial_loss"), "beta-tcvae").get_ydata()
    its = rows[(rows["loss"] == "latent-kl") & (rows["family"] == "beta-tcvae")]
    its = its[its["quantity"] == "objective"]
    assert list(its["estimate"]) == pytest.approx(list(line[1:]))
    assert (its["pooled_low"] < its["estimate"]).all() and (its["rows"] == 48).all()


def test_autoencoders_have_distances_but_no_comparable_loss(data):
    ae = data.attacks.query("family == 'vae' and loss == 'output'").assign(family="ae", beta=0.0)
    with_ae = Data(data.models, data.images, pd.concat([data.attacks, ae], ignore_index=True))
    for name, shown in (
        ("adversarial_loss", False),
        ("relative_loss", False),
        ("distortion", True),
        ("target_nll", True),
    ):
        assert any(row["family"] == "ae" for row in make(name, with_ae).rows) == shown
    assert "AE (no β)" in [t.get_text() for t in make("target_nll", with_ae).legends[0].get_texts()]


def test_objective_before_the_envelope(data):
    own = data.attacks.assign(
        own_objective=data.attacks["objective"] * np.where(data.attacks["pair"] == 0, 1.5, 1)
    )
    page = make("adversarial_loss", Data(attacks=own))
    its = own.query("loss == 'latent-kl' and family == 'seatbelt' and beta == 2")
    assert part(page, "own seatbelt").get_ydata()[1] == pytest.approx(its["own_objective"].mean())
    assert "one of these was better in 25 % of the trials" in notes(page)
