"""What is measured of a model's posteriors: pure functions of tensors, in nats. They know neither models nor files.

from vaepipe.metrics import decompose
result = decompose(mean, log_std, samples)
result.total_correlation.value, result.total_correlation.standard_error
"""

from vaepipe.metrics.activity import active_units, count_active, kl_per_dimension, name_state
from vaepipe.metrics.bound import importance_weighted
from vaepipe.metrics.decomposition import Decomposition, decompose
from vaepipe.metrics.estimate import Estimate
from vaepipe.metrics.mig import MutualInformationGap, mutual_information_gap
from vaepipe.metrics.overlap import Overlap, pairwise_overlap

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
    "mutual_information_gap",
    "name_state",
    "pairwise_overlap",
]
