"""What attacks minimise, against torch.distributions, a matrix formula and sums written out."""

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from conftest import make_encoder, make_images
from torch.distributions import Normal, kl_divergence

from vaepipe.attacks.losses import LOSSES, NEED_WIDTH, Setting
from vaepipe.attacks.penalised import run_attack
from vaepipe.models.build import build
from vaepipe.study import grid

P, S, PAIR = 4, 5, [2, 0, 3]


def make(family):
    model = {"network": "mlp", "hidden": [24], "likelihood": "bernoulli", "sigma_x": 0.1}
    model |= {"layers": 3} if family == "seatbelt" else {}
    model = build({"family": family, "seed": 3, "d_z": 2, "model": model}, (1, 8, 8)).double()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(1.5)
    return model.eval().requires_grad_(False)


def setting(model):
    x, target = make_images(P).double(), make_images(P, seed=2).double()
    noise = torch.randn(S, P, sum(model.latent_sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Setting(model, x, target, list(model.posterior(target)), noise, 3)


def value(model, loss):
    s = setting(model)
    return LOSSES[loss](s)(s.x[PAIR] * 0.9, torch.tensor(PAIR)), s


def layers(model, s):
    """(of x + d, of x_t) as torch.distributions.Normal, a layer each."""
    normal = lambda q: Normal(q.mean, q.log_std.exp())  # noqa: E731
    return [(normal(q), normal(t)) for q, t in zip(model.posterior(s.x[PAIR] * 0.9), model.posterior(s.target[PAIR]))]


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


def test_the_root_has_a_gradient_everywhere():
    s = setting(make("vae"))
    x = s.target.clone().requires_grad_()
    LOSSES["latent-w2-root"](s)(x, torch.arange(P)).sum().backward()
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
            total = F.binary_cross_entropy_with_logits(model.decode(*z).logits[0], s.target[pair], reduction="sum")
            if family != "ae":
                for q, p in zip(posteriors, model.priors(*z)):
                    prior = Normal(torch.zeros_like(q.mean), 1.0) if p is None else Normal(p.mean, p.log_std.exp())
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
        whole, alone = (LOSSES[loss](v)(s.x, torch.arange(P)) for v in (s, bare))
        torch.testing.assert_close(whole, alone)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_s_gradient_is_that_of_its_value(loss):
    s = setting(make("seatbelt"))
    x = (0.2 + 0.6 * s.x).requires_grad_()
    divergence = LOSSES[loss](s)
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
    assert torch.equal(other.initial_divergence, alone.initial_divergence) == (loss not in ("output", "max-damage"))


def test_an_autoencoder_is_attacked_by_what_makes_sense_for_it():
    cell = grid.Cell("digits", "ae", 0.0, 4, 0)
    assert set(LOSSES) - set(grid.losses(cell, list(LOSSES), {})) == set(NEED_WIDTH)
    model, x, target = make("ae").float(), make_images(2), make_images(2, seed=2)
    for loss in grid.losses(cell, list(LOSSES), {}):
        result = run_attack(model, x, target, torch.tensor([1e-3]), loss, batch_size=4, max_iterations=300)
        assert result.converged.all() and (result.objective <= result.initial_divergence).all(), loss
    with pytest.raises(ValueError, match="'latent-kl' is infinite"):
        run_attack(model, x, target, torch.tensor([1.0]))
