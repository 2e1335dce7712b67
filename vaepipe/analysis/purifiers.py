"""Success of attacks behind purifiers: the rows of the table of purifiers."""

from __future__ import annotations

import numpy as np

from vaepipe.analysis.robustness import BUDGETS, SUCCESS
from vaepipe.storage.quantity import Quantity

UNAWARE, ADAPTIVE = "success", "adaptive_success"
WHO = {
    UNAWARE: "by the attack's strongest row, made without the purifier in mind",
    ADAPTIVE: "by a distortion of at most the norm of that row, made to pass the purifier",
}

COLUMNS: tuple[Quantity, ...] = (
    Quantity(
        "purifier",
        "what the defender does to the input; none: nothing; any: fooled behind at least one purifier, the "
        "worst case for the defender; all: fooled behind every one of them",
    ),
    Quantity("pairs", "pairs with O > T behind the purifier, of any and all: behind every purifier"),
    *(
        Quantity(
            f"{name}_{100 * budget:.0f}",
            f"share of these pairs that are fooled (ratio < {SUCCESS:g} behind the purifier) within "
            f"{budget:g} * input_distance, {who}",
        )
        for name, who in WHO.items()
        for budget in BUDGETS
    ),
)


def purifier_rows(names: list[str], unaware: np.ndarray, adaptive: np.ndarray) -> list[dict[str, object]]:
    """Return one row per purifier, then ``any`` and ``all`` of them without the first one, ``none``.

    Args:
        unaware, adaptive: (K, B, P) ratios, NaN where O ≤ T.
    """
    known = ~np.isnan(unaware)
    fooled = {UNAWARE: unaware < SUCCESS, ADAPTIVE: adaptive < SUCCESS}
    rows = []
    for k, name in enumerate(names):
        rows.append(_row(name, {key: values[k] for key, values in fooled.items()}, known[k]))
    in_all = known[1:].all(0)
    for name, join in (("any", np.any), ("all", np.all)):
        rows.append(_row(name, {key: join(values[1:], axis=0) for key, values in fooled.items()}, in_all))
    return rows


def _row(name: str, fooled: dict[str, np.ndarray], known: np.ndarray) -> dict[str, object]:
    """Return a row from (B, P) booleans: fooled, and known to have O > T."""
    row: dict[str, object] = {"purifier": name, "pairs": int(known[0].sum())}
    for key, values in fooled.items():
        for b, budget in enumerate(BUDGETS):
            share = float(values[b][known[b]].mean()) if known[b].any() else float("nan")
            row[f"{key}_{100 * budget:.0f}"] = share
    return row
