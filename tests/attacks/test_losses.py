"""Attack losses against torch.distributions, a matrix formula and sums written out."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from conftest import ROOT, make_images
from outside_models import make_encoder
from torch.distributions import Normal, kl_divergence

from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import Setting, available_losses, find_loss
from vaepipe.attacks.penalised import run_attack
from vaepipe.attacks.registry import LOSSES
from vaepipe.models.build import build_model
from vaepipe.models.distributions import width_residual
from vaepipe.study import cells
from vaepipe.study.settings import Model
from vaepipe.study.specs import ModelSpec

P, S, PAIR = 4, 5, [2, 0, 3]


def make(family):
    settings = Model(network="mlp", hidden=(24,), likelihood="bernoulli", layers=3)
    model = build_model(ModelSpec(family=family, seed=3, d_z=2, model=settings), (1, 8, 8)).double()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(1.5)
    return model.eval().requires_grad_(False)


def setting(model):
    x, target = make_images(P).double(), make_images(P, seed=2).double()
    noise = torch.randn(
        S, P, sum(model.latent_sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return Setting(model, x, target, list(model.posterior(target)), noise, 3)


def value(model, loss):
    s = setting(model)
    return find_loss(loss).build(s)(s.x[PAIR] * 0.9, torch.tensor(PAIR)), s


def layers(model, s):
    """(of x + d, of x_t) as torch.distributions.Normal, a layer each."""

    def normal(q):
        return Normal(q.mean, q.log_std.exp())

    return [
        (normal(q), normal(t))
        for q, t in zip(model.posterior(s.x[PAIR] * 0.9), model.posterior(s.target[PAIR]))
    ]


def w2_squared(q, t):
    """‖μ − μ_t‖² + tr(Σ + Σ_t − 2 (Σ_t^½ Σ Σ_t^½)^½), with matrices."""
    rows = []
    for b in range(len(q.mean)):
        a, c = np.diag(q.variance[b].numpy()), np.diag(t.variance[b].numpy())
        root = scipy.linalg.sqrtm(c)
        cross = scipy.linalg.sqrtm(root @ a @ root)
        rows.append(((q.mean[b] - t.mean[b]) ** 2).sum().item() + np.trace(a + c - 2 * cross).real)
    return torch.tensor(rows)


CLOSED = {
    "latent-kl": lambda q, t: kl_divergence(q, t).sum(1),
    "latent-kl-forward": lambda q, t: kl_divergence(t, q).sum(1),
    "latent-skl": lambda q, t: (kl_divergence(q, t) + kl_divergence(t, q)).sum(1) / 2,
    "latent-w2": w2_squared,
    "latent-mean": lambda q, t: ((q.mean - t.mean) ** 2).sum(1),
    "latent-variance-target": lambda q, t: ((q.variance.log() - t.variance.log()) ** 2).sum(1) / 4,
}


@pytest.mark.parametrize("family", ["vae", "seatbelt"])
@pytest.mark.parametrize("loss", CLOSED)
def test_latent_losses_sum_a_distance_of_posteriors_over_layers(family, loss):
    model = make(family)
    found, s = value(model, loss)
    parts = layers(model, s)
    assert len(parts) == {"vae": 1, "seatbelt": 3}[family]
    torch.testing.assert_close(found, sum(CLOSED[loss](q, t) for q, t in parts))
    if loss == "latent-w2":
        torch.testing.assert_close(value(model, "latent-w2-root")[0], found.sqrt())


@pytest.mark.parametrize("family", ["vae", "seatbelt"])
@pytest.mark.parametrize("loss", [name for name in LOSSES if find_loss(name).residuals])
def test_half_the_squared_norm_of_residuals_is_the_loss_and_its_gradient_too(family, loss):
    s, facts, pair = setting(make(family)), find_loss(loss), torch.tensor(PAIR)
    inputs = [s.x[PAIR] * 0.9, s.target[PAIR], s.target[PAIR] + 1e-3 * s.x[PAIR]]  # far from it, at it, near
    for u in inputs:
        u = u.requires_grad_()
        squares = 0.5 * facts.residuals(s)(u, pair).square().sum(1)
        expected = facts.build(s)(u, pair)
        torch.testing.assert_close(squares, expected, rtol=1e-7, atol=1e-12)
        pair_of_gradients = [torch.autograd.grad(f.sum(), u)[0] for f in (squares, expected)]
        torch.testing.assert_close(*pair_of_gradients, rtol=1e-5, atol=1e-9)


def test_the_residual_of_a_width_is_smooth_through_equal_widths():
    log_ratio = torch.linspace(-0.5, 0.5, 1001, dtype=torch.float64).requires_grad_()
    residual = width_residual(log_ratio)
    (slope,) = torch.autograd.grad(residual.sum(), log_ratio)
    exact = log_ratio.exp().square() - 1 - 2 * log_ratio
    torch.testing.assert_close(residual.square(), exact, rtol=1e-7, atol=1e-14)
    torch.testing.assert_close(slope, torch.gradient(residual.detach(), spacing=1e-3)[0], rtol=1e-3, atol=0)
    assert (residual.diff() > 0).all()


CLOSED_AWAY = {
    "latent-mean-away": lambda q, x: -(q.mean - x.mean).norm(dim=1),
    "latent-variance": lambda q, x: (x.entropy() - q.entropy()).sum(1),
}


@pytest.mark.parametrize("family", ["vae", "seatbelt"])
@pytest.mark.parametrize("loss", CLOSED_AWAY)
def test_losses_without_target_compare_with_the_clean_posterior(family, loss):
    model = make(family)
    found, s = value(model, loss)
    both = (model.posterior(x) for x in (s.x[PAIR] * 0.9, s.x[PAIR]))
    parts = [[Normal(q.mean, q.log_std.exp()) for q in layer] for layer in zip(*both)]
    torch.testing.assert_close(found, sum(CLOSED_AWAY[loss](q, x) for q, x in parts))


def test_the_files_of_losses_are_the_registry_and_load_without_torch():
    assert available_losses() == sorted(LOSSES)
    program = "import sys\nfrom vaepipe.attacks.loss import available_losses, find_loss\n"
    program += "assert all(find_loss(name).name == name for name in available_losses())\n"
    program += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    with pytest.raises(Refused, match=r"loss: 'kl' is not one of .*latent-kl, latent-kl-forward"):
        find_loss("kl")
    assert find_loss(find_loss("output")) is find_loss("output")


class WithoutDecode:
    def __init__(self, model):
        self.posterior, self.infer, self.latent_sizes = model.posterior, model.infer, model.latent_sizes


ZERO_ELSEWHERE = ("output", "max-damage", *CLOSED_AWAY)
"""Losses that are not zero at the target."""


@pytest.mark.parametrize("loss", LOSSES)
def test_the_facts_of_a_loss_hold(loss):
    facts, s, pair = find_loss(loss), setting(make("vae")), torch.arange(P)
    assert facts.title and facts.unit
    assert (facts.build(s)(s.target, pair).abs().max() < 1e-9) == (loss not in ZERO_ELSEWHERE)
    autoencoder = setting(make("ae"))
    assert facts.build(autoencoder)(autoencoder.x, pair).isfinite().all() != facts.needs_width
    bare = WithoutDecode(s.model)
    if facts.needs_decode:
        with pytest.raises(Refused, match="has no decode"):
            run_attack(bare, s.x, s.target, torch.tensor([1.0]), facts)
    else:
        facts.build(dataclasses.replace(s, model=bare))(s.x, pair)
    other = dataclasses.replace(s, target=s.x, goals=list(s.model.posterior(s.x)))
    same = torch.equal(facts.build(s)(s.x, pair), facts.build(other)(s.x, pair))
    assert same != facts.has_target


def test_the_root_has_a_gradient_everywhere():
    s = setting(make("vae"))
    x = s.target.clone().requires_grad_()
    find_loss("latent-w2-root").build(s)(x, torch.arange(P)).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("family", ["vae", "seatbelt", "ae"])
def test_output_is_the_negative_bound_on_the_target_with_the_pair_s_own_noise(family):
    model = make(family)
    found, s = value(model, "output")
    expected = []
    for pair in PAIR:
        values = []
        for noise in s.noise[:, pair]:
            posteriors, z = model.infer(s.x[pair : pair + 1] * 0.9, noise[None])
            total = F.binary_cross_entropy_with_logits(
                model.decode(*z).logits[0], s.target[pair], reduction="sum"
            )
            if family != "ae":
                for q, p in zip(posteriors, model.priors(*z)):
                    prior = (
                        Normal(torch.zeros_like(q.mean), 1.0)
                        if p is None
                        else Normal(p.mean, p.log_std.exp())
                    )
                    total = total + kl_divergence(Normal(q.mean, q.log_std.exp()), prior).sum()
            values.append(total)
        expected.append(torch.stack(values).mean())
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("family", ["vae", "seatbelt", "ae"])
def test_max_damage_is_how_far_reconstructions_are_from_that_of_the_mean(family):
    model = make(family)
    found, s = value(model, "max-damage")
    for row, pair in enumerate(PAIR):
        clean = torch.sigmoid(model.decode(*(q.mean for q in model.posterior(s.x[pair : pair + 1]))).logits)
        distances = []
        for noise in s.noise[:, pair]:
            z = model.infer(s.x[pair : pair + 1] * 0.9, noise[None])[1]
            distances.append((torch.sigmoid(model.decode(*z).logits) - clean).norm())
        torch.testing.assert_close(found[row], -torch.stack(distances).mean())


def test_a_model_of_one_layer_needs_no_more_than_posterior_and_decode():
    class Bare:
        def __init__(self, model):
            self.posterior, self.decode = model.posterior, model.decode

    model = make("vae")
    for loss in ("output", "max-damage"):
        s = setting(model)
        bare = Setting(Bare(model), *list(vars(s).values())[1:])
        whole, alone = (find_loss(loss).build(v)(s.x, torch.arange(P)) for v in (s, bare))
        torch.testing.assert_close(whole, alone)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_s_gradient_is_that_of_its_value(loss):
    s = setting(make("seatbelt"))
    x = (0.2 + 0.6 * s.x).requires_grad_()
    divergence = find_loss(loss).build(s)
    assert torch.autograd.gradcheck(lambda u: divergence(u, torch.arange(P)), x, fast_mode=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_lowers_its_objective_and_rows_keep_apart(loss):
    model, x, target = make_encoder(), make_images(3), make_images(3, seed=2)
    lambdas = torch.tensor([1e-3, 0.1])
    options = {"batch_size": 8, "max_iterations": 60, "envelope": False}
    whole = run_attack(model, x, target, lambdas, loss, **options)
    assert (whole.objective[0] < whole.initial_divergence[0]).all()
    torch.testing.assert_close(whole.objective, whole.divergence + lambdas[:, None] * whole.norm)
    alone = run_attack(model, x[1:2], target[1:2], lambdas[1:], loss, **options)
    assert torch.equal(alone.distortion[0, 0], whole.distortion[1, 1])
    other = run_attack(model, x[1:2], target[1:2], lambdas[1:], loss, seed=1, **options)
    assert torch.equal(other.initial_divergence, alone.initial_divergence) == (
        not find_loss(loss).needs_decode
    )


def test_an_autoencoder_is_attacked_by_what_makes_sense_for_it():
    cell = cells.Cell("digits", "ae", 0.0, 4, 0)
    needs_width = {loss for loss in LOSSES if find_loss(loss).needs_width}
    assert set(LOSSES) - set(cells.losses(cell, list(LOSSES), {})) == needs_width
    model, x, target = make("ae").float(), make_images(2), make_images(2, seed=2)
    for loss in cells.losses(cell, list(LOSSES), {}):
        result = run_attack(model, x, target, torch.tensor([1e-3]), loss, batch_size=4, max_iterations=300)
        assert result.converged.all() and (result.objective <= result.initial_divergence).all(), loss
    with pytest.raises(ValueError, match="'latent-kl' is infinite"):
        run_attack(model, x, target, torch.tensor([1.0]))
