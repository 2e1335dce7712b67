"""Convolutions of networks that are differentiated by their input, in the layout that is fast on a CPU.

oneDNN computes many convolutions faster with the channels last (NHWC) than with the channels first. It is
slow at the gradient with respect to an image of few channels; a matrix product and a sum over overlapping
patches are faster there. scripts/bench_evaluation.py measures both together.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

FEW = 4
"""Most channels of an image whose gradient is taken by `_OfFewChannels`."""
Lengths = int | tuple[int, ...]


def fast_convolutions(model: Any) -> AbstractContextManager[Any]:
    """Return a context in which 2-D convolutions on a CPU in float32 are fast. It can be entered again.

    The values are the same up to rounding. The weights of the first convolution get no gradient in it. The
    context does nothing if ``model`` is a module without weights of four dimensions.
    """
    if isinstance(model, torch.nn.Module) and all(p.ndim != 4 for p in model.parameters()):
        return nullcontext()
    return _FastConvolutions()


class _FastConvolutions(TorchFunctionMode):
    """Sees every call of PyTorch, so that it also serves networks that other people wrote."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return _convolve(*args, **kwargs)
        if func is torch.conv_transpose2d:
            return _convolve_back(*args, **kwargs)
        if func is torch.Tensor.view and args[0].ndim == 4:
            by_type = kwargs or isinstance(args[-1], torch.dtype)
            func = func if by_type else torch.Tensor.reshape  # with the channels last, a view may not exist
        return func(*args, **kwargs)


def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Lengths = 1,
    padding: Lengths | str = 0,
    dilation: Lengths = 1,
    groups: int = 1,
) -> Tensor:
    if not _is_served(input, weight):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    few = input.requires_grad and weight.shape[1] <= FEW and groups == 1
    input, weight = _channels_last(input, weight)
    if few and not isinstance(padding, str):
        return _OfFewChannels.apply(input, weight, bias, stride, padding, dilation)
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _convolve_back(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if _is_served(input, weight):
        input, weight = _channels_last(input, weight)
    return torch.conv_transpose2d(input, weight, *args, **kwargs)


def _is_served(input: Tensor, weight: Tensor) -> bool:
    return all(t.device.type == "cpu" and t.dtype == torch.float32 and t.ndim == 4 for t in (input, weight))


def _channels_last(*tensors: Tensor) -> list[Tensor]:
    # not `contiguous`, which leaves a tensor of one channel in either layout as it is
    return [t.to(memory_format=torch.channels_last) for t in tensors]


class _OfFewChannels(torch.autograd.Function):
    """A convolution whose gradient with respect to its input is a matrix product, folded."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Lengths,
        padding: Lengths,
        dilation: Lengths,
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.size, ctx.lengths = x.shape[2:], (dilation, padding, stride)
        return torch.conv2d(x, weight, bias, stride, padding, dilation)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (g,) = ctx.saved_tensors, gradients
        patches = g.permute(0, 2, 3, 1).flatten(1, 2) @ weight.flatten(1)  # B, h·w, channels·taps
        x = F.fold(patches.transpose(1, 2), ctx.size, weight.shape[2:], *ctx.lengths)
        return x, None, None, None, None, None
