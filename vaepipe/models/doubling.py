"""The transpose of a halving convolution (4×4, stride 2, padding 1), faster on CPUs than PyTorch's own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Doubling(nn.ConvTranspose2d):
    """(B, channels, h, w) → (B, after, 2h, 2w), or one row or column more for an odd ``goal``.

    Parameters are those of `nn.ConvTranspose2d`.

    Args:
        channels, after: channels before and after.
        size, goal: heights and widths before and after.
    """

    def __init__(self, channels: int, after: int, size: tuple[int, int], goal: tuple[int, int]):
        odd = (goal[0] - 2 * size[0], goal[1] - 2 * size[1])
        super().__init__(channels, after, 4, 2, 1, output_padding=odd)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, after, *goal)."""
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(x, output_size)
        if self.out_channels == 1 and not any(self.output_padding):
            y = _Folded.apply(x, self.weight)
        else:
            y = F.conv_transpose2d(x, self.weight, None, 2, 1, self.output_padding)
        assert self.bias is not None
        # in the library the gradient of the bias costs as much as that of the weights; added here, one sum
        return y.add_(self.bias[:, None, None])


class _Folded(torch.autograd.Function):
    """Forward: a matrix product, folded. Backward: the halving convolution, whose transpose this is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        taps = x.permute(0, 2, 3, 1).flatten(1, 2) @ weight.flatten(1)  # B, h·w, after·4·4
        return F.fold(taps.transpose(1, 2), (2 * x.shape[2], 2 * x.shape[3]), 4, padding=1, stride=2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted = [False, ctx.needs_input_grad[1], False]
        halving = (
            [2, 2],
            [1, 1],
            [1, 1],
            False,
            [0, 0],
            1,
        )  # stride, padding, dilation, transposed, output padding, groups
        return (
            F.conv2d(g, weight, stride=2, padding=1) if ctx.needs_input_grad[0] else None,
            torch.ops.aten.convolution_backward(x, g, weight, None, *halving, wanted)[1],
        )
