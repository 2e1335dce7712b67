"""Numbers about a model's posteriors: pure functions of tensors, in nats. They know neither models nor files.

from vaepipe.metrics import decompose
result = decompose(mean, log_std, samples)
result.total_correlation.value, result.total_correlation.standard_error
"""

from __future__ import annotations

import importlib

_HOME = {
    "Decomposition": "decomposition",
    "Estimate": "estimate",
    "MutualInformationGap": "mig",
    "Overlap": "overlap",
    "active_units": "activity",
    "count_active": "activity",
    "decompose": "decomposition",
    "importance_weighted": "bound",
    "kl_per_dimension": "activity",
    "latent_state": "activity",
    "mutual_information_gap": "mig",
    "pairwise_overlap": "overlap",
}

__all__ = [
    "Decomposition",
    "Estimate",
    "MutualInformationGap",
    "Overlap",
    "active_units",
    "count_active",
    "decompose",
    "importance_weighted",
    "kl_per_dimension",
    "latent_state",
    "mutual_information_gap",
    "pairwise_overlap",
]


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that the facts about metrics can be read without PyTorch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"vaepipe.metrics.{_HOME[name]}"), name)
