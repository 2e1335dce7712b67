"""Purifiers against Pillow, SciPy and closed forms; success behind them against models that can be solved."""

import io

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image

from vaepipe.analysis.purifiers import purifier_rows
from vaepipe.attacks.loss import find_loss
from vaepipe.models.distributions import DiagonalNormal, Gaussian
from vaepipe.storage.errors import DataError
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.settings import Checks
from vaepipe.study.study import Study
from vaepipe.trust.attacked_model import AttackedModel
from vaepipe.trust.jpeg import compress
from vaepipe.trust.purification import check_purifiers
from vaepipe.trust.purifier import find_purifier
from vaepipe.trust.purifiers import bit_depth, blur, resize
from vaepipe.trust.registry import PURIFIERS


class Identity:
    """An autoencoder whose latents are the pixels."""

    latent_sizes = (256,)

    def posterior(self, x):
        return (DiagonalNormal(x.flatten(1), torch.full_like(x.flatten(1), -torch.inf)),)

    def infer(self, x, noise=None):
        return self.posterior(x), (x.flatten(1).expand(1 if noise is None else len(noise), -1, -1),)

    def decode(self, z):
        return Gaussian(z.view(-1, 1, 16, 16), 0.1)


def attacked(x, target, share, d=None):
    """The identity under distortions that go ``share`` of the way to the target, or ``d``, at one λ."""
    d = share * (target - x) if d is None else d
    distance = (x - target).flatten(1).norm(dim=1).numpy()
    distances = {"input_distance": distance, "original_distance": distance, "target_distance": 0 * distance}
    distances["adversarial_distance"] = ((1 - share) * distance)[None]
    norm = d.flatten(1).norm(dim=1).numpy()[None]
    options = {"seed": 0, "draws": 1, "batch_size": 4}
    return AttackedModel(Identity(), find_loss("latent-mean"), x, target, d[None], norm, distances, **options)


def images(count=3, channels=1, side=16):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_jpeg_is_that_of_pillow(channels, mode):
    x = images(2, channels)
    for quality in (50, 90):
        found = compress(x, quality)
        for image, expected in zip(x, found):
            file = io.BytesIO()
            pixels = (image * 255).round().byte().permute(1, 2, 0).squeeze(-1).numpy()
            Image.fromarray(pixels, mode).save(file, "JPEG", quality=quality)
            stored = np.asarray(Image.open(file)).reshape(16, 16, channels) / 255
            np.testing.assert_allclose(expected.permute(1, 2, 0), stored, atol=1e-6)
    assert (compress(x, 50) - x).abs().mean() > (compress(x, 90) - x).abs().mean()
    with pytest.raises(DataError, match=r"checks\.purifiers: jpeg-75 needs 1 or 3 channels; images have 2"):
        compress(images(1, 2), 75)


def test_blur_is_a_gaussian_filter_with_mirrored_edges():
    x = images(2, 3)
    expected = scipy.ndimage.gaussian_filter(x.double().numpy(), (0, 0, 1, 1), mode="mirror", truncate=2)
    np.testing.assert_allclose(blur.blur(None, x), expected, atol=1e-5)


def test_resize_is_pillow_s_bilinear_filter_down_and_up():
    x = images(1)
    image = Image.fromarray(x[0, 0].numpy(), "F").resize((8, 8), Image.Resampling.BILINEAR)
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize.resize(None, x)[0, 0], expected, atol=1e-5)
    assert resize.resize(None, images(1, 1, 9)).shape == (1, 1, 9, 9)


def test_bit_depth_keeps_eight_levels():
    x = images()
    squeezed = bit_depth.squeeze(x)
    assert len(squeezed.unique()) == 8 and (squeezed - x).abs().max() <= 0.5 / 7 + 1e-6
    torch.testing.assert_close(bit_depth.squeeze(squeezed), squeezed)


@pytest.mark.parametrize("name", [name for name in PURIFIERS if name != "hmc"])
def test_every_purifier_reconstructs_in_the_box_and_has_a_gradient(name):
    x = images()
    purifier = find_purifier(name)
    assert purifier.name == name
    u = x.clone().requires_grad_()
    reconstruct = purifier.build(attacked(x, x.flip(0), 0.5), Checks())
    pictures = reconstruct(u, "attack", True)
    assert pictures.shape == x.shape and pictures.min() >= -1e-6 and pictures.max() <= 1 + 1e-6
    (gradient,) = torch.autograd.grad(pictures.sum(), u)
    # each keeps the mean brightness, up to its edges; what is not differentiable has the identity's gradient
    interior = gradient[..., 4:-4, 4:-4]
    torch.testing.assert_close(interior, torch.ones_like(interior), atol=1e-5, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(reconstruct(x, "evaluate", False), pictures)  # an autoencoder has no noise


def test_rounding_undoes_distortions_below_half_a_level_and_none_other():
    """x and x_t lie on adjacent levels; 0.4 of the way to the target is undone by rounding."""
    x, target = torch.full((2, 1, 16, 16), 2 / 7), torch.full((2, 1, 16, 16), 3 / 7)
    checks = Checks(purifiers=("bit-depth", "blur"), adaptive_iterations=5)
    arrays = check_purifiers(attacked(x, target, 0.4), checks)
    assert list(arrays["purifier"]) == [b"none", b"bit-depth", b"blur"]
    unaware = arrays["purified_ratio"]  # K B P; the row lies within the budgets 0.5 and 1
    np.testing.assert_allclose(unaware[:, 3], [[0.6, 0.6], [1, 1], [0.6, 0.6]], atol=1e-5)
    np.testing.assert_allclose(unaware[:, 0], 1, atol=1e-6)  # within h ≤ 0.1 nothing moved
    adaptive = arrays["purified_adaptive_ratio"][:, 3]
    np.testing.assert_allclose(adaptive[[0, 2]], 0.6, atol=0.02)
    assert (adaptive[1] <= 1 + 1e-6).all()


def test_an_attack_that_knows_the_blur_beats_one_that_spends_its_norm_on_what_is_blurred():
    x = torch.full((1, 1, 16, 16), 0.5)
    ramp = torch.linspace(-0.2, 0.2, 16).expand_as(x)
    checkerboard = ((torch.arange(16)[:, None] + torch.arange(16)) % 2 - 0.5).expand_as(x)
    d = 0.45 * ramp.norm() * checkerboard / checkerboard.norm()
    options = Checks(purifiers=("blur",), adaptive_iterations=30)
    arrays = check_purifiers(attacked(x, x + ramp, 0.45, d), options)
    assert arrays["purified_ratio"][1, 2, 0] == pytest.approx(1, abs=0.02)
    assert arrays["purified_adaptive_ratio"][1, 2, 0] == pytest.approx(0.55, abs=0.05)


class Restoring(Identity):
    """Reconstructs a picture whatever it sees, as a VAE whose posterior collapsed."""

    def __init__(self, picture):
        super().__init__()
        self.picture = picture

    def decode(self, z):
        return Gaussian(self.picture + 0 * z.view(-1, 1, 16, 16), 0.1)


def test_another_model_takes_its_reconstruction_of_the_input():
    x, target = torch.full((2, 1, 16, 16), 0.2), torch.full((2, 1, 16, 16), 0.6)
    checks = Checks(purifiers=("zoo:x", "vae"), adaptive_iterations=2)
    models = {"zoo:x": Restoring(torch.full((1, 1, 16, 16), 0.7))}
    arrays = check_purifiers(attacked(x, target, 0.4), checks, models)
    assert list(arrays["purifier"]) == [b"none", b"zoo:x", b"vae"]
    assert np.isnan(arrays["purified_ratio"][1]).all()  # target and original look the same behind it
    np.testing.assert_allclose(arrays["purified_ratio"][[0, 2], 3], 0.6, atol=1e-5)  # once, twice


def test_any_and_all_are_over_purifiers_and_leave_none_out():
    random = np.random.default_rng(0)
    unaware, adaptive = random.uniform(0, 1, (2, 4, 4, 9))
    unaware[2, :, 3] = adaptive[2, :, 3] = np.nan
    rows = {row["purifier"]: row for row in purifier_rows(["none", "a", "b", "c"], unaware, adaptive)}
    assert list(rows) == ["none", "a", "b", "c", "any", "all"]
    for name, ratios in (("success_25", unaware[:, 1]), ("adaptive_success_25", adaptive[:, 1])):
        fooled = [[bool(ratios[k, p] < 0.5) for k in (1, 2, 3)] for p in range(9) if p != 3]
        assert rows["any"][name] == np.mean([any(pair) for pair in fooled])
        assert rows["all"][name] == np.mean([all(pair) for pair in fooled])
        assert rows["none"][name] == np.mean(ratios[0] < 0.5)
        assert rows["b"][name] == np.mean([ratios[2, p] < 0.5 for p in range(9) if p != 3])
    assert rows["b"]["pairs"] == rows["any"]["pairs"] == 8 and rows["none"]["pairs"] == 9


def test_the_defence_as_a_purifier_needs_its_steps():
    overlay = {"study": ["digits"], "checks": {"purifiers": ["hmc"]}}
    with pytest.raises(ConfigError, match=r"checks\.purifiers: 'hmc' needs checks\.mcmc_steps, which is 0"):
        Study(overlay)
