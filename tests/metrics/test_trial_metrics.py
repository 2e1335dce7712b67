"""Trial metrics: distances, likelihood, similarity and reconstructions, recomputed by other means."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

from vaepipe.metrics.decoding import posterior_noise
from vaepipe.metrics.ms_ssim import ms_ssim
from vaepipe.metrics.registry import TRIAL_METRICS
from vaepipe.metrics.trial_measurement import measure_trials
from vaepipe.metrics.trial_metric import find_trial_metric, trial_quantities
from vaepipe.models.distributions import DiagonalNormal, Gaussian


class Linear:
    """q(z|x) = N(W x, s² I) and p(x|z) = N(Wᵀ z, 0.1² I)."""

    def __init__(self, weight, std):
        self.weight, self.std, self.latent_sizes = weight, std, (len(weight),)

    def infer(self, x, noise):
        mean = x.flatten(1) @ self.weight.T
        q = DiagonalNormal(mean, torch.full_like(mean, math.log(self.std)))
        return (q,), (q.sample(noise),)

    def decode(self, z):
        return Gaussian((z @ self.weight).view(-1, 1, 2, 2), 0.1)


@pytest.fixture
def pairs():
    """A linear model and three pairs of images."""
    random = torch.Generator().manual_seed(0)
    model = Linear(torch.randn(2, 4, generator=random), std=0.1)
    return model, *(torch.rand(3, 1, 2, 2, generator=random) for _ in range(2))


def test_distances_are_means_over_samples_with_the_same_noise_at_every_lambda(pairs):
    model, x, target = pairs
    distortion = torch.stack([torch.zeros_like(x), target - x])
    measured = measure_trials(model, x, target, distortion, ["distances"], seed=0, samples=64)
    adversarial, original = measured["adversarial_distance"], measured["original_distance"]
    np.testing.assert_array_equal(adversarial[0], original)
    np.testing.assert_allclose(adversarial[1], measured["target_distance"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(measured["input_distance"], (x - target).flatten(1).norm(dim=1))
    # E ‖W'(Wx + sε) − x_t‖² = ‖W'Wx − x_t‖² + s²‖W‖²_F; the mean distance lies just below its root
    rec = (x.flatten(1) @ model.weight.T) @ model.weight - target.flatten(1)
    bound = (rec.square().sum(1) + 0.01 * model.weight.square().sum()).sqrt()
    assert (original <= 1.1 * bound.numpy()).all() and (original >= 0.7 * rec.norm(dim=1).numpy()).all()
    again = measure_trials(model, x, target, distortion[1:], ["distances"], seed=0, samples=64)
    np.testing.assert_array_equal(again["adversarial_distance"][0], adversarial[1])


def test_likelihood_pictures_and_similarity_are_those_of_the_samples(pairs):
    model, x, target = pairs
    d = 0.5 * (target - x)
    measured = measure_trials(model, x, target, d[None].double(), TRIAL_METRICS, seed=3, samples=5)
    noise = posterior_noise(model, 3, 5, 3, torch.device("cpu"))
    z = (x + d).flatten(1) @ model.weight.T + 0.1 * noise  # S, P, D
    pictures = z @ model.weight
    density = torch.distributions.Normal(pictures, 0.1).log_prob(target.flatten(1)).sum(-1)
    np.testing.assert_allclose(measured["target_nll"][0], -density.mean(0), rtol=1e-4)
    first = pictures[0].view(3, 1, 2, 2)
    stored = measured["adversarial_reconstruction"]
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored[0], (first * 255).round().clip(0, 255).numpy().astype(np.uint8))
    np.testing.assert_allclose(measured["input_similarity"][0], ms_ssim(x, x + d))
    clean = ((x.flatten(1) @ model.weight.T + 0.1 * noise[0]) @ model.weight).view(3, 1, 2, 2)
    np.testing.assert_allclose(measured["reconstruction_similarity"][0], ms_ssim(clean, first), rtol=1e-4)


def test_every_metric_gives_the_arrays_that_it_states_and_loads_without_torch(pairs):
    model, x, target = pairs
    for name in TRIAL_METRICS:
        measured = measure_trials(model, x, target, torch.zeros(2, *x.shape), [name], seed=0, samples=2)
        sizes = {"L": 2, "P": 3, "C": 1, "H": 2, "W": 2}
        quantities = find_trial_metric(name).quantities
        stated = {q.name: tuple(sizes[axis] for axis in q.axes.split(",")) for q in quantities}
        assert {name: array.shape for name, array in measured.items()} == stated
    names = [quantity.name for quantity in trial_quantities(TRIAL_METRICS)]
    assert len(set(names)) == len(names)
    program = "import sys; from vaepipe.metrics.trial_metric import trial_quantities; "
    program += f"trial_quantities({TRIAL_METRICS}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
