"""What an attack loss is: the contract of the files in `vaepipe/attacks/losses`. Imports without torch.

A loss is built once from the `Setting` of P pairs and gives a function of inputs (B, C, H, W) and of their
pairs, numbers (B,), with values (B,) in the unit of the loss, summed over layers. A loss needs only
``posterior(x)`` of the model, a sequence of diagonal normals with one per stochastic layer, and, where
pictures count, ``decode(*z)``. Latent losses of a hierarchical model take the posteriors of upper layers at
the means of the lower ones; `output` and `max-damage` sample all layers, by ``infer(x, noise)`` where the
model has it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from vaepipe.attacks import losses
from vaepipe.attacks.errors import Refused

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.distributions import DiagonalNormal

    Divergence = Callable[[Tensor, Tensor], Tensor]
    Distance = Callable[[DiagonalNormal, DiagonalNormal], Tensor]
    Residuals = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """The attacked pairs, as a loss sees them.

    Args:
        model: with ``posterior(x)`` and, for some losses, ``decode(*z)``.
        x: (P, C, H, W) images in [0,1].
        target: (P, C, H, W) images in [0,1].
        goals: posteriors of the targets, one (P, D_l) per layer.
        noise: (S, P, Σ D_l) standard normal; a pair keeps its noise in all iterations and at all λ.
        batch_size: images that the model sees at once.
    """

    model: Any
    x: Tensor
    target: Tensor
    goals: list[DiagonalNormal]
    noise: Tensor
    batch_size: int


@dataclass(frozen=True)
class Loss:
    """An attack loss and the facts about it; ``vaepipe/attacks/losses/<name>.py`` holds one as ``LOSS``.

    Args:
        name: The name in the configuration and in paths.
        title: The name for readers, such as "latent KL attack".
        unit: The unit of the values, such as "nats".
        build: A function that takes a `Setting`, the model and the attacked pairs, and returns the function
            to minimise. That one takes images (B, C, H, W) and the numbers of their pairs (B,), and returns
            values (B,).
        needs_width: Whether the loss is infinite for a posterior without width, such as an autoencoder's.
        needs_decode: Whether the model must have ``decode(*z)``.
        residuals: For a loss that is a sum of few squares. A function of the same kind as ``build``, whose
            function returns (B, m): half their squared norm is the loss. The attack then searches better
            where λ is small (`vaepipe.attacks.solvers.restoration`).
        has_target: False for a loss about x alone. Its attack starts at a random distortion, because a
            distance from x has no gradient at d = 0.
    """

    name: str
    title: str
    unit: str
    build: Callable[[Setting], Divergence]
    residuals: Callable[[Setting], Residuals] | None = None
    needs_width: bool = False
    needs_decode: bool = False
    has_target: bool = True


def available_losses() -> list[str]:
    """Return the names of all files in `vaepipe/attacks/losses`, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(losses.__path__))


def find_loss(loss: str | Loss) -> Loss:
    """Return the loss of that name; a `Loss` is returned as it is.

    Raises:
        Refused: there is no such loss.
    """
    if isinstance(loss, Loss):
        return loss
    if loss not in available_losses():
        raise Refused(f"loss: {loss!r} is not one of {', '.join(available_losses())}")
    return importlib.import_module(f"{losses.__name__}.{loss.replace('-', '_')}").LOSS


def between(distance: Distance) -> Callable[[Setting], Divergence]:
    """Return a `Loss.build` that sums ``distance(q(z|x + d), q(z|x_t))`` over layers."""

    def build(setting: Setting) -> Divergence:
        def divergence(x: Tensor, pair: Tensor) -> Tensor:
            layers = zip(setting.model.posterior(x), setting.goals)
            return cast("Tensor", sum(distance(q, goal.rows(pair)) for q, goal in layers))

        return divergence

    return build


def residuals_between(residuals: Distance) -> Callable[[Setting], Residuals]:
    """Return a `Loss.residuals` with ``residuals(q(z|x + d), q(z|x_t))`` (B, m_l) of each layer."""

    def build(setting: Setting) -> Residuals:
        import torch

        def joined(x: Tensor, pair: Tensor) -> Tensor:
            layers = zip(setting.model.posterior(x), setting.goals)
            return torch.cat([residuals(q, goal.rows(pair)) for q, goal in layers], 1)

        return joined

    return build


def away(distance: Distance) -> Callable[[Setting], Divergence]:
    """Return a `Loss.build` that sums −``distance(q(z|x + d), q(z|x))`` over layers: there is no target."""

    def build(setting: Setting) -> Divergence:
        import torch

        from vaepipe.models.distributions import DiagonalNormal

        def packed(x: Tensor) -> Tensor:
            return torch.cat([part for q in setting.model.posterior(x) for part in q], 1)

        sizes = [part.shape[1] for q in setting.goals for part in q]
        parts = in_batches(packed, setting.x, setting.batch_size).split(sizes, 1)
        clean = [DiagonalNormal(mean, log_std) for mean, log_std in zip(parts[::2], parts[1::2])]

        def divergence(x: Tensor, pair: Tensor) -> Tensor:
            layers = zip(setting.model.posterior(x), clean)
            return cast("Tensor", -sum(distance(q, goal.rows(pair)) for q, goal in layers))

        return divergence

    return build


def infer(model: Any, x: Tensor, noise: Tensor) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
    """Return (posteriors, samples), one of each per layer, for standard normal ``noise`` (S, B, Σ D_l).

    A model without ``infer`` is sampled layer by layer from the posteriors that ``model.posterior(x)`` gives.
    """
    if hasattr(model, "infer"):
        return model.infer(x, noise)
    posteriors = tuple(model.posterior(x))
    noises = noise.split([q.mean.shape[-1] for q in posteriors], dim=-1)
    return posteriors, tuple(q.sample(eps) for q, eps in zip(posteriors, noises))


def in_batches(function: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """Return ``function(x)``, computed without gradient in batches of ``size`` rows.

    The last batch is filled up, so that no row depends on the number of rows.
    """
    import torch

    with torch.no_grad():
        padding = x[-1:].expand(-len(x) % size, *x.shape[1:])
        return torch.cat([function(batch) for batch in torch.cat([x, padding]).split(size)])[: len(x)]
