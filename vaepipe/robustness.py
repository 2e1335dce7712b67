"""One row per model and attack: what the rows (λ, pair) of `vaepipe.collect`'s table of attacks say together."""

from __future__ import annotations

import numpy as np

UNMOVED = 1e-4
"""‖d‖₂ below this counts as no distortion: the penalty won."""
SUCCESS = 0.5
"""A pair is fooled where (A − T)/(O − T) is below this: the reconstruction is nearer to the target's than to the original's."""
BUDGETS = (0.1, 0.25, 0.5, 1.0)
"""Distortions ‖d‖₂ at which models are compared, as shares of ‖x − x_t‖₂."""

COLUMNS = {
    "loss": "what the attack minimises beside lambda * norm",
    "pairs": "attacked pairs",
    "lambdas": "values of lambda",
    "adversarial_loss": "mean of objective over lambda and pairs, nats: the seed's headline",
    "initial_divergence": "mean over pairs of the divergence without distortion, nats",
    "relative_loss": "adversarial_loss / initial_divergence, a ratio of means; 1 where no attack does anything",
    "share_unmoved": f"share of rows with norm < {UNMOVED:g}: there the penalty won",
    "share_converged": "share of rows that stopped by their own rule",
    "target_nll": "mean of target_nll over lambda and pairs, nats per image",
    "auddc": "area under the distortion-distortion curve, mean over pairs; larger is more robust",
    "auddc_sd": "standard deviation of that area over pairs",
    "auddc_pairs": "pairs that have such a curve: O > T and a row with norm <= input_distance",
}
for _budget in BUDGETS:
    COLUMNS[f"success_{100 * _budget:.0f}"] = (
        f"share of the pairs with O > T of which a row with norm <= {_budget:g} * input_distance has ratio < {SUCCESS:g}"
    )
COLUMNS["bytes"] = "size of the attack's files"


def ratio(adversarial, target, original):
    """(A − T)/(O − T): 1 where the reconstruction is as far from the target as without distortion, 0 where it is as near as the
    target's own; NaN where O ≤ T, as the model then rebuilds x at least as near to x_t as x_t itself."""
    span = np.asarray(original, float) - target
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(span > 0, (np.asarray(adversarial, float) - target) / span, np.nan)


def auddc(distortion, ratios) -> float:
    """Area under the distortion-distortion curve of one pair; larger is more robust, NaN without a point.

    Args:
        distortion: (L,) h = ‖d‖₂ / ‖x − x_t‖₂ of each λ.
        ratios: (L,) v = (A − T)/(O − T).

    The points with 0 ≤ h ≤ 1 are sorted by h; (max h, min v) and (1, min v) are appended; the area is by trapezoids. Nothing
    is added below the smallest h.

    Source: Gondim-Ribeiro et al. 2018, as in their public code.
    """
    h, v = np.asarray(distortion, float), np.asarray(ratios, float)
    kept = (h >= 0) & (h <= 1) & np.isfinite(v)
    if not kept.any():
        return float("nan")
    order = np.argsort(h[kept], kind="stable")
    h, v = h[kept][order], v[kept][order]
    return float(np.trapezoid(np.append(v, [v.min()] * 2), np.append(h, [h[-1], 1.0])))


def success(distortion, ratios, budget: float) -> bool:
    """Whether one pair is fooled by any of its distortions of at most ``budget``; arguments as in `auddc`."""
    h, v = np.asarray(distortion, float), np.asarray(ratios, float)
    return bool(((h <= budget) & (v < SUCCESS)).any())


def summary(rows) -> dict[str, float]:
    """`COLUMNS`, but for the loss and the bytes, of the rows (a data frame) of one model and attack."""
    initial = rows.groupby("pair")["initial_divergence"].first().mean()
    loss = rows["objective"].mean()
    found = {
        "pairs": rows["pair"].nunique(),
        "lambdas": rows["lambda"].nunique(),
        "adversarial_loss": loss,
        "initial_divergence": initial,
        "relative_loss": loss / initial if initial > 0 else float("nan"),
        "share_unmoved": (rows["norm"] < UNMOVED).mean(),
        "share_converged": rows["converged"].mean(),
        "target_nll": rows["target_nll"].mean(),
    }
    curves = [
        ((pair["norm"] / pair["input_distance"]).to_numpy(), pair["ratio"].to_numpy())
        for _, pair in rows.groupby("pair")
        if pair["ratio"].notna().any()
    ]
    areas = np.array([auddc(h, v) for h, v in curves])
    areas = areas[np.isfinite(areas)]
    found |= {
        "auddc": areas.mean() if len(areas) else float("nan"),
        "auddc_sd": areas.std(ddof=1) if len(areas) > 1 else float("nan"),
        "auddc_pairs": len(areas),
    }
    for budget in BUDGETS:
        hits = [success(h, v, budget) for h, v in curves]
        found[f"success_{100 * budget:.0f}"] = float(np.mean(hits)) if hits else float("nan")
    return found
