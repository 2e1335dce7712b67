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
    """A measurement of what attacks do to reconstructions, which may give several numbers.

    ``vaepipe/metrics/trial/<name>.py`` holds one as ``METRIC``.

    Attributes:
        quantities: What is measured, in the order of the columns. A quantity with the axes "L,P" is a number
            per trial, one with "P" a number per pair. In the files of ball attacks the radii take the place
            of the λ.
        measure: A function that takes a `Trial`, all P pairs at one λ, and returns the quantities that differ
            between trials, by name, (P, …).
        measure_pairs: A function that takes the `Pairs` and returns their quantities without distortion, by
            name, (P, …).
        in_ball_table: Whether the quantities are also columns of the table of ball attacks.
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
