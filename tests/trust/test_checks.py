"""Checks of attacks, the defence and the probe: constraints held, planted faults found, exact posteriors."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_images
from outside_models import Scaled, make_encoder

from vaepipe.analysis import robustness
from vaepipe.analysis.verdict import GRID, INFINITE, judge, verdict
from vaepipe.attacks.loss import find_loss
from vaepipe.figures.registry import FIGURES
from vaepipe.models.distributions import DiagonalNormal, Gaussian
from vaepipe.stages.attack import attack
from vaepipe.stages.collect import attack_rows, purified_rows, robustness_row
from vaepipe.stages.measure import measure
from vaepipe.stages.plot import read
from vaepipe.stages.train import train
from vaepipe.storage.h5 import open_h5, write_h5
from vaepipe.study import jobs
from vaepipe.study.cells import Cell
from vaepipe.study.settings import Checks, Plot
from vaepipe.study.specs import AttackSpec, FigureSpec, MeasureSpec, ModelSpec
from vaepipe.trust import quantities
from vaepipe.trust.attacked_model import AttackedModel
from vaepipe.trust.defence import Defended
from vaepipe.trust.hmc import hmc
from vaepipe.trust.masking import descend, gaussian, resize
from vaepipe.trust.polish import check_polish
from vaepipe.trust.probe import Probe

CPU = torch.device("cpu")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_noise_has_the_norm_it_is_asked_for_inside_the_box():
    x = make_images(6)
    norm = torch.tensor([0.0, 1e-3, 0.3, 1.0, 2.0, 3.0])
    for seed in range(5):
        d = resize(x, gaussian(x, seeded(seed)), norm)
        torch.testing.assert_close(d.flatten(1).norm(dim=1), norm, rtol=1e-4, atol=1e-6)
        assert (x + d).min() >= 0 and (x + d).max() <= 1
    free = torch.full((1, 1, 8, 8), 0.5)
    direction = torch.randn(1, 1, 8, 8, generator=seeded())
    expected = 0.1 * direction / direction.norm()
    torch.testing.assert_close(resize(free, direction, torch.tensor([0.1])), expected, rtol=1e-4, atol=1e-6)
    longest = resize(free, direction, torch.tensor([99.0]))  # a corner of the box
    assert longest.norm() == pytest.approx(4.0, rel=1e-3)


def test_descent_reaches_the_nearest_point_of_ball_and_box():
    goal = torch.tensor([[1.4, 0.5, 0.2]]).view(1, 1, 1, 3)
    x, radius = torch.full((1, 1, 1, 3), 0.5), torch.tensor([0.4])
    d, value = descend(lambda u: (u - goal).square().flatten(1).sum(1), x, torch.zeros_like(x), radius, 200)
    # on the ball of radius 0.4 around x the nearest point to the goal lies on the line to it
    line = goal - x
    torch.testing.assert_close(d, 0.4 * line / line.norm(), atol=2e-3, rtol=0)
    assert value.item() == pytest.approx((line.norm().item() - 0.4) ** 2, abs=1e-3)
    d, _ = descend(
        lambda u: (u - goal).square().flatten(1).sum(1), x, torch.zeros_like(x), torch.tensor([9.0]), 400
    )
    torch.testing.assert_close(x + d, goal.clamp(0, 1), atol=2e-2, rtol=0)
    stuck, value = descend(lambda u: u.flatten(1).sum(1) * math.nan, x, torch.zeros_like(x), radius, 5)
    assert stuck.abs().max() == 0 and value.item() == math.inf


def linear(seed=0, D=2, n=6, sigma=0.4):
    """x = W z + σε with z ~ N(0, I): p(z|x) = N(S Wᵀx/σ², S), S = (I + WᵀW/σ²)⁻¹."""
    weight = torch.randn(n, D, generator=seeded(seed))
    covariance = torch.linalg.inv(torch.eye(D) + weight.T @ weight / sigma**2)

    class Model:
        def posterior(self, x):
            mean = torch.zeros(len(x), D, dtype=x.dtype) + 3 * x.mean()  # far from the truth
            return (DiagonalNormal(mean, torch.full_like(mean, -1.0)),)

        def decode(self, z):
            return Gaussian((z @ weight.T).view(-1, 1, 2, n // 2), sigma)

    return Model(), weight, covariance, sigma


def test_chains_end_in_the_exact_posterior_from_a_wrong_start():
    model, weight, covariance, sigma = linear()
    x = torch.rand(1, 1, 2, 3, generator=seeded(5))
    B = 2000
    chains = Defended(model, steps=80).latents(
        x.expand(B, -1, -1, -1), torch.randn(B, 2, generator=seeded(6)), seed=7
    )
    mean = covariance @ weight.T @ x.flatten() / sigma**2
    z = chains.z
    error = 5 * (covariance.diag() / B).sqrt()
    assert ((z.mean(0) - mean).abs() < error).all()
    torch.testing.assert_close(z.T.cov(), covariance, rtol=0.1, atol=0.1 * covariance.diag().max().item())
    assert 0.8 < chains.acceptance.mean() <= 1 and chains.step_size.std() > 0


def test_step_sizes_come_to_the_acceptance_that_is_asked_for():
    def log_density(z):
        return -0.5 * (z * torch.tensor([1.0, 10.0])).square().sum(1)

    for target in (0.6, 0.9):
        found = hmc(log_density, torch.zeros(300, 2), 150, seeded(), step_size=3.0, target=target)
        tail = hmc(
            log_density, found.z, 30, seeded(1), step_size=found.step_size.median().item(), target=target
        )
        assert tail.acceptance.mean().item() == pytest.approx(target, abs=0.08)


def test_a_chain_refuses_what_is_not_finite_and_repeats_itself():
    def log_density(z):
        return torch.where(z[:, 0] > 0, -z.square().sum(1), -math.inf)

    first, second = (hmc(log_density, torch.ones(50, 2), 20, seeded(), step_size=0.5) for _ in range(2))
    assert (first.z[:, 0] > 0).all() and first.z.isfinite().all() and torch.equal(first.z, second.z)
    still = hmc(lambda z: z.sum(1) * math.nan, torch.ones(3, 2), 5, seeded())
    assert torch.equal(still.z, torch.ones(3, 2)) and still.acceptance.max() == 0


def test_the_gradient_through_the_chain_is_its_derivative():
    model, *_ = linear()
    defended = Defended(
        model, steps=1, step_size=0.05
    )  # later steps' sizes, which count as given, depend on the first's
    x = torch.rand(1, 1, 2, 3, generator=seeded(5), dtype=torch.float64)
    noise_ = torch.zeros(1, 2, dtype=torch.float64)
    model.decode = lambda z: Gaussian((z @ torch.ones(2, 6, dtype=z.dtype)).view(-1, 1, 2, 3), 0.4)

    def end(u):
        return defended.latents(u, noise_, seed=1, differentiable=True).z.sum()

    u = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(end(u), u)
    step = torch.zeros_like(x)
    step[0, 0, 1, 2] = 1e-5
    difference = (end((x + step).requires_grad_()) - end((x - step).requires_grad_())).item() / 2e-5
    assert grad[0, 0, 1, 2].item() == pytest.approx(difference, rel=1e-3) and abs(difference) > 1e-3


def test_the_probe_separates_what_is_separable_and_guesses_the_rest():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 300)
    latents = random.normal(size=(300, 4)) + 8 * np.eye(3, 4)[labels]
    assert Probe(latents, labels).accuracy(latents, labels) == 1
    assert Probe(random.normal(size=(300, 2)), labels).accuracy(random.normal(size=(300, 2)), labels) < 0.5


def rows(objective, divergence, norm, initial=10.0):
    """A table of attacks (L, P) with λ = 1, 2, …"""
    L, P = np.shape(objective)
    columns = {"objective": objective, "divergence": divergence, "norm": norm}
    frame = pd.DataFrame({name: np.ravel(values).astype(float) for name, values in columns.items()})
    frame["lam"], frame["pair"] = np.repeat(np.arange(1.0, L + 1), P), np.tile(np.arange(P), L)
    return frame.assign(initial_divergence=initial, input_distance=4.0)


def test_an_attack_that_noise_or_another_model_matches_is_flagged_and_a_good_one_is_not():
    frame = rows([[3, 3], [4, 4]], [[2, 2], [2, 2]], [[1, 1], [1, 1]])
    weak = {"transfer_divergence": np.full((1, 2), 9.0), "transfer_norm": np.ones((1, 2))}
    good = verdict(frame, {"noise_divergence": np.full((2, 2), 9.0)} | weak)
    assert good["masked"] == "" and good["noise_gain"] == pytest.approx(1 / 8) and good["transfer_wins"] == 0
    noisy = verdict(frame, {"noise_divergence": np.full((2, 2), 2.1)})
    assert noisy["masked"].startswith("noise of the same norm does 99 %")
    # one pair is beaten at λ = 2 only: 1 + 2 · 1.2 < 4, but 1 + 1.2 < 3 as well; by less than 1 % it is not
    strong = {"restart_divergence": np.array([[1.0, 2.95]]), "restart_norm": np.array([[1.2, 0.5]])}
    found = verdict(frame, strong)
    assert found["restart_wins"] == 0.5 and "random restarts do better for 50 % of pairs" in found["masked"]
    assert "noise_gain" not in found


def test_an_attack_that_a_longer_search_lowers_is_flagged():
    frame = rows([[3, 3]], [[2, 2]], [[1, 1]])
    found = verdict(frame, {"polish_objective": np.array([[4.0, 3.68], [2.0, 2.0]])})
    assert found["polish_gain"] == pytest.approx(0.04)
    assert found["masked"] == "a longer search lowers the objective by 4 % on average"
    found = verdict(frame, {"polish_objective": np.array([[4.0, 3.84], [-2.0, -2.02]])})
    assert found["polish_gain"] == pytest.approx(0.025) and found["masked"] == ""
    none = verdict(frame, {"polish_objective": np.zeros((0, 2))})
    assert np.isnan(none["polish_gain"]) and none["masked"] == ""


def test_an_attack_without_a_finite_row_is_flagged():
    row = np.full((3, 2), np.inf)
    grid = {name: row if name == "divergence" else np.ones((3, 2)) for name in GRID}
    assert judge(grid, np.ones(3), {})["masked"] == INFINITE
    grid["divergence"] = np.where(np.arange(6).reshape(3, 2) == 4, 1.0, row)
    assert judge(grid, np.ones(3), {})["masked"] == ""


def test_a_longer_search_finds_what_a_weak_attack_left():
    # with w = x_t − x it has its minimum at the length ‖w‖ − λ / 4; half of it is left on the table
    w = torch.tensor([[0.2, -0.1], [0.1, 0.3]]).view(2, 1, 1, 2)
    x, lambdas = torch.full_like(w, 0.5), np.array([0.1, 0.4, 9.0])
    length = np.clip(w.flatten(1).norm(dim=1).numpy() - lambdas[:, None] / 4, 0, None)
    direction = (w / w.flatten(1).norm(dim=1).view(2, 1, 1, 1)).expand(3, -1, -1, -1, -1)
    d = 0.5 * torch.from_numpy(length).float().view(3, 2, 1, 1, 1) * direction
    norm = d.flatten(2).norm(dim=2).numpy()
    distances = {
        "adversarial_distance": np.ones((3, 2)),
        "target_distance": np.zeros(2),
        "original_distance": np.ones(2),
        "input_distance": np.ones(2),
    }
    options = {"seed": 0, "draws": 1, "batch_size": 4}
    weak = AttackedModel(Scaled(), find_loss("latent-kl"), x, x + w, d, norm, distances, **options)
    arrays = check_polish(weak, lambdas, 12)
    assert arrays["polish_row"].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    best = 2 * (length - w.flatten(1).norm(dim=1).numpy()) ** 2 + lambdas[:, None] * length
    np.testing.assert_allclose(arrays["polish_objective"][:, 1], best[:2].ravel(), rtol=1e-3)
    assert (arrays["polish_objective"][:, 0] > 1.02 * best[:2].ravel()).all()


def test_strongest_is_the_row_of_least_ratio_within_each_budget():
    random = np.random.default_rng(0)
    norm, distance = random.uniform(0, 5, (9, 30)) * (random.random((9, 30)) > 0.3), np.full(30, 4.0)
    ratio = random.normal(size=(9, 30))
    ratio[:, 7] = np.nan
    found = robustness.strongest(norm, distance, ratio)
    for b, budget in enumerate(robustness.BUDGETS):
        for p in range(30):
            fits = [r for r in range(9) if 1e-4 <= norm[r, p] <= 4 * budget]
            smallest = (-norm if p == 7 else ratio)[:, p]
            assert found[b, p] == (min(fits, key=smallest.__getitem__) if fits else -1)


CELL = Cell("digits", "beta-tcvae", 2.0, 3, 0)
CHECKS = Checks(
    noise=2,
    restarts=1,
    restart_steps=20,
    probe=True,
    probe_images=400,
    mcmc_steps=6,
    mcmc_leapfrogs=2,
    adaptive_steps=2,
    adaptive_iterations=2,
    purifiers=("bit-depth", "hmc"),
)
MEASURE = MeasureSpec(checks=CHECKS, draws=2, samples=2, batch_size=16)
LAMBDAS = (0.01, 0.1, 1.0, 100.0)


@pytest.fixture(scope="module")
def checked(tmp_path_factory, digits):
    """Folder of a model of the digits, attacked and measured; its weights, its attack, its measures."""
    folder = tmp_path_factory.mktemp("checked")
    spec = {"model": {"hidden": (16,)}, "train": {"epochs": 6, "batch_size": 64, "schedule": "cosine"}}
    weights, attacked, measured = (
        folder / path
        for path in (
            jobs.weights(CELL),
            jobs.output("attack", CELL, "latent-kl"),
            jobs.output("measure", CELL, "latent-kl"),
        )
    )
    train(ModelSpec(**vars(CELL), **spec), digits, weights, weights.with_name("history.csv"), 1e9, CPU)
    options = {"lambdas": LAMBDAS, "pairs": 4, "draws": 2, "max_iterations": 60, "batch_size": 16}
    attack(AttackSpec(**options), digits, weights, attacked, CPU)
    measure(MEASURE, digits, weights, measured, CPU, attack=attacked, source=attacked)
    return folder, weights, attacked, measured


@pytest.mark.slow
def test_the_checks_of_a_trained_model_are_consistent_with_its_attacks(checked, digits, tmp_path):
    _, weights, attacked, measured = checked
    with open_h5(measured, "measure") as file:
        arrays = {name: file[name][()] for name in file}
        assert all(file[name].attrs["description"] for name in file)
        assert json.loads(file.attrs["spec"])["checks"]["noise"] == 2
    with open_h5(attacked, "attack") as file:  # its own distortions
        np.testing.assert_allclose(arrays["transfer_divergence"], file["divergence"][:], rtol=1e-3, atol=1e-3)
    assert arrays["noise_divergence"].shape == (4, 4) and np.isfinite(arrays["restart_divergence"]).all()
    assert 0.2 < arrays["probe_accuracy"] <= 1 and 0 < arrays["acceptance"] <= 1
    with open_h5(attacked, "attack") as file:
        row, pair = arrays["polish_row"].T
        assert len(set(zip(row, pair))) == len(row) == min(12, (file["norm"][:] >= 1e-4).sum())
        before, after = arrays["polish_objective"].T
        np.testing.assert_allclose(before, file["objective"][:][row, pair], rtol=1e-4)
        assert (after <= before).all() and (after > 0).all()
    measure(MEASURE, digits, weights, tmp_path / "again.h5", CPU, attack=attacked, source=attacked)
    with open_h5(tmp_path / "again.h5", "measure") as file:
        assert set(file) == set(arrays)
        for name in arrays:
            np.testing.assert_array_equal(file[name][()], arrays[name], err_msg=name)


def test_success_behind_purifiers_arrives_in_its_table(checked):
    _, _, attacked, measured = checked
    rows = pd.DataFrame(purified_rows(pd.DataFrame(), attacked, measured))
    assert list(rows["purifier"]) == ["none", "bit-depth", "hmc", "any", "all"]
    with open_h5(measured, "measure") as file:
        ratio, defended = file["purified_ratio"][:], file["defended_ratio"][:]
        moved = file["row"][:] >= 0
    np.testing.assert_array_equal(ratio[2][moved], defended[moved])  # the defence is one of the purifiers
    np.testing.assert_array_equal(rows["success_100"][2], np.mean(ratio[2, 3][~np.isnan(ratio[2, 3])] < 0.5))


def test_only_the_checks_that_are_asked_for_are_made(checked, digits, tmp_path):
    _, weights, attacked, measured = checked
    none = Checks(noise=0, restarts=0, polish=0, probe=False, mcmc_steps=0)
    spec = MeasureSpec(checks=none, draws=2, samples=2, batch_size=16)
    measure(spec, digits, weights, tmp_path / "m.h5", CPU, attack=attacked)
    checks = {quantity.name for quantity in quantities.CHECKS}
    with open_h5(tmp_path / "m.h5", "measure") as file, open_h5(measured, "measure") as whole:
        assert checks.isdisjoint(file) and set(file) | checks == set(whole)
        for name in file:
            np.testing.assert_array_equal(file[name][()], whole[name][()], err_msg=name)


def test_the_checks_arrive_in_the_table_of_robustness(checked):
    _, _, attacked, measured = checked
    rows = attack_rows(CELL, "latent-kl", attacked, measured)
    row = pd.Series(robustness_row(CELL, "latent-kl", rows, None, measured))
    wanted = [
        "noise_gain",
        "transfer_wins",
        "restart_wins",
        "polish_gain",
        "probe_accuracy",
        "defence_acceptance",
    ]
    names = ("probe_accuracy", "probe_target", "defended_success", "adaptive_success")
    wanted += [f"{name}_{budget}" for name in names for budget in (10, 100)]
    assert row[wanted].notna().sum() >= len(wanted) - 4  # success is unknown where no pair has O > T
    assert row["transfer_wins"] == 0 and "beta = 1" not in row["masked"]  # its own distortions, at its own λ
    assert robustness.best([rows])["best_success_100"] == row["success_100"]


@pytest.mark.parametrize("gain", [0.5, 1.5], ids=["sound", "weak"])
def test_the_montage_reads_the_flags_of_its_attacks_from_their_own_files(checked, tmp_path, gain):
    """Noise does ``gain`` times what the attack does; a ball does the same without distortion."""
    _, _, attacked, measured = checked
    with open_h5(attacked, "attack") as file, open_h5(measured, "measure") as measures:
        arrays = {name: (file[name][()], "") for name in file}
        others = {
            name: (measures[name][()], "")
            for name in measures
            if name.endswith(("distance", "reconstruction"))
        }
    initial, reached = arrays["initial_divergence"][0], arrays["divergence"][0]
    paths = [str(tmp_path / f"{name}.h5") for name in ("attack", "measure", "ball")]
    attributes = vars(CELL) | {"loss": "latent-kl"}
    write_h5(paths[0], "attack", arrays, attributes)
    noise_divergence = initial + gain * (reached - initial)
    write_h5(paths[1], "measure", others | {"noise_divergence": (noise_divergence, "")}, attributes)
    within = {"ball": (np.array(["l2"] * 4, "S"), ""), "radius": (np.arange(1.0, 5.0), "")}
    within |= {"divergence": (reached - initial, ""), "norm": (0 * reached, "")}
    write_h5(paths[2], "ball", within, attributes)
    entry, spec = FIGURES["montage"], FigureSpec(plot=Plot(), cells=(CELL,))
    masked = read(entry, spec, {}, paths[:1], paths[1:2]).robustness.iloc[0]["masked"]
    assert masked == ("" if gain < 1 else "noise of the same norm does 150 % as well")
    masked = read(entry, spec, {}, paths[:1], paths[1:2], paths[2:]).robustness.iloc[0]["masked"]
    assert masked.endswith("attacks in a ball do better for 100 % of pairs")
    write_h5(paths[1], "measure", others, attributes)
    assert read(entry, spec, {}, paths[:1], paths[1:2]).robustness.iloc[0]["masked"] == ""


def test_a_robust_looking_model_whose_gradient_is_masked_is_found_out():
    """A rounding encoder has no gradient: the attack stays at d = 0, though noise moves the model."""
    from vaepipe.attacks.penalised import run_attack

    plain = make_encoder()

    class Rounded:
        latent_sizes = plain.latent_sizes

        def posterior(self, x):
            return plain.posterior((8 * x).round() / 8 + 0 * x)

    x, target = make_images(4), make_images(4, seed=2)
    lambdas = torch.tensor([1e-3, 1e-2])
    result = run_attack(Rounded(), x, target, lambdas, max_iterations=100)
    assert (result.norm == 0).all()
    goal = plain.posterior(target)[0]
    source = run_attack(plain, x, target, lambdas, max_iterations=100)
    transferred = torch.stack([Rounded().posterior(x + d)[0].kl(goal) for d in source.distortion])
    frame = rows(result.objective, result.divergence, result.norm).assign(
        initial_divergence=np.ravel(result.initial_divergence)
    )
    frame["lam"] = np.repeat(lambdas.numpy(), 4)
    checks = {"transfer_divergence": transferred.numpy(), "transfer_norm": source.norm.numpy()}
    assert "distortions made for beta = 1 do better for 100 % of pairs" in verdict(frame, checks)["masked"]


def test_a_better_distortion_from_a_ball_flags_the_attack():
    frame = rows(
        np.array([[1.0, 5.0], [2.0, 6.0]]),
        np.array([[0.5, 4.0], [1.0, 5.0]]),
        np.array([[0.5, 1.0], [0.5, 0.5]]),
    )
    frame = frame.assign(initial_divergence=10.0)
    frame["lam"] = np.repeat([1.0, 2.0], 2)
    # at λ = 1 pair 0 falls from 1 to 0.2 + 0.5, more than 1 % of 10; pair 1 has nothing lower at any λ
    found = verdict(frame, {"ball_divergence": np.array([[0.2, 4.5]]), "ball_norm": np.array([[0.5, 0.9]])})
    assert found == {"ball_wins": 0.5, "masked": "attacks in a ball do better for 50 % of pairs"}


def test_the_headline_says_which_attacks_were_flagged():
    from vaepipe.figures.data import Data
    from vaepipe.figures.headline import _flags

    common = {"dataset": "digits", "loss": "latent-kl", "family": "beta-vae", "d_z": 4, "noise_gain": 0.3}
    table = pd.DataFrame([common | {"beta": 4.0, "masked": np.nan}, common | {"beta": 8.0, "masked": np.nan}])
    assert _flags(Data(robustness=table), "digits", "latent-kl") == [
        "  checks (noise, transfer, restarts, polish): none of 2 attacks flagged as too weak"
    ]
    table["masked"] = table["masked"].astype(object)
    table.loc[1, "masked"] = "noise of the same norm does 95 % as well"
    (line,) = _flags(Data(robustness=table), "digits", "latent-kl")
    assert "1 of 2 attacks flagged" in line and "β-VAE β = 8" in line and "95 % as well" in line
    assert _flags(Data(), "digits", "latent-kl") == []
