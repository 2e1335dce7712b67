"""Anyone's VAE as a model of this package: built by a function of theirs, weights read without executing pickles.

docs/your-model.md shows it. The function gets the weights as a mapping from names to tensors and returns an object with

    posterior(x)   x (B, C, H, W) in the model's own range → one diagonal normal, or a sequence of them, one per layer
    decode(*z)     z (B, D_l) of each layer → p(x|z) with ``mean`` (B, C, H, W) and ``log_prob(x)``
    priors(*z)     only where layers depend on each other: p(z_l|z_{l+1}) of each layer, None for N(0, I)

Normals are `vaepipe.models.distributions.DiagonalNormal` or `torch.distributions.Normal`; likelihoods those of
`vaepipe.models.distributions` or of `torch.distributions`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vaepipe.models.distributions import Bernoulli, DiagonalNormal, Gaussian
from vaepipe.storage.errors import DataError
from vaepipe.storage.weights import read_weights

SAID = 300
"""Characters of what someone else's code says that are passed on."""


@contextlib.contextmanager
def theirs(entry: str, what: str) -> Iterator[None]:
    """Code that is not ours: whatever it raises becomes one line that names it. Too little memory stays what it is, as attacks
    then try fewer rows.

    Raises:
        DataError: ``entry``, ``what`` was tried, the exception's type and text.
    """
    try:
        yield
    except (DataError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        said = textwrap.shorten(f"{type(error).__name__}: {error}", SAID).rstrip(": ")
        raise DataError(f"{entry}: {what} ({said})") from error


class External(nn.Module):
    """What the stages need of a model, made of ``posterior`` and ``decode``; images in [0,1] outside, in ``range`` inside.
    ``entry``: where the model comes from, for what is said when it fails."""

    def __init__(self, inner, latent_sizes: Sequence[int], range: Sequence[float], entry: str = "model"):
        super().__init__()
        self.inner, self.latent_sizes, self.entry = inner, tuple(latent_sizes), entry
        self.low, self.width = range[0], range[1] - range[0]

    def ask(self, method: str, *given: Tensor):
        """What the user's method gives."""
        with theirs(self.entry, f"{method} failed on shape {', '.join(str(tuple(t.shape)) for t in given)}"):
            return getattr(self.inner, method)(*given)

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal, ...]:
        return normals(self.ask("posterior", self.low + self.width * x), f"{self.entry}: posterior")

    def infer(self, x: Tensor, noise: Tensor | None = None) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        """Layers are sampled each from its posterior as the model gives it."""
        posteriors = self.posterior(x)
        if noise is None:
            return posteriors, tuple(q.mean for q in posteriors)
        noises = noise.split(self.latent_sizes, dim=-1)
        return posteriors, tuple(q.sample(eps) for q, eps in zip(posteriors, noises))

    def priors(self, *samples: Tensor) -> tuple[DiagonalNormal | None, ...]:
        if not hasattr(self.inner, "priors"):
            return (None,) * len(samples)
        return tuple(None if p is None else normals(p, f"{self.entry}: priors")[0] for p in self.ask("priors", *samples))

    def decode(self, *samples: Tensor):
        return Likelihood(self.ask("decode", *samples), self.low, self.width, self.entry)


class Likelihood:
    """p(x|z) of images in [0,1], from one of images in another range."""

    def __init__(self, inner, low: float, width: float, entry: str):
        self.inner, self.low, self.width, self.entry = inner, low, width, entry

    @property
    def mean(self) -> Tensor:
        with theirs(self.entry, "mean of what decode gave failed"):
            mean = self.inner.mean
        return (mean - self.low) / self.width

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) nats, of a density over [0,1]: stretching the pixels divides it by their product of widths."""
        x = self.low + self.width * x
        with theirs(self.entry, f"log_prob of what decode gave failed on shape {tuple(x.shape)}"):
            value = self.inner.log_prob(x)
        stretch = 0.0 if self.width == 1 else x[0].numel() * torch.tensor(self.width).log().item()
        return value.flatten(1).sum(1) + stretch if value.ndim > 1 else value + stretch


class MeanAndLogVariance(nn.Module):
    """The common case: a module whose encoder returns (mean, log variance) and whose decoder returns pictures.

    Args:
        model: ``encode(x (B, C, H, W))`` → (mean, log variance), (B, D) each; ``decode(z (B, D))`` → (B, C, H, W), logits if the
            likelihood is ``"bernoulli"``, means if it is ``"gaussian"``.
        sigma: the Gaussian's standard deviation, in the model's own range.
    """

    def __init__(self, model: nn.Module, likelihood: str, sigma: float = 0.1):
        super().__init__()
        self.model = model
        self.train(model.training)
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"likelihood: {likelihood!r} is not allowed; expected bernoulli or gaussian")
        self.likelihood, self.sigma = likelihood, sigma

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal]:
        mean, log_variance = self.model.encode(x)
        return (DiagonalNormal(mean, log_variance / 2),)

    def decode(self, z: Tensor) -> Bernoulli | Gaussian:
        out = self.model.decode(z)
        return Bernoulli(out) if self.likelihood == "bernoulli" else Gaussian(out, self.sigma)


def normals(given, name: str = "posterior") -> tuple[DiagonalNormal, ...]:
    """One or several normals of this package or of torch, as a tuple of this package's.

    Raises:
        DataError: ``name`` gave something else.
    """
    layers = [given] if isinstance(given, (DiagonalNormal, torch.distributions.Distribution)) else given
    found = []
    for q in layers if isinstance(layers, (list, tuple)) else [layers]:
        q = getattr(q, "base_dist", q)  # of torch's Independent
        if isinstance(q, torch.distributions.Normal):
            q = DiagonalNormal(q.loc, q.scale.log())
        if not isinstance(q, DiagonalNormal):
            expected = "expected a DiagonalNormal or torch's Normal, or one per layer"
            raise DataError(f"{name}: gave {type(q).__name__}; {expected}")
        found.append(q)
    return tuple(found)


def read_checkpoint(path: str | Path, key: str | None) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a file written by torch.save, whose pickles are not executed.

    Args:
        key: where in a dictionary of several things the weights are, such as ``state_dict``; dots go deeper.

    Raises:
        DataError: the file is missing, is something else, or would need code to be run.
    """
    if Path(path).suffix == ".safetensors":
        return read_weights(path)[0]
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except Exception as error:  # torch's and pickle's own, of many kinds
        rule = "write them with torch.save(model.state_dict(), …) or as safetensors"
        raise DataError(f"{path}: damaged, or holds more than weights; {rule}") from error
    for part in key.split(".") if key else ():
        if not isinstance(found, dict) or part not in found:
            names = ", ".join(map(str, found)) if isinstance(found, dict) else "no names"
            raise DataError(f"{path}: has no {key!r}; it has {names}")
        found = found[part]
    if not isinstance(found, dict) or not found or not all(isinstance(t, Tensor) for t in found.values()):
        names = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise DataError(f"{path}: holds {names}, not names with tensors; say with `key` where the weights are")
    return {str(name): t.clone() for name, t in found.items()}


def entry_point(entry: str) -> Callable:
    """The function that ``file.py:function`` or ``package.module:function`` names; a file from the working directory.

    Raises:
        DataError: there is none.
    """
    place, _, name = entry.rpartition(":")
    with theirs(entry, "could not be imported"):
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(f"vaepipe_external_{Path(place).stem}", place)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    if not callable(getattr(module, name, None)):
        raise DataError(f"{entry}: {place} has no function {name!r}")
    return getattr(module, name)


def source_digest(entry: str) -> str:
    """Digest of the file that an entry point is in."""
    return hashlib.sha256(Path(inspect.getsourcefile(entry_point(entry))).read_bytes()).hexdigest()[:16]


def build(options: dict, tensors: dict[str, Tensor], shape: Sequence[int]) -> External:
    """The user's model behind this package's interface, tried on a few grey images.

    Args:
        options: ``entry``, ``range`` and ``d_z``, as in the config's section ``external``.
        shape: (C, H, W).

    Raises:
        DataError: in one line, what the entry point or the model lacks.
    """
    entry = options["entry"]
    function = entry_point(entry)
    with theirs(entry, "failed"):
        inner = function(tensors)
    if absent := [name for name in ("posterior", "decode") if not callable(getattr(inner, name, None))]:
        raise DataError(f"{entry}: gave {type(inner).__name__}, which has no {' and no '.join(absent)}")
    if getattr(inner, "training", False):
        raise DataError(f"{entry}: gave a model in training mode; call .eval() on it first")
    for count in (1, 3):  # a model may have the number of images written into it
        x = torch.full((count, *shape), 0.5)
        with torch.enable_grad(), theirs(entry, f"the model failed on images {tuple(x.shape)}"):
            x.requires_grad_()
            sizes = [q.mean.shape[-1] for q in External(inner, (), options["range"], entry).posterior(x)]
            model = External(inner, sizes, options["range"], entry).eval()
            _try(model, x, options["d_z"])
    return model


def _try(model: External, x: Tensor, d_z: int) -> None:
    posteriors, samples = model.infer(x)
    for q in posteriors:
        if q.mean.shape != q.log_std.shape or q.mean.ndim != 2 or len(q.mean) != len(x):
            shapes = tuple(q.mean.shape), tuple(q.log_std.shape)
            found = f"mean and width of shapes {shapes[0]} and {shapes[1]}"
            raise DataError(f"{model.entry}: posterior: {found}; expected ({len(x)}, D) both")
    if sum(model.latent_sizes) != d_z:
        raise DataError(f"{model.entry}: the model has {sum(model.latent_sizes)} latent dimensions; external says d_z: {d_z}")
    likelihood = model.decode(*samples)
    if absent := [name for name in ("mean", "log_prob") if not hasattr(likelihood.inner, name)]:
        kind = type(likelihood.inner).__name__
        raise DataError(f"{model.entry}: decode: gave {kind} without {' and '.join(absent)}; expected a likelihood")
    if likelihood.mean.shape != x.shape or likelihood.log_prob(x).shape != (len(x),):
        found = f"mean {tuple(likelihood.mean.shape)} and log_prob {tuple(likelihood.log_prob(x).shape)}"
        raise DataError(f"{model.entry}: decode: {found}; expected {tuple(x.shape)} and ({len(x)},)")
    if not likelihood.mean.isfinite().all():
        raise DataError(f"{model.entry}: decode: gave numbers that are not finite")
    for name, outs, ins in (("posterior", [q.mean for q in posteriors], [x]), ("decode", [likelihood.mean], samples)):
        if not any(out.requires_grad and any(g is not None for g in _gradients(out, ins)) for out in outs):
            rule = "which attacks need; take torch.no_grad, detach and NumPy out of it"
            raise DataError(f"{model.entry}: {name}: has no gradient, {rule}")


def _gradients(out: Tensor, ins: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(out.sum(), ins, retain_graph=True, allow_unused=True)
