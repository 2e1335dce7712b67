"""What a trial metric is: a measurement of what an attack does to reconstructions. Imports without torch.

A trial is one distortion of one pair: of one λ of a penalised attack, or of one radius of an attack of
bounded size.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.metrics.decoding import Decoding


@dataclass(frozen=True)
class Pairs:
    """P pairs without distortion.

    Attributes:
        x, target: (P, C, H, W) in [0,1].
        original: decoded samples of the posterior of x.
        of_target: decoded samples of the posterior of the target.
    """

    x: Tensor
    target: Tensor
    original: Decoding
    of_target: Decoding


@dataclass(frozen=True)
class Trial:
    """The same pairs with one distortion each.

    Attributes:
        pairs: the pairs without distortion.
        distortion: (P, C, H, W) d, with x + d in [0,1].
        adversarial: decoded samples of the posterior of x + d, with the noise of `Pairs.original`.
    """

    pairs: Pairs
    distortion: Tensor
    adversarial: Decoding


def _nothing(pairs: Pairs) -> dict[str, Tensor]:
    return {}


@dataclass(frozen=True)
class TrialMetric:
    """Quantities that one computation gives; ``vaepipe/metrics/trial/<name>.py`` holds one as ``METRIC``.

    Attributes:
        quantities: in the order of the columns. Axes "L,P" are those of a number per trial, "P" per pair. In
            the files of attacks of bounded size the radii take the place of the λ.
        measure: `Trial` → the quantities that differ between trials, by name, (P, …).
        measure_pairs: `Pairs` → the quantities of the pairs alone, by name, (P, …).
        in_ball_table: whether the quantities are columns of the table of attacks of bounded size.
    """

    quantities: tuple[Quantity, ...]
    measure: Callable[[Trial], dict[str, Tensor]]
    measure_pairs: Callable[[Pairs], dict[str, Tensor]] = _nothing
    in_ball_table: bool = True


def find_trial_metric(name: str) -> TrialMetric:
    """Return the metric of ``vaepipe/metrics/trial/<name>.py``."""
    return importlib.import_module(f"vaepipe.metrics.trial.{name.replace('-', '_')}").METRIC


def trial_quantities(names: Iterable[str]) -> tuple[Quantity, ...]:
    """Return all quantities of these trial metrics, in order."""
    return tuple(quantity for name in names for quantity in find_trial_metric(name).quantities)
