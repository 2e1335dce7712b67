"""The fast convolutions give the values and gradients of the ordinary ones, for networks of any make."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vaepipe.compute.convolutions import fast_convolutions


def value_and_gradient(network, x):
    x = x.clone().requires_grad_()
    y = network(x)
    weights = torch.linspace(-1, 1, y.numel()).view_as(y)
    (gradient,) = torch.autograd.grad((y * weights).sum(), x)
    return y, gradient


def assert_alike(network, x):
    expected = value_and_gradient(network, x)
    with fast_convolutions(network):
        got = value_and_gradient(network, x)
    for a, b in zip(got, expected):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.detach().abs().max()))


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 6),
    after=st.integers(1, 9),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.sampled_from([1, 2, 3, (2, 1)]),
    padding=st.sampled_from([0, 1, 2, (0, 1)]),
    dilation=st.sampled_from([1, 2]),
    grouped=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_convolution_of_any_shape_is_the_ordinary_one(
    channels, after, kernel, stride, padding, dilation, grouped, bias, seed
):
    torch.manual_seed(seed)
    groups = channels if grouped else 1
    layer = nn.Conv2d(channels, after * groups, kernel, stride, padding, dilation, groups, bias)
    assert_alike(layer, torch.rand(3, channels, 11, 13))


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_a_convolution_that_keeps_the_size_is_the_ordinary_one(padding_mode):
    layer = nn.Conv2d(3, 4, 3, padding="same", padding_mode=padding_mode)
    assert_alike(layer, torch.rand(2, 3, 6, 6))


def test_a_whole_network_is_the_ordinary_one():
    class Viewing(nn.Module):
        def forward(self, x):  # both views fail on channels that are last
            return x.view(len(x), 2, -1, *x.shape[2:]).amax(1).view(len(x), -1)

    torch.manual_seed(0)
    halving, doubling = nn.Conv2d(1, 6, 4, 2, 1), nn.ConvTranspose2d(6, 8, 4, 2, 1)
    network = nn.Sequential(halving, nn.BatchNorm2d(6), nn.ReLU(inplace=True), doubling, Viewing()).eval()
    assert_alike(network, torch.rand(5, 1, 12, 12))


def test_second_derivatives_of_the_first_layer_are_the_ordinary_ones():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Conv2d(4, 1, 3))
    x = torch.rand(2, 1, 8, 8, requires_grad=True)

    def norm_of_gradient():
        (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    expected = norm_of_gradient()
    with fast_convolutions(network):
        torch.testing.assert_close(norm_of_gradient(), expected)


def test_the_gradient_of_an_image_has_one_product_of_matrices():
    """The slow way is a call of ``convolution_backward`` for each convolution; of the first none is left."""
    network = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 4, 2, 1))
    with torch.profiler.profile() as profile, fast_convolutions(network):
        value_and_gradient(network, torch.rand(2, 1, 16, 16))
    counts = {event.key: event.count for event in profile.key_averages()}
    assert counts["aten::convolution_backward"] == 1
    assert counts["aten::col2im"] == 1


def test_float64_and_networks_without_convolutions_are_left_alone():
    layer = nn.Conv2d(1, 4, 3).double()
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    with fast_convolutions(layer):
        got = value_and_gradient(layer, x)
    assert all(torch.equal(a, b) for a, b in zip(got, value_and_gradient(layer, x)))
    assert isinstance(fast_convolutions(nn.Linear(3, 3)), contextlib.nullcontext)


def test_a_view_of_the_bits_stays_one():
    x = torch.rand(2, 3, 4, 4)
    with fast_convolutions(nn.Conv2d(1, 1, 1)):
        assert torch.equal(x.view(torch.int32).view(dtype=torch.float32), x)
