"""The table of claims: each verdict on tables in which the claim is true, false, or open."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import run_stage

import vaepipe.stages.claims as stage
from vaepipe.analysis.formatting import short
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.claims import (
    COLUMNS,
    FAILS,
    HOLDS,
    UNDECIDED,
    UNTESTABLE,
    Evidence,
    above,
    attacks,
    below,
    claims,
    judge,
    latents,
    part2,
)
from vaepipe.figures.registry import FIGURES
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import write_h5
from vaepipe.storage.tables import write_table

PAIRS, LAMBDAS, IMAGES = 12, (0.5, 1.0, 4.0), 40


def stacked(parts):
    """One table of parts, each of columns; a single value is that of all rows of its part."""
    lengths = [max(map(np.size, part.values())) for part in parts]
    columns = {
        name: np.concatenate([np.broadcast_to(part[name], n) for part, n in zip(parts, lengths)])
        for name in parts[0]
    }
    return pd.DataFrame(columns)


def study(
    *,
    loss=1.0,
    nll=1.0,
    elbo=-1.0,
    tc_elbo=2.0,
    overlap=2.0,
    width=1.0,
    seatbelt=2.0,
    area=0.0,
    noise=0.02,
    seeds=(0, 1, 2),
):
    """Tables whose effects of log₂ β are known; the data are ``sprites``, with families vae, ae, beta-vae,
    beta-tcvae, seatbelt.

    ``loss``, ``overlap``: powers of β; ``nll``, ``elbo``: nats; ``tc_elbo``: nats more for β-TCVAEs;
        ``seatbelt``: factor of its
    loss, and nats of its ELBO; ``area``: how much further from the target attacks leave the Seatbelt-VAE.
    """
    rng = np.random.default_rng(0)
    pair_effect, image_effect = rng.normal(0, 0.3, PAIRS), rng.normal(0, 5, IMAGES)
    models, images, trials = [], [], []
    for family in ("ae", "vae", "beta-vae", "beta-tcvae", "seatbelt"):
        for beta in {"ae": [0.0], "vae": [1.0], "seatbelt": [1.0, 2.0, 4.0]}.get(family, [2.0, 4.0]):
            for seed in seeds:
                cell = {"dataset": "sprites", "family": family, "beta": beta, "d_z": 4, "seed": seed}
                cell["snapshot"] = 0
                steps, last = (np.log2(beta) if beta else 0.0), family == "seatbelt"
                quality = (
                    elbo * steps
                    + (tc_elbo if family == "beta-tcvae" else 0)
                    + (tc_elbo + seatbelt if last else 0)
                )
                its = -80 + quality + image_effect + rng.normal(0, noise * 5, IMAGES)
                sigma = np.abs(
                    width * (2 if family == "beta-vae" else 1.4) * (1 + rng.normal(0, noise, IMAGES))
                )
                rows = {
                    "image": np.arange(IMAGES),
                    "elbo": its,
                    "log_likelihood": its + 9,
                    "sigma_norm": sigma,
                }
                images.append(cell | rows)
                coefficient = 0.01 * max(beta, 1) ** overlap * np.exp(rng.normal(0, noise))
                row = {"overlap": coefficient, "overlap_se": 0.01 * coefficient, "sigma_norm": sigma.mean()}
                apart = 50 * max(beta, 1) ** loss * np.exp(rng.normal(0, noise))
                row |= {"pair_divergence": apart, "pair_divergence_median": 3.0}
                row |= {"squared_precision": 0.9 * apart}
                models.append(cell | row | {"mig": rng.random()})
                for weight in LAMBDAS:
                    reach = 100 * max(beta, 1) ** loss * (seatbelt if last else 1) * np.exp(pair_effect)
                    objective = reach * np.exp(rng.normal(0, noise, PAIRS))
                    distance = (
                        1.5
                        + 0.1 * pair_effect
                        + (area if last else 0)
                        - 0.2 * (family == "ae")
                        + rng.normal(0, noise, PAIRS)
                    )
                    trial = {
                        "loss": "latent-kl",
                        "lam": weight,
                        "pair": np.arange(PAIRS),
                        "objective": objective,
                    }
                    trial |= {"norm": 2.0 / weight, "input_distance": 5.0, "adversarial_distance": distance}
                    trial |= {
                        "target_distance": 1.0,
                        "original_distance": 4.0,
                        "target_nll": 50 + nll * steps * (1 + last),
                    }
                    trials.append(cell | trial)
    return Evidence(pd.DataFrame(models), stacked(images), stacked(trials), resamples=200)


def only(findings):
    (found,) = findings
    return found


def test_thresholds():
    inside, over, under, unknown = (
        Interval(1, 0, 2),
        Interval(3, 2, 4),
        Interval(-1, -2, 0.5),
        Interval(1, np.nan, np.nan),
    )
    assert [above(i, 1) for i in (inside, over, under, unknown)] == [UNDECIDED, HOLDS, FAILS, UNDECIDED]
    assert [below(i, 1) for i in (inside, over, under, unknown)] == [UNDECIDED, FAILS, HOLDS, UNDECIDED]


@pytest.mark.parametrize(("power", "verdict"), [(1.0, HOLDS), (-1.0, FAILS), (0.0, UNDECIDED)])
def test_beta_raises_the_loss(power, verdict):
    e = study(loss=power)
    found = only(attacks.beta_raises(e, "latent-kl"))
    assert found.verdict == verdict
    # β = 2 and 4 weigh alike; pairs' effects drop out of the ratio
    assert found.interval.estimate == pytest.approx((2**power + 4**power) / 2, rel=0.02)
    key = ["seed", "lam", "pair"]
    base = e.attacks.query("family == 'vae'").set_index(key)["objective"]
    rows = e.attacks.query("family == 'beta-tcvae'")
    matched = base.loc[pd.MultiIndex.from_frame(rows[key])].to_numpy()
    expected = clustered_interval(
        rows["objective"], [rows["pair"], rows["seed"]], against=matched, compare="ratio", resamples=200
    )
    assert found.interval == pytest.approx(expected)
    assert found.n == "12 pairs × 2 β × 1 d_z × 3 seeds, 3 λ"
    assert list(attacks.beta_raises(e, "output")) == []


def test_the_median_of_ratios_does_not_follow_a_few_large_trials():
    e = study()
    some = e.attacks.query("family == 'beta-tcvae' and pair < 3").index
    e.attacks.loc[some, "objective"] *= 1000
    mean, median = (
        only(attacks.beta_raises(e, "latent-kl", statistic=name)).interval.estimate
        for name in ("mean", "median")
    )
    rows = e.attacks.query("family == 'beta-tcvae'")
    base = e.attacks.query("family == 'vae'")
    both = rows.merge(base, on=["seed", "lam", "pair"])
    assert median == pytest.approx((both["objective_x"] / both["objective_y"]).median(), rel=0.02)
    assert mean > 50 * median


@pytest.mark.parametrize(("power", "verdict"), [(1.0, HOLDS), (-1.0, FAILS), (0.0, UNDECIDED)])
def test_beta_raises_the_divergence_before_an_attack(power, verdict):
    e = study(loss=power)
    early = e.models.assign(snapshot=250, pair_divergence=7.0)
    e.path = pd.concat([early, e.models], ignore_index=True)
    at_end, at_start = sorted(latents.beta_raises_start(e), key=lambda found: found.snapshot)
    assert at_end.verdict == verdict and at_start.interval.estimate == pytest.approx(1)
    assert at_end.interval.estimate == pytest.approx(8 ** (power / 2), rel=0.1)
    assert at_start.snapshot == 250 and "90 % and 90 % of Δ₀" in at_end.note


def test_the_loss_is_judged_at_each_snapshot_that_was_attacked():
    e, early = study(loss=-1.0), study(loss=1.0)
    e.snapshot_attacks = {250: early.attacks}
    e.path = pd.concat([early.models.assign(snapshot=250), e.models.assign(snapshot=0)])
    at_end, at_start = attacks.beta_raises(e, "latent-kl")
    assert (at_end.snapshot, at_end.verdict) == (0, FAILS)
    assert (at_start.snapshot, at_start.verdict) == (250, HOLDS)
    assert at_start.interval == only(attacks.beta_raises(early, "latent-kl")).interval
    both = latents.starts(early.models, "beta-tcvae")
    ratio = both["pair_divergence"].mean() / both["pair_divergence_1"].mean()
    assert f"Δ₀ × {short(ratio)}, precision is 90 % and 90 % of Δ₀" in at_start.note
    table = judge(e)
    rows = table[table["claim"].str.contains("raises the adversarial loss") & (table["loss"] == "latent-kl")]
    assert list(rows["snapshot"]) == [0, 250] and rows["statistic"].iloc[1].endswith("after 250 steps")
    assert f"{rows['dataset'].iloc[0]} after 250 steps" in stage.text(table)


def test_rows_say_where_the_output_space_disagrees():
    assert "output space agrees" in only(attacks.beta_raises(study(), "latent-kl")).note
    assert "output space disagrees" in only(attacks.beta_raises(study(loss=-1.0), "latent-kl")).note
    assert "output space disagrees" in only(attacks.beta_raises(study(nll=-1.0), "latent-kl")).note
    assert "output space says: undecided" in only(attacks.beta_raises(study(nll=0.0), "latent-kl")).note


def test_a_single_beta_that_differs_is_named():
    e = study()
    rows = e.attacks.query("family == 'beta-tcvae' and beta == 2").index
    e.attacks.loc[rows, "objective"] *= 0.1
    assert "β = 2: does not hold" in only(attacks.beta_raises(e, "latent-kl")).note


def test_negative_losses_are_compared_by_their_difference():
    e = study()
    e.attacks["objective"] -= 1000
    found = only(attacks.beta_raises(e, "latent-kl"))
    assert found.statistic.startswith("difference of mean Δ") and found.verdict == HOLDS


def test_vae_against_ae():
    found = only(attacks.vae_over_ae(study()))
    assert (found.verdict, found.n) == (HOLDS, "12 pairs × 1 d_z × 3 seeds")
    e = study()
    assert list(attacks.vae_over_ae(Evidence(e.models, e.images, e.attacks.query("family != 'ae'")))) == []


def test_correlation_with_disentanglement():
    e = study(noise=0.0, seeds=range(8))
    areas = 1 + 0.2 * e.models["mig"]
    cells = e.models.assign(shift=areas)[["family", "beta", "seed", "shift"]]
    moved = e.attacks.merge(cells, on=["family", "beta", "seed"])
    moved["adversarial_distance"] = 1 + moved["shift"]
    assert only(attacks.no_correlation(Evidence(e.models, e.images, moved))).verdict == FAILS
    rng = np.random.default_rng(2)
    moved["adversarial_distance"] = (
        1 + rng.random(len(e.models))[moved.groupby(["family", "beta", "seed"]).ngroup()]
    )
    assert only(attacks.no_correlation(Evidence(e.models, e.images, moved))).verdict == HOLDS
    few = {"seed": [0]}
    small = only(
        attacks.no_correlation(
            Evidence(e.models.query("seed == 0"), e.images, moved[moved["seed"].isin(few["seed"])])
        )
    )
    assert small.verdict == UNDECIDED
    unknown = e.models.assign(mig=np.nan)
    assert list(attacks.no_correlation(Evidence(unknown, e.images, moved))) == []


@pytest.mark.parametrize(("power", "verdict"), [(1.0, HOLDS), (-1.0, FAILS), (0.0, UNDECIDED)])
def test_overlap(power, verdict):
    found = only(latents.overlap_grows(study(overlap=power), "beta-vae"))
    assert found.verdict == verdict and found.interval.estimate == pytest.approx(4**power, rel=0.1)


def test_overlap_with_one_seed_has_the_error_of_its_estimate():
    found = only(latents.overlap_grows(study(overlap=1.0, seeds=(0,)), "beta-tcvae"))
    factor = np.exp(1.96 * np.sqrt(2) * 0.01)
    assert found.interval.high / found.interval.estimate == pytest.approx(factor)
    assert "one training seed" in found.note and found.verdict == HOLDS


def test_quality():
    e = study()
    falls = only(latents.elbo_falls(e, "beta-vae"))
    assert falls.verdict == HOLDS and falls.interval.estimate == pytest.approx(-2, abs=0.2)
    assert only(latents.elbo_falls(study(elbo=1.0), "beta-vae")).verdict == FAILS
    for column in ("elbo", "log_likelihood"):
        less = only(latents.degrades_less(e, column, ("beta-tcvae", "beta-vae")))
        assert less.verdict == HOLDS and less.interval.estimate == pytest.approx(2, abs=0.2)
        assert (
            only(latents.degrades_less(study(tc_elbo=-2.0), column, ("beta-tcvae", "beta-vae"))).verdict
            == FAILS
        )
    assert only(
        latents.degrades_less(e, "elbo", ("seatbelt", "beta-tcvae"))
    ).interval.estimate == pytest.approx(2, abs=0.2)


def test_sigma():
    e = study()  # ‖σ‖₂ is 2 = √d_z for the β-VAE, 1.4 for the β-TCVAE
    assert only(latents.sigma_saturates(e)).verdict == HOLDS
    assert only(latents.sigma_exceeds(e)).verdict == FAILS
    assert only(latents.sigma_exceeds(e)).interval.estimate == pytest.approx(0.7, rel=0.02)
    assert only(latents.sigma_saturates(study(width=0.5))).verdict == FAILS


def roll(keep_height, keep_spiral, n=400):
    x = np.random.default_rng(3).normal(0, 5, (n, 3))
    mean = x.mean(0)
    return {"x": x, "reconstruction": mean + (x - mean) * [keep_spiral, keep_height, keep_spiral]}


@pytest.mark.parametrize(
    ("height", "spiral", "collapses", "stays"),
    [(0.0, 0.95, HOLDS, FAILS), (0.9, 0.95, FAILS, HOLDS), (0.95, 0.0, HOLDS, FAILS)],
)
def test_swiss_roll(height, spiral, collapses, stays):
    e = study()
    e.roll = {
        ("beta-vae", 8.0): roll(1, 1),
        ("beta-vae", 128.0): roll(height, spiral),
        ("beta-tcvae", 128.0): roll(height, spiral),
    }
    found = only(latents.roll_kept(e, "beta-vae", kept=False))
    assert found.verdict == collapses and "β = 128" in found.statistic
    lost = 1 - min(height, spiral)
    assert found.interval.estimate == pytest.approx(1 - lost**2)  # share of the variance
    assert only(latents.roll_kept(e, "beta-tcvae", kept=True)).verdict == stays


def test_seatbelt_against_tcvae():
    e = study()
    loss, nll = only(part2.higher_loss(e)), only(part2.higher_nll(e))
    assert (loss.verdict, nll.verdict) == (HOLDS, HOLDS)
    assert loss.interval.estimate == pytest.approx(2, rel=0.02)
    assert nll.interval.estimate == pytest.approx(1.5)  # one or two steps of β, a nat each
    assert "agrees" in nll.note and "number" in loss.note
    assert only(part2.higher_loss(study(seatbelt=0.5))).verdict == FAILS
    assert "says: does not hold" in only(part2.higher_nll(study(seatbelt=0.5))).note


@pytest.mark.parametrize(("area", "verdict"), [(0.3, HOLDS), (-0.3, FAILS), (0.0, UNDECIDED)])
def test_seatbelt_at_equal_quality(area, verdict):
    """ELBOs: β-TCVAEs 0, +1 − …; the Seatbelt-VAEs' must lie between two of them to have an equal."""
    e = study(area=area, seatbelt=0.5, tc_elbo=2.0, elbo=-1.0)
    found = only(part2.robust_at_equal_quality(e))
    assert found.verdict == verdict
    assert found.note.startswith(
        "3 of 6 Seatbelt-VAEs"
    )  # β = 4 has an ELBO of 0.5, between 0 and 1; β = 2 is above them all
    far = study(area=area, seatbelt=50.0)
    assert list(part2.robust_at_equal_quality(far)) == []


def test_the_table_is_whole_and_in_order():
    table = judge(study())
    assert list(table.columns) == COLUMNS
    order = [claim.text for claim in claims()]
    assert list(table["claim"].drop_duplicates()) == order
    assert table["part"].is_monotonic_increasing
    assert set(table["verdict"]) <= {HOLDS, FAILS, UNDECIDED, UNTESTABLE}
    assert set(table["figure"]) <= set(FIGURES)
    untestable = table[table["verdict"] == UNTESTABLE]
    assert untestable["note"].str.startswith("needs ").all() and untestable["estimate"].isna().all()
    roll_rows = table[table["claim"].str.startswith("Swiss roll")]
    assert (roll_rows["verdict"] == UNTESTABLE).all() and len(roll_rows) == 2


@pytest.mark.parametrize("what", ["nothing", "one seed and pair", "NaN"])
def test_poor_tables_are_judged_without_a_crash(what):
    e = study()
    if what == "nothing":
        poor = Evidence(e.models.iloc[:0], e.images.iloc[:0], e.attacks.iloc[:0])
    elif what == "NaN":
        poor = Evidence(
            e.models.assign(overlap=np.nan, mig=np.nan),
            e.images.assign(elbo=np.nan),
            e.attacks.assign(objective=np.nan),
        )
    else:
        attacks_ = e.attacks.query("seed == 0 and pair == 0")
        poor = Evidence(e.models.query("seed == 0"), e.images.query("seed == 0"), attacks_, resamples=100)
    table = judge(poor)
    assert len(table) >= len(claims())
    raised = table[table["claim"].str.contains("latent KL")].iloc[0]
    assert raised["verdict"] == (UNTESTABLE if what == "nothing" else UNDECIDED)


# --- the stage --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claims")
    e = study(loss=-1.0)
    files = []
    for name in ("models", "images", "attacks"):
        write_table(folder / f"{name}.parquet", getattr(e, name))
        files += [f"--{name}", folder / f"{name}.parquet"]
    arrays = {
        "x": roll(1, 1)["x"],
        "sample": np.zeros((400, 2)),
        "reconstruction": roll(0.1, 0.9)["reconstruction"],
    }
    path = folder / "e.h5"
    write_h5(path, "evaluation", {name: (array, name) for name, array in arrays.items()}, {})
    cell = {"dataset": "swissroll", "family": "beta-vae", "beta": 128.0, "d_z": 2, "seed": 0, "snapshot": 0}
    spec = json.dumps({"plot": {"resamples": 100}, "cells": [cell], "things": {"swissroll": "points"}})
    return ["--spec", spec, *files, "--arrays", path], folder


@pytest.mark.slow
def test_stage_writes_three_tables_that_agree(command):
    arguments, folder = command
    outs = [folder / f"claims.{end}" for end in ("csv", "md", "txt")]
    done = run_stage("claims", *arguments, "--out", *outs)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(outs[0])
    assert list(table.columns) == COLUMNS
    markdown, text = (out.read_text(encoding="utf-8") for out in outs[1:])
    rows = [line for line in markdown.splitlines() if line.startswith("| ") and "**" in line]
    assert len(rows) == len(table)
    for row, verdict in zip(rows, table["verdict"]):
        assert f"**{verdict}**" in row
    (roll_row,) = [row for row in rows if "collapses towards a curve" in row]
    assert "**holds**" in roll_row and "0.190" in roll_row
    assert (
        "does not hold" in text
        and "output space disagrees" in text
        and "not testable with this config: " in text
    )
    assert max(map(len, text.splitlines())) <= 140


@pytest.mark.slow
def test_stage_says_what_is_wrong_in_a_line(command):
    arguments, folder = command
    (folder / "bad.parquet").write_bytes(b"damaged")
    wrong = [folder / "bad.parquet" if str(a).endswith("attacks.parquet") else a for a in arguments]
    done = run_stage("claims", *wrong, "--out", "c.csv")
    assert done.returncode != 0 and "not a readable table" in done.stderr and "Traceback" not in done.stderr
    with pytest.raises(DataError, match=r"written as \.csv, \.md or \.txt"):
        stage.main([*map(str, arguments), "--out", "c.html"])
