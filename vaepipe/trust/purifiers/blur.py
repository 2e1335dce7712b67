"""A Gaussian blur with a standard deviation of one pixel, cut at two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaepipe.trust.purifier import Purifier, before_model

if TYPE_CHECKING:
    from torch import Tensor

SIGMA = 1.0
WIDTH = 5


def blur(model: Any, x: Tensor) -> Tensor:
    """Return blurred images; they are mirrored at their edges."""
    from torchvision.transforms.functional import gaussian_blur  # takes a second to import

    return gaussian_blur(x, [WIDTH, WIDTH], [SIGMA, SIGMA])


PURIFIER = Purifier("blur", before_model(blur))
