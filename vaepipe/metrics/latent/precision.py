"""The divergence of two images' posteriors, and the precision of the code: `vaepipe.metrics.precision`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.latent_metric import LatentMetric, Posteriors
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.metrics.estimate import Estimate

NATS = "nats"


def measure(posteriors: Posteriors) -> tuple[Estimate, ...]:
    """Mean, median and 99 % quantile of Δ₀ over pairs of images; Σ_k (exp(2 I_k) − 1)."""
    from vaepipe.metrics import precision
    from vaepipe.models.distributions import DiagonalNormal

    q = DiagonalNormal(posteriors.mean, posteriors.log_std)
    median, high = precision.pair_divergence_quantiles(q, (0.5, 0.99), posteriors.seed)
    return precision.mean_pair_divergence(q), median, high, precision.squared_precision(q)


def measure_dimensions(posteriors: Posteriors) -> tuple[Tensor, ...]:
    """I_k, Var q(z_k), E ln σ_k and the kurtosis of the means, (D,) each."""
    from vaepipe.metrics import precision
    from vaepipe.models.distributions import DiagonalNormal

    found = precision.dimensions(DiagonalNormal(posteriors.mean, posteriors.log_std))
    return found.precision, found.variance, found.mean_log_std, found.kurtosis


METRIC = LatentMetric(
    quantities=(
        Quantity("pair_divergence", "Delta_0: mean KL(q(z|x) || q(z|x_t)) over all pairs of images", NATS),
        Quantity("pair_divergence_median", "median of Delta_0 over 20,000 random pairs", NATS),
        Quantity("pair_divergence_p99", "99 % quantile of Delta_0 over 20,000 random pairs", NATS),
        Quantity(
            "squared_precision",
            "sum over dimensions of exp(2 I_k) - 1, which pair_divergence is if each sigma_k is one number",
        ),
    ),
    measure=measure,
    dimension_quantities=(
        Quantity("precision", "I_k = ln Var q(z_k) / 2 - E ln sigma_k", NATS, "d_z"),
        Quantity("variance", "Var q(z_k) of the aggregate posterior", axes="d_z"),
        Quantity("mean_log_std", "E ln sigma_k over images", axes="d_z"),
        Quantity("kurtosis", "kurtosis of the posterior means over images; 3 if normal", axes="d_z"),
    ),
    measure_dimensions=measure_dimensions,
)
