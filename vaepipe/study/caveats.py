"""Models that reproduce what published code computes and are not correct: tables and figures say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaepipe.models.estimators import AS_RELEASED
from vaepipe.models.family import find_family


def caveat(spec: Mapping[str, Any]) -> str:
    """Return the caveat of a trained model; empty if it has none.

    Args:
        spec: a `vaepipe.study.specs.ModelSpec` or `ExternalSpec` as a mapping.
    """
    estimator = spec.get("train", {}).get("estimator", "")
    uses_it = find_family(spec["family"]).estimates_tc and spec["beta"] != 1
    return f"estimator {estimator}: as released, not correct" if uses_it and estimator in AS_RELEASED else ""
