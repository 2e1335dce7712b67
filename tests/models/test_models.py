"""Objectives, networks, and models in files."""

import json
import math
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, vary
from outside_models import make_encoder
from test_distributions import as_torch
from torch import nn
from torch.distributions import kl_divergence

from vaepipe.datasets.resident import Resident
from vaepipe.models.build import build_model
from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.doubling import Doubling
from vaepipe.models.family import find_family
from vaepipe.models.network import find_network
from vaepipe.models.objectives import negative_elbo, terms
from vaepipe.models.registry import FAMILIES, NETWORKS
from vaepipe.models.seatbelt import BOUND
from vaepipe.models.total_correlation import total_correlation
from vaepipe.models.training import Trainer
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage.errors import DataError
from vaepipe.storage.weights import write_weights
from vaepipe.study.settings import Model, TrainOptions
from vaepipe.study.specs import ModelSpec

SETTINGS = TrainOptions(estimator="mss")


@pytest.fixture
def t():
    model = make_encoder().double()
    random = torch.Generator().manual_seed(0)
    x = torch.rand(8, 1, 8, 8, generator=random, dtype=torch.float64)
    return terms(model, x, torch.randn(8, 4, generator=random, dtype=torch.float64))


def test_objectives_are_their_formulas(t):
    elbo = float((t.log_likelihood - t.kl).mean())
    tc = float(total_correlation(t.samples[0], *t.posteriors[0], 100, "mss"))
    assert float(find_family("vae").objective(t, 4.0, 100, SETTINGS)) == pytest.approx(-elbo)
    assert float(find_family("beta-vae").objective(t, 4.0, 100, SETTINGS)) == pytest.approx(
        -elbo + 3 * float(t.kl.mean())
    )
    assert float(find_family("beta-tcvae").objective(t, 4.0, 100, SETTINGS)) == pytest.approx(-elbo + 3 * tc)


def test_free_bits_and_the_weight_of_the_likelihood(t):
    weighted = vary(SETTINGS, likelihood_weight=0.1)
    expected = -0.1 * float(t.log_likelihood.mean()) + 4 * float(t.kl.mean())
    assert float(find_family("beta-vae").objective(t, 4.0, 100, weighted)) == pytest.approx(expected)
    allowance = float(t.kl_terms[0].mean(0).median())  # some dimensions are below, some above
    rate = sum(max(allowance, float(kl)) for kl in t.kl_terms[0].mean(0))
    assert rate > float(t.kl.mean())
    for name, kl_weight in (("vae", 1), ("beta-vae", 4), ("beta-tcvae", 1)):
        free = vary(SETTINGS, free_bits=allowance)
        tc = float(total_correlation(t.samples[0], *t.posteriors[0], 100, "mss"))
        expected = -float(t.log_likelihood.mean()) + kl_weight * rate + (3 * tc if "tc" in name else 0)
        assert float(find_family(name).objective(t, 4.0, 100, free)) == pytest.approx(expected)


def test_free_bits_that_are_not_given_hold_for_several_layers_only(t):
    below = t._replace(kl_terms=(t.kl_terms[0] * 0 + 0.01,))
    one, two = (t._replace(kl_terms=below.kl_terms * layers) for layers in (1, 2))
    rates = [negative_elbo(terms, SETTINGS) + terms.log_likelihood.mean() for terms in (one, two)]
    assert [float(rate) for rate in rates] == pytest.approx([4 * 0.01, 2 * 4 * 0.125])


def test_the_kl_at_samples_has_the_closed_form_as_its_mean():
    random = torch.Generator().manual_seed(0)
    draws = [torch.randn(1, 3, generator=random, dtype=torch.float64) for _ in range(4)]
    q, p = DiagonalNormal(draws[0], 0.5 * draws[1]), DiagonalNormal(draws[2], 0.5 * draws[3])
    z = q.sample(torch.randn(200_000, 3, generator=random, dtype=torch.float64))
    for other in (None, p):
        ratio = q.log_ratio_terms(z, other)
        error = ratio.std(0) / len(z) ** 0.5
        assert ((ratio.mean(0) - q.kl_terms(other)[0]).abs() < 4 * error).all()


@pytest.mark.parametrize(("network", "as_published"), [("mlp", False), ("conv", True)])
def test_batch_norm_is_turned_on_and_off(network, as_published):
    def layers(choice):
        parts = find_network(network).build((1, 8, 8), 4, 2, [16, 16], choice)
        return sum("BatchNorm" in type(m).__name__ for part in parts for m in part.modules())

    assert layers(False) == 0 and layers(True) > 0
    assert layers(None) == layers(as_published)


def test_all_objectives_are_the_vae_at_beta_one(t):
    values = {float(find_family(name).objective(t, 1.0, 100, SETTINGS)) for name in FAMILIES if name != "ae"}
    assert max(values) - min(values) < 1e-12


def test_terms_are_the_likelihood_and_the_kl_of_the_sample(t):
    assert t.log_likelihood.shape == t.kl.shape == (8,)
    assert (t.kl > 0).all() and (t.log_likelihood < 0).all()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 15), (1, 64, 64), (1, 65, 40)])
def test_networks_fit_any_image_from_eight_pixels_up(network, shape):
    encoder, decoder = find_network(network).build(shape, 10, 5, [16])
    x = torch.rand(3, *shape)
    code = encoder(x)
    assert code.shape == (3, 10)
    assert decoder(code[:, :5]).shape == x.shape


def test_the_convolution_is_chens_at_64():
    encoder, decoder = find_network("conv").build((1, 64, 64), 20, 10, [])
    sizes = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in encoder
        if isinstance(m, torch.nn.Conv2d)
    ]
    assert sizes == [
        (1, 32, 4, 2),
        (32, 32, 4, 2),
        (32, 64, 4, 2),
        (64, 64, 4, 2),
        (64, 512, 4, 1),
        (512, 20, 1, 1),
    ]
    sizes = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in decoder
        if isinstance(m, torch.nn.ConvTranspose2d)
    ]
    assert sizes == [
        (10, 512, 1, 1),
        (512, 64, 4, 1),
        (64, 64, 4, 2),
        (64, 32, 4, 2),
        (32, 32, 4, 2),
        (32, 1, 4, 2),
    ]


def test_the_mlp_is_chens_for_dsprites():
    encoder, decoder = find_network("mlp").build((1, 64, 64), 20, 10, [1200, 1200])
    widths = [
        [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, torch.nn.Linear)]
        for net in (encoder, decoder)
    ]
    assert widths == [
        [(4096, 1200), (1200, 1200), (1200, 20)],
        [(10, 1200), (1200, 1200), (1200, 1200), (1200, 4096)],
    ]


def test_a_model_comes_back_from_its_file(tmp_path, spec):
    model = build_model(spec, (1, 8, 8))
    path = tmp_path / "m.safetensors"
    meta = {"spec": spec.to_json(), "shape": json.dumps([1, 8, 8])}
    write_weights(path, model.state_dict(), meta)
    back, found = read_trained_model(path)
    assert found == spec and not back.training
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(back.posterior(x)[0].mean, model.eval().posterior(x)[0].mean)
    model.decoder[0][0].bias.data[0] = math.nan
    write_weights(path, model.state_dict(), meta)
    with pytest.raises(DataError, match="not finite"):
        read_trained_model(path)


def test_the_same_seed_builds_the_same_weights_and_leaves_the_global_generator_alone(spec):
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first, second = (build_model(spec, (1, 8, 8)).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), before)
    assert all(torch.equal(first[k], second[k]) for k in first)
    other = build_model(vary(spec, seed=1), (1, 8, 8)).state_dict()
    assert not torch.equal(first["decoder.0.0.weight"], other["decoder.0.0.weight"])


def test_burgess_is_as_published_at_64():
    encoder, _ = find_network("burgess").build((1, 64, 64), 20, 10, [])
    layers = [m for m in encoder.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    sizes = [
        (m.in_channels, m.out_channels) if isinstance(m, torch.nn.Conv2d) else (m.in_features, m.out_features)
        for m in layers
    ]
    assert sizes == [(1, 32), (32, 32), (32, 32), (32, 32), (512, 256), (256, 256), (256, 20)]
    assert (
        sum(
            p.numel()
            for net in find_network("burgess").build((1, 64, 64), 20, 10, [])
            for p in net.parameters()
        )
        == 502_005
    )  # as in public re-makes


def hierarchy(layers, d_z=2, seed=0):
    settings = Model(network="mlp", hidden=(16,), likelihood="bernoulli", sigma_x=0.1, layers=layers)
    return build_model(ModelSpec(family="seatbelt", seed=seed, d_z=d_z, model=settings), (1, 8, 8)).double()


def batch(model, B=8):
    random = torch.Generator().manual_seed(0)
    x = torch.rand(B, 1, 8, 8, generator=random, dtype=torch.float64)
    return x, torch.randn(B, sum(model.latent_sizes), generator=random, dtype=torch.float64)


def test_a_seatbelt_of_one_layer_is_the_beta_tcvae(spec):
    one = build_model(vary(spec, family="seatbelt", model={"layers": 1}), (1, 8, 8)).double()
    flat = build_model(spec, (1, 8, 8)).double()
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), flat.state_dict().values(), strict=True)
    )
    values = []
    for name, model in (("seatbelt", one), ("beta-tcvae", flat)):
        loss = find_family(name).objective(terms(model, *batch(model)), 4.0, 100, SETTINGS)
        values.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
    assert all(torch.equal(a, b) for a, b in zip(*values, strict=True))


def test_a_seatbelt_at_beta_one_without_free_bits_is_the_hierarchical_elbo():
    model = hierarchy(3).eval()
    assert model.latent_sizes == (8, 4, 2)
    x, noise = batch(model)
    t = terms(model, x, noise)
    # layer by layer from the definition
    (q1, q2, q3), (z1, z2, z3) = t.posteriors, t.samples
    p1, p2, none = model.priors(z1, z2, z3)
    assert none is None
    standard = DiagonalNormal(torch.zeros_like(z3), torch.zeros_like(z3))
    for kl, q, p in zip(t.kl_terms, (q1, q2, q3), (p1, p2, standard)):
        torch.testing.assert_close(kl.sum(1), kl_divergence(as_torch(q), as_torch(p)))
    elbo = t.log_likelihood - sum(kl.sum(1) for kl in t.kl_terms)
    loss = find_family("seatbelt").objective(t, 1.0, 100, TrainOptions(free_bits=0))
    assert float(loss) == pytest.approx(-float(elbo.mean()))
    assert float(find_family("seatbelt").objective(t, 1.0, 100, SETTINGS)) >= float(loss)


def test_free_bits_leave_a_dimension_below_the_allowance_without_a_gradient():
    model = hierarchy(2)
    x, noise = batch(model)
    settings = TrainOptions(free_bits=1e6)
    t = terms(model, x, noise)
    loss = find_family("seatbelt").objective(t, 1.0, 100, settings)
    (gradient,) = torch.autograd.grad(
        loss + t.log_likelihood.mean(), [t.posteriors[1].mean], allow_unused=True
    )
    assert gradient is None or not gradient.any()


def test_seatbelt_penalises_the_total_correlation_of_the_top_layer_only():
    model = hierarchy(3)
    t = terms(model, *batch(model))
    extra = float(
        find_family("seatbelt").objective(t, 5.0, 100, SETTINGS)
        - find_family("seatbelt").objective(t, 1.0, 100, SETTINGS)
    )
    assert extra == pytest.approx(4 * float(total_correlation(t.samples[2], *t.posteriors[2], 100)))


def test_the_upper_posteriors_see_the_image_and_the_layer_below():
    model = hierarchy(2).eval()
    x, noise = batch(model)
    (_, q2), _ = model.infer(x, noise)
    (_, other), _ = model.infer(x, torch.cat([noise[:, :4] + 1, noise[:, 4:]], 1))
    assert not torch.allclose(q2.mean, other.mean)
    model.up[0][0].weight.data[:, :4] = 0  # cut the layer below off: the image is left
    (_, cut), _ = model.infer(x, noise)
    assert not torch.allclose(cut.mean[0], cut.mean[1])


def test_samples_with_a_leading_axis_are_the_same_as_one_by_one():
    model = hierarchy(3).eval()
    x, _ = batch(model)
    noise = torch.randn(5, 8, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together = model.infer(x, noise)[1]
    for s in range(5):
        alone = model.infer(x, noise[s])[1]
        assert all(torch.allclose(a[s], b) for a, b in zip(together, alone))


def test_the_autoencoder_is_deterministic_and_has_no_elbo(spec):
    model = build_model(vary(spec, family="ae"), (1, 8, 8))
    x, noise = torch.rand(4, 1, 8, 8), torch.randn(4, 3)
    t = terms(model, x, noise)
    assert torch.equal(t.samples[0], model.posterior(x)[0].mean)
    assert torch.isneginf(t.elbo).all()
    loss = find_family("ae").objective(t, 0.0, 100, SETTINGS)
    assert float(loss) == pytest.approx(-float(t.log_likelihood.mean()))
    assert all(
        g is None or g.isfinite().all()
        for g in torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("channels", "size", "goal"),
    [(1, (4, 4), (8, 8)), (1, (3, 5), (7, 10)), (3, (5, 4), (10, 8)), (32, (4, 4), (9, 8))],
)
def test_doubling_is_pytorch_s_transposed_convolution(memory_format, channels, size, goal):
    layer = Doubling(6, channels, size, goal).double().to(memory_format=memory_format)
    x = torch.randn(3, 6, *size, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    variables = [x, *layer.parameters()]
    found, expected = layer(x), nn.ConvTranspose2d.forward(layer, x)
    assert found.shape[2:] == goal
    torch.testing.assert_close(found, expected)
    g = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, variables, g), torch.autograd.grad(expected, variables, g)
    )


@pytest.mark.slow
def test_four_layers_train_without_a_break(digits):
    model = Model(network="mlp", hidden=(128, 128), likelihood="gaussian", sigma_x=0.1, layers=4)
    training = TrainOptions(
        epochs=3, batch_size=64, learning_rate=2e-3, schedule="cosine", precision="float32"
    )
    spec = ModelSpec(dataset="digits", family="seatbelt", beta=8, d_z=8, seed=0, model=model, train=training)
    trainer = Trainer(spec, *(Resident.read(digits, part) for part in ("train", "test")), torch.device("cpu"))
    rows = [trainer.epoch() for _ in range(3)]
    assert max(row["kl"] for row in rows) < 1000 and all(row["held_out_elbo"] > -1000 for row in rows)


def test_deviations_between_layers_are_bounded_whatever_goes_in():
    model = hierarchy(3).eval()
    for network in (*model.up, *model.down):
        q = network(1e6 * torch.randn(5, network[0].in_features, dtype=torch.float64))
        assert q.mean.shape == q.log_std.shape and q.log_std.abs().max() <= BOUND < q.mean.abs().max()


# --- facts

FACTS = {  # β of the cells of a grid with β = 1, 4; the family at β = 1; posteriors with a width
    "ae": ([0], "vae", False),
    "vae": ([1], "vae", True),
    "beta-vae": ([1, 4], "vae", True),
    "beta-tcvae": ([1, 4], "vae", True),
    "seatbelt": ([1, 4], "seatbelt", True),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_states_its_facts(name, spec):
    family, (betas, at_one, has_width) = find_family(name), FACTS[name]
    assert family.name == name and family.trained_here and family.order == FAMILIES.index(name)
    assert betas == ([1, 4] if family.uses_beta else [family.fixed_beta])
    assert family.at_beta_one == at_one and family.has_width == has_width
    model = build_model(vary(spec, family=name, model={"layers": 2}), (1, 8, 8))
    widths = [q.log_std.isfinite().all() for q in model.posterior(torch.rand(2, 1, 8, 8))]
    assert all(widths) == has_width
    assert set(family.settings) <= {*Model.model_fields, *TrainOptions.model_fields}


@pytest.mark.parametrize("name", ["mine", "beta_vae", "a.b", "vae.x", "family"])
def test_models_from_elsewhere_get_the_facts_of_a_family(name):
    family = find_family(name)
    assert (family.label, family.marker, family.trained_here) == (name, "P", False)
    assert family.colour not in {find_family(known).colour for known in FAMILIES}
    with pytest.raises(ValueError, match="has no objective"):
        family.objective()


def test_facts_are_read_without_torch():
    program = """
import sys
from vaepipe.metrics.latent_metric import latent_quantities
from vaepipe.metrics.registry import LATENT_METRICS
from vaepipe.models.family import find_family
from vaepipe.models.network import find_network
from vaepipe.models.registry import FAMILIES, NETWORKS
[find_family(name) for name in FAMILIES], [find_network(name) for name in NETWORKS]
latent_quantities(LATENT_METRICS)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
