"""Samples of the prior and traversals, on a model whose decoder is known."""

from types import SimpleNamespace

import pytest
import torch

from vaepipe.metrics.generation import STEPS, decode_from_top, prior_samples, traversals
from vaepipe.models.distributions import DiagonalNormal


class Linear:
    """Two layers; p(x|z) has the mean (bottom, top), and the bottom's prior is N(2 top, 3²)."""

    latent_sizes = (2, 2)

    def priors(self, bottom, top):
        return DiagonalNormal(2 * top, torch.full_like(top, 3.0).log()), None

    def decode(self, bottom, top):
        return SimpleNamespace(mean=torch.cat([bottom, top], 1))


def test_lower_layers_follow_their_priors():
    top = torch.tensor([[1.0, -1.0]])
    assert decode_from_top(Linear(), top).tolist() == [[2, -2, 1, -1]]
    noise = [torch.tensor([[1.0, 2.0]])]
    assert decode_from_top(Linear(), top, noise).flatten().tolist() == pytest.approx([5, 4, 1, -1])


def test_samples_depend_on_the_seed_alone():
    first, again, other = (prior_samples(Linear(), seed, torch.device("cpu")) for seed in (0, 0, 1))
    assert first.equal(again) and not first.equal(other)


def test_a_traversal_moves_the_dimension_of_largest_kl_first():
    mean = torch.tensor([[0.1, 0.5], [0.2, -4.0]])
    order, pictures = traversals(Linear(), mean, torch.zeros(2, 2))
    assert order.tolist() == [1, 0]
    assert pictures[0, :, 3].tolist() == list(STEPS) and set(pictures[0, :, 2].tolist()) == {
        mean[0, 0].item()
    }
    assert pictures[1, :, 2].tolist() == list(STEPS) and set(pictures[1, :, 3].tolist()) == {0.5}
