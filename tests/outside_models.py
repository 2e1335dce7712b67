"""Small models, also as other people would write them; stages that run in other processes load this file."""

import math

import torch
from torch import nn
from torch.distributions import Independent, Normal

import vaepipe  # noqa: F401  sets how MKL rounds, before torch multiplies
from vaepipe.models import distributions
from vaepipe.models.build import build_model
from vaepipe.study.settings import Model
from vaepipe.study.specs import ModelSpec


def make_encoder(shape=(1, 8, 8), d_z=4, gain=2.0, seed=0):
    """A model with random weights, sharper than at initialisation, so that attacking it is work."""
    settings = Model(network="mlp", hidden=(32,), likelihood="bernoulli", sigma_x=0.1)
    model = build_model(ModelSpec(family="vae", seed=seed, d_z=d_z, model=settings), shape)
    with torch.no_grad():
        for layer in model.encoder[1]:
            if hasattr(layer, "weight"):
                layer.weight.mul_(gain)
        model.encoder[1][-1].bias[d_z:] -= math.log(4)
    return model.eval().requires_grad_(False)


class Plain(nn.Module):
    """Ours, as someone else would write it: torch's distributions, pixels in [-1, 1]."""

    def __init__(self):
        super().__init__()
        self.ours = make_encoder()

    def posterior(self, x):
        (q,) = self.ours.posterior((x + 1) / 2)
        return Independent(Normal(q.mean, q.log_std.exp()), 1)

    def decode(self, z):
        return Normal(2 * self.ours.decode(z).mean - 1, 0.2)


class WithoutWidth(Plain):
    def posterior(self, x):
        mean = super().posterior(x).mean
        return distributions.DiagonalNormal(mean, torch.full_like(mean, -math.inf))


def without_width(weights):
    model = WithoutWidth()
    model.load_state_dict(weights)
    return model.eval()


class Failing(Plain):
    """Raises ``error`` at the ``last``-th call of ``method``, counted over all models; 0 is never."""

    method, last, calls = "posterior", 0, 0
    error: BaseException = RuntimeError("shape '[3, 64]' is invalid\n for input of size 1024")

    def called(self, method):
        if method == Failing.method:
            Failing.calls += 1
            if Failing.calls == Failing.last:
                raise Failing.error

    def posterior(self, x):
        self.called("posterior")
        return super().posterior(x)

    def decode(self, z):
        self.called("decode")
        return super().decode(z)


def load_failing(weights):
    model = Failing()
    model.load_state_dict(weights)
    return model.eval()


class Scaled:
    """q(z|x) = N(x, ¼), so that φ(d) = 2‖x + d − x_t‖²."""

    latent_sizes = (4,)

    def posterior(self, x):
        mean = x.flatten(1)
        return (distributions.DiagonalNormal(mean, torch.full_like(mean, math.log(0.5))),)
