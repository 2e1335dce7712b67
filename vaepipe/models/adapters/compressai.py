"""CompressAI's codecs with a scale hyperprior (Ballé et al. 2018), from a file of their weights.

The picture depends on y = g_a(x) alone; the hyperprior decides the rate. So the posterior is the point y. The
decoder rounds it as the codec does; the gradient goes straight through.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaepipe.models.adapter import Adapter
from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.plain import Plain

NEEDED = ("g_a.0.weight", "g_a.6.weight", "h_s.4.weight")


class Codec:
    """``encode`` to y and ``decode`` of rounded y."""

    def __init__(self, model: Any):
        self.model, self.training = model, False

    def encode(self, x: Tensor) -> Tensor:
        return self.model.g_a(x)

    def decode(self, y: Tensor) -> Tensor:
        return self.model.g_s(y + (y.round() - y).detach())


def build(path: Path, weights: dict[str, Tensor]) -> Plain:
    """The codec with these weights; its sizes are read from them."""
    from compressai.models import ScaleHyperprior

    from vaepipe.models.forms import Form
    from vaepipe.models.plain import Plain

    if absent := [name for name in NEEDED if name not in weights]:
        raise DataError(f"{path}: has no {absent[0]}; expected the weights of a ScaleHyperprior")
    try:
        model = ScaleHyperprior.from_state_dict(dict(weights)).eval().requires_grad_(False)
    except (RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not weights of a ScaleHyperprior ({str(error).splitlines()[0]})") from error
    plain = Plain(Codec(model), form=Form(0))
    plain.add_module("networks", model)
    return plain.eval()


def weights_file(path: Path) -> tuple[Path, None]:
    """The file itself."""
    return path, None


ADAPTER = Adapter("compressai", build, weights_file)
