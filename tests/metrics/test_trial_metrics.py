"""Trial metrics: distances, likelihood, similarity and reconstructions, recomputed by other means."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

from vaepipe.metrics import perceptual
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


def test_psnr_is_that_of_piq_and_infinite_for_equal_images(pairs):
    from piq import psnr

    model, x, target = pairs
    distortion = torch.stack([torch.zeros_like(x), 0.5 * (target - x)])
    measured = measure_trials(model, x, target, distortion, ["psnr"], seed=3, samples=5)
    assert (measured["input_psnr"][0] == np.inf).all() and (
        measured["reconstruction_psnr"][0] == np.inf
    ).all()
    expected = psnr(x, x + distortion[1], data_range=1.0, reduction="none")
    np.testing.assert_allclose(measured["input_psnr"][1], expected, rtol=1e-4)
    noise = posterior_noise(model, 3, 5, 3, torch.device("cpu"))[0]
    clean, adversarial = (
        ((image.flatten(1) @ model.weight.T + 0.1 * noise) @ model.weight)
        for image in (target, x + distortion[1])
    )
    mse = (clean - adversarial).square().mean(1)
    np.testing.assert_allclose(measured["target_psnr"][1], 10 * np.log10(1 / mse), rtol=1e-4)


class Features(torch.nn.Module):
    """The layers of VGG-16 with two channels: what LPIPS reads of the network, in a second."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers, channels = [], 3
        for count in (2, 2, 3, 3, 3):
            for _ in range(count):
                layers += [torch.nn.Conv2d(channels, 2, 3, padding=1), torch.nn.ReLU()]
                channels = 2
            layers.append(torch.nn.MaxPool2d(2))
        self.features = torch.nn.Sequential(*layers)


def test_lpips_is_the_published_sum_where_its_weights_are_and_empty_elsewhere(tmp_path, monkeypatch, capsys):
    import piq.perceptual

    x, y = torch.rand(2, 2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)  # a download would fail
    assert perceptual.lpips(x, y).isnan().all()
    checkpoints = tmp_path / "checkpoints"
    assert (
        f"LPIPS is left out: {checkpoints} has no vgg16-397923af.pth and no lpips_weights.pt"
        in capsys.readouterr().out
    )

    checkpoints.mkdir()
    weights = [torch.rand(1, 2, 1, 1, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    torch.save(weights, checkpoints / "lpips_weights.pt")
    (checkpoints / "vgg16-397923af.pth").touch()
    monkeypatch.setattr(piq.perceptual, "vgg16", lambda **_: Features())
    perceptual._distance.cache_clear()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    a, b, expected = (x.expand(-1, 3, -1, -1) - mean) / std, (y.expand(-1, 3, -1, -1) - mean) / std, 0.0
    for number, layer in enumerate(Features().features):
        a, b = layer(a), layer(b)
        if number in (3, 8, 15, 22, 29):
            unit = [f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in (a, b)]
            difference = (weights[(3, 8, 15, 22, 29).index(number)] * (unit[0] - unit[1]).square()).sum(1)
            expected = expected + difference.flatten(1).mean(1)
    torch.testing.assert_close(perceptual.lpips(x, y), expected)
    assert perceptual.lpips(x[..., :8], y[..., :8]).isnan().all()
    perceptual._distance.cache_clear()


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
