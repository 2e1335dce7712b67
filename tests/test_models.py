"""Objectives, networks, and models in files."""

import math

import pytest
import torch
from conftest import make_encoder

from vaepipe import models, store
from vaepipe.models.networks import conv, mlp
from vaepipe.objectives import OBJECTIVES, terms
from vaepipe.total_correlation import total_correlation


@pytest.fixture
def t():
    model = make_encoder().double()
    random = torch.Generator().manual_seed(0)
    x = torch.rand(8, 1, 8, 8, generator=random, dtype=torch.float64)
    return terms(model, x, torch.randn(8, 4, generator=random, dtype=torch.float64))


def test_objectives_are_their_formulas(t):
    elbo = float((t.log_likelihood - t.kl).mean())
    tc = float(total_correlation(t.z, *t.posterior, 100, "mss"))
    assert float(OBJECTIVES["vae"](t, 4.0, 100, "mss")) == pytest.approx(-elbo)
    assert float(OBJECTIVES["beta-vae"](t, 4.0, 100, "mss")) == pytest.approx(-elbo + 3 * float(t.kl.mean()))
    assert float(OBJECTIVES["beta-tcvae"](t, 4.0, 100, "mss")) == pytest.approx(-elbo + 3 * tc)


def test_all_objectives_are_the_vae_at_beta_one(t):
    values = {float(objective(t, 1.0, 100, "mss")) for objective in OBJECTIVES.values()}
    assert max(values) - min(values) < 1e-12


def test_terms_are_the_likelihood_and_the_kl_of_the_sample(t):
    assert t.log_likelihood.shape == t.kl.shape == (8,)
    assert (t.kl > 0).all() and (t.log_likelihood < 0).all()


@pytest.mark.parametrize("network", [mlp, conv])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 15), (1, 64, 64), (1, 65, 40)])
def test_networks_fit_any_image_from_eight_pixels_up(network, shape):
    encoder, decoder = network(shape, 5, [16])
    x = torch.rand(3, *shape)
    code = encoder(x)
    assert code.shape == (3, 10)
    assert decoder(code[:, :5]).shape == x.shape


def test_the_convolution_is_chens_at_64():
    encoder, decoder = conv((1, 64, 64), 10, [])
    sizes = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in encoder if isinstance(m, torch.nn.Conv2d)]
    assert sizes == [(1, 32, 4, 2), (32, 32, 4, 2), (32, 64, 4, 2), (64, 64, 4, 2), (64, 512, 4, 1), (512, 20, 1, 1)]
    sizes = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in decoder if isinstance(m, torch.nn.ConvTranspose2d)
    ]
    assert sizes == [(10, 512, 1, 1), (512, 64, 4, 1), (64, 64, 4, 2), (64, 32, 4, 2), (32, 32, 4, 2), (32, 1, 4, 2)]


def test_the_mlp_is_chens_for_dsprites():
    encoder, decoder = mlp((1, 64, 64), 10, [1200, 1200])
    widths = [
        [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, torch.nn.Linear)] for net in (encoder, decoder)
    ]
    assert widths == [[(4096, 1200), (1200, 1200), (1200, 20)], [(10, 1200), (1200, 1200), (1200, 1200), (1200, 4096)]]


def test_a_model_comes_back_from_its_file(tmp_path, spec):
    import json

    model = models.build(spec, (1, 8, 8))
    path = tmp_path / "m.safetensors"
    store.write_weights(path, model.state_dict(), {"spec": json.dumps({**spec, "shape": [1, 8, 8]})})
    back, found = models.load(path)
    assert found["family"] == "beta-tcvae" and not back.training
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(back.posterior(x)[0].mean, model.eval().posterior(x)[0].mean)
    model.decoder[0][0].bias.data[0] = math.nan
    store.write_weights(path, model.state_dict(), {"spec": json.dumps({**spec, "shape": [1, 8, 8]})})
    with pytest.raises(store.DataError, match="not finite"):
        models.load(path)


def test_the_same_seed_builds_the_same_weights_and_leaves_the_global_generator_alone(spec):
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first, second = (models.build(spec, (1, 8, 8)).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), before)
    assert all(torch.equal(first[k], second[k]) for k in first)
    other = models.build(spec | {"seed": 1}, (1, 8, 8)).state_dict()
    assert not torch.equal(first["decoder.0.0.weight"], other["decoder.0.0.weight"])
