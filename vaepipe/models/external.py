"""Models that were trained elsewhere, built by a function of the user from weights without pickles.

docs/your-model.md shows an example. The function takes the weights, a mapping from names to tensors, and
returns an object with

    posterior(x)   x (B, C, H, W) in the model's own range → a diagonal normal, or a sequence of one per layer
    decode(*z)     z (B, D_l) of each layer → p(x|z) with ``mean`` (B, C, H, W) and ``log_prob(x)``
    priors(*z)     only if layers depend on each other: p(z_l|z_{l+1}) of each layer, None for N(0, I)

Normals are `vaepipe.models.distributions.DiagonalNormal` or `torch.distributions.Normal`; likelihoods are
those of `vaepipe.models.distributions` or of `torch.distributions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from vaepipe.models.distributions import Bernoulli, DiagonalNormal, Gaussian
from vaepipe.models.plain import Plain, is_plain
from vaepipe.models.user_code import entry_point, user_code
from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    from vaepipe.models.interface import ExternalSettings


class DoesNotFit(DataError):
    """The model does not take images of this shape, as far as its answers show."""


class External(nn.Module):
    """The user's model behind the interface `vaepipe.models.interface.Model`.

    Args:
        inner: an object with ``posterior`` and ``decode``.
        latent_sizes: dimensions of each stochastic layer, the bottom one first.
        range: lowest and highest value of a pixel inside the user's model; outside, images lie in [0,1].
        entry: where the model comes from, for error messages.
    """

    rows: ClassVar[int] = 0
    """Images that models of this process have encoded, for those who show progress."""

    def __init__(self, inner: Any, latent_sizes: Sequence[int], range: Sequence[float], entry: str = "model"):
        super().__init__()
        self.inner: Any = inner
        self.latent_sizes, self.entry = tuple(latent_sizes), entry
        self.low, self.width = range[0], range[1] - range[0]

    def call(self, method: str, *arguments: Tensor) -> Any:
        """The result of a method of the user's model."""
        shapes = ", ".join(str(tuple(t.shape)) for t in arguments)
        with user_code(self.entry, f"{method} failed on shape {shapes}", DoesNotFit):
            return getattr(self.inner, method)(*arguments)

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal, ...]:
        """q(z_l|x) of each layer."""
        External.rows += len(x)
        return normals(self.call("posterior", self.low + self.width * x), f"{self.entry}: posterior")

    def infer(
        self, x: Tensor, noise: Tensor | None = None
    ) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        """(posteriors, samples) of each layer; each is sampled from the posterior that the model gives."""
        posteriors = self.posterior(x)
        if noise is None:
            return posteriors, tuple(q.mean for q in posteriors)
        noises = noise.split(self.latent_sizes, dim=-1)
        return posteriors, tuple(q.sample(eps) for q, eps in zip(posteriors, noises))

    def priors(self, *samples: Tensor) -> tuple[DiagonalNormal | None, ...]:
        """p(z_l|z_{l+1}) of each layer; None is N(0, I)."""
        if not hasattr(self.inner, "priors"):
            return (None,) * len(samples)
        name = f"{self.entry}: priors"
        return tuple(None if p is None else normals(p, name)[0] for p in self.call("priors", *samples))

    def decode(self, *samples: Tensor) -> RescaledLikelihood:
        """p(x|z) of images in [0,1]."""
        return RescaledLikelihood(self.call("decode", *samples), self.low, self.width, self.entry)


class RescaledLikelihood:
    """p(x|z) of images in [0,1], made from a likelihood of images in [low, low + width]."""

    def __init__(self, inner: Any, low: float, width: float, entry: str):
        self.inner, self.low, self.width, self.entry = inner, low, width, entry

    @property
    def mean(self) -> Tensor:
        """(B, C, H, W) in [0,1]."""
        with user_code(self.entry, "mean of what decode gave failed"):
            mean = self.inner.mean
        return (mean - self.low) / self.width

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) nats, a density over [0,1]: stretching the pixels divides it by their widths."""
        x = self.low + self.width * x
        with user_code(self.entry, f"log_prob of what decode gave failed on shape {tuple(x.shape)}"):
            value = self.inner.log_prob(x)
        stretch = 0.0 if self.width == 1 else x[0].numel() * torch.tensor(self.width).log().item()
        return value.flatten(1).sum(1) + stretch if value.ndim > 1 else value + stretch


class MeanAndLogVariance(nn.Module):
    """A module with ``encode`` and ``decode`` as a model that vaepipe can attack: the common case.

    Args:
        model: A module with ``encode(x)`` and ``decode(z)``. ``encode`` takes images (B, C, H, W) and returns
            mean and log variance, (B, D) each. ``decode`` takes z (B, D) and returns pictures (B, C, H, W):
            logits for the likelihood ``"bernoulli"``, means for ``"gaussian"``.
        likelihood: ``"bernoulli"`` or ``"gaussian"``.
        sigma: Standard deviation of the Gaussian, in the range of the model's pictures.
    """

    def __init__(self, model: nn.Module, likelihood: str, sigma: float = 0.1):
        super().__init__()
        self.model: Any = model
        self.train(model.training)
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"likelihood: {likelihood!r} is not allowed; expected bernoulli or gaussian")
        self.likelihood, self.sigma = likelihood, sigma

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal]:
        """Return q(z|x) of images ``x`` (B, C, H, W), as a tuple with one layer."""
        mean, log_variance = self.model.encode(x)
        return (DiagonalNormal(mean, log_variance / 2),)

    def decode(self, z: Tensor) -> Bernoulli | Gaussian:
        """Return p(x|z) of ``z`` (B, D). It has ``mean`` and ``log_prob(x)``."""
        output = self.model.decode(z)
        return Bernoulli(output) if self.likelihood == "bernoulli" else Gaussian(output, self.sigma)


def normals(given: Any, name: str = "posterior") -> tuple[DiagonalNormal, ...]:
    """One or several normals of this package or of torch, as a tuple of this package's normals.

    Args:
        given: a normal, or a list or tuple of them.
        name: where they come from, for the error message.

    Raises:
        DataError: something else than normals.
    """
    one = isinstance(given, (DiagonalNormal, torch.distributions.Distribution))
    layers = [given] if one or not isinstance(given, (list, tuple)) else given
    return tuple(_as_diagonal_normal(layer, name) for layer in layers)


def _as_diagonal_normal(q: Any, name: str) -> DiagonalNormal:
    q = getattr(q, "base_dist", q)  # of torch's Independent
    if isinstance(q, torch.distributions.Normal):
        return DiagonalNormal(q.loc, q.scale.log())
    if not isinstance(q, DiagonalNormal):
        expected = "expected a DiagonalNormal or torch's Normal, or one per layer"
        raise DataError(f"{name}: gave {type(q).__name__}; {expected}")
    return q


def build(settings: ExternalSettings, weights: dict[str, Tensor], shape: Sequence[int]) -> External:
    """The user's model behind this package's interface, tried on a few grey images.

    Args:
        settings: entry point, range and number of latent dimensions.
        shape: (C, H, W).

    Raises:
        DataError: one line that says what the entry point or the model lacks.
    """
    entry = settings.entry
    function = entry_point(entry)
    with user_code(entry, "failed"):
        inner = function(weights)
    if not hasattr(inner, "posterior") and is_plain(inner):
        inner = Plain(inner, settings.likelihood, 0.1 * (settings.range[1] - settings.range[0]))
    if absent := [name for name in ("posterior", "decode") if not callable(getattr(inner, name, None))]:
        rule = "give it encode(x) → (mean, log variance) and decode(z) → pictures, see docs/your-model.md"
        raise DataError(
            f"{entry}: gave {type(inner).__name__}, which has no {' and no '.join(absent)}; {rule}"
        )
    if getattr(inner, "training", False):
        raise DataError(f"{entry}: gave a model in training mode; call .eval() on it first")
    for count in (1, 3):  # the number of images may be fixed in the user's code
        x = torch.full((count, *shape), 0.5)
        with (
            torch.enable_grad(),
            user_code(entry, f"the model failed on images {tuple(x.shape)}", DoesNotFit),
        ):
            x.requires_grad_()
            posteriors = External(inner, (), settings.range, entry).posterior(x)
            sizes = [q.mean.shape[-1] for q in posteriors]
            model = External(inner, sizes, settings.range, entry).eval()
            _check_model(model, x, settings.d_z)
            _check_repeatable(model, x, count)
    return model


def _check_repeatable(model: External, x: Tensor, count: int) -> None:
    """Raise DataError if the same image has another posterior or picture when it is asked for again.

    Random states differ, and so do the other images of the batch: dropout, batch statistics and posteriors
    that are sampled show in what the model gives, wherever in the user's objects they sit.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        company = torch.linspace(0, 1, x[0].numel()).view_as(x[:1])
        answers = []
        for seed, images in ((0, x), (1, x), (2, torch.cat([x[:1], *[company] * (count - 1)]))):
            torch.manual_seed(seed)
            posteriors, samples = model.infer(images.detach())
            parts = [part[:1] for q in posteriors for part in q if part.isfinite().all()]
            answers.append([*parts, model.decode(*samples).mean[:1]])
    for method, numbers in (("posterior", slice(0, -1)), ("decode", slice(-1, None))):
        for other in answers[1:]:
            for a, b in zip(answers[0][numbers], other[numbers]):
                if not torch.allclose(a, b, rtol=1e-2, atol=1e-3 * max(1.0, float(a.abs().max()))):
                    rule = "call .eval() on every network in it, and give the posterior's own mean"
                    raise DataError(f"{model.entry}: {method}: differs when asked twice; {rule}")


def _check_model(model: External, x: Tensor, d_z: int | None) -> None:
    """Raise DataError unless shapes, values and gradients are what evaluation and attacks need."""
    posteriors, samples = model.infer(x)
    for q in posteriors:
        if q.mean.shape != q.log_std.shape or q.mean.ndim != 2 or len(q.mean) != len(x):
            shapes = f"{tuple(q.mean.shape)} and {tuple(q.log_std.shape)}"
            expected = f"expected ({len(x)}, D) both"
            raise DoesNotFit(f"{model.entry}: posterior: mean and width of shapes {shapes}; {expected}")
    if d_z is not None and (total := sum(model.latent_sizes)) != d_z:
        raise DataError(f"{model.entry}: the model has {total} latent dimensions; external says d_z: {d_z}")
    likelihood = model.decode(*samples)
    _check_likelihood(likelihood, x)
    _check_gradient(model.entry, "posterior", [q.mean for q in posteriors], [x])
    _check_gradient(model.entry, "decode", [likelihood.mean], samples)


def _check_likelihood(likelihood: RescaledLikelihood, x: Tensor) -> None:
    entry = likelihood.entry
    if absent := [name for name in ("mean", "log_prob") if not hasattr(likelihood.inner, name)]:
        kind = type(likelihood.inner).__name__
        raise DataError(f"{entry}: decode: gave {kind} without {' and '.join(absent)}; expected a likelihood")
    mean, log_prob = likelihood.mean, likelihood.log_prob(x)
    if mean.shape != x.shape or log_prob.shape != (len(x),):
        shapes = f"mean {tuple(mean.shape)} and log_prob {tuple(log_prob.shape)}"
        raise DoesNotFit(f"{entry}: decode: {shapes}; expected {tuple(x.shape)} and ({len(x)},)")
    if not mean.isfinite().all():
        raise DataError(f"{entry}: decode: gave numbers that are not finite")


def _check_gradient(entry: str, method: str, outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
    """Raise DataError unless one of the outputs depends on one of the inputs."""
    for output in outputs:
        if output.requires_grad:
            gradients = torch.autograd.grad(output.sum(), inputs, retain_graph=True, allow_unused=True)
            if any(gradient is not None for gradient in gradients):
                return
    rule = "which attacks need; take torch.no_grad, detach and NumPy out of it"
    raise DataError(f"{entry}: {method}: has no gradient, {rule}")
