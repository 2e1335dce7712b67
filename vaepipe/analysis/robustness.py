"""Robustness of one model under one attack: what its trials, the rows (λ, pair) of the table of attacks, tell
together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vaepipe.storage.quantity import Quantity

UNMOVED = 1e-4
"""‖d‖₂ below this counts as no distortion: the penalty won."""
SUCCESS = 0.5
"""A pair is fooled where (A − T)/(O − T) is below this: the reconstruction is nearer to the target's than to
the original's."""
BUDGETS = (0.1, 0.25, 0.5, 1.0)
"""Distortions ‖d‖₂ at which models are compared, as shares of ‖x − x_t‖₂."""


def _per_budget(name: str, meaning: str) -> tuple[Quantity, ...]:
    """Return one quantity for each budget; "{budget}" in the meaning stands for it."""
    return tuple(Quantity(f"{name}_{100 * b:.0f}", meaning.format(budget=f"{b:g}")) for b in BUDGETS)


COLUMNS: tuple[Quantity, ...] = (
    Quantity("pairs", "attacked pairs"),
    Quantity("lambdas", "values of lambda"),
    Quantity(
        "adversarial_loss",
        "mean of objective over lambda and pairs, the headline of the original paper",
        "unit of the loss",
    ),
    Quantity(
        "initial_divergence", "mean over pairs of the divergence without distortion", "unit of the loss"
    ),
    Quantity(
        "relative_loss",
        "adversarial_loss / initial_divergence, a ratio of means; 1 where no attack changes anything",
    ),
    Quantity("share_unmoved", f"share of rows with norm < {UNMOVED:g}: there the penalty won"),
    Quantity("share_converged", "share of rows that stopped by their own rule, and not at their budget"),
    Quantity("target_nll", "mean of target_nll over lambda and pairs", "nats per image"),
    Quantity(
        "auddc",
        "area under the distortion-distortion curve, mean over pairs; larger is more robust",
        label="AUDDC",
    ),
    Quantity("auddc_sd", "standard deviation of that area over pairs"),
    Quantity("auddc_pairs", "pairs that have such a curve: O > T and a row with norm <= input_distance"),
    *_per_budget(
        "success",
        f"share of the pairs with O > T of which a row with norm <= {{budget}} * input_distance has "
        f"ratio < {SUCCESS:g}",
    ),
    *(
        Quantity(
            f"best_success_{100 * b:.0f}",
            f"success_{100 * b:.0f} by any of the losses that attacked this model",
        )
        for b in BUDGETS
    ),
    Quantity(
        "noise_gain",
        "fall of the divergence by noise of a row's norm, the best of several draws, as a share of its "
        "fall by the row; median over rows",
    ),
    Quantity(
        "transfer_wins",
        "share of pairs for which a distortion made for the beta = 1 model has a lower objective at "
        "some lambda",
    ),
    Quantity(
        "restart_wins",
        "share of pairs for which projected descent from random starts has a lower objective at some lambda",
    ),
    Quantity(
        "ball_wins",
        "share of pairs for which an attack in a ball of the 2-norm has a lower objective at some lambda",
    ),
    Quantity(
        "polish_gain", "fall of the objective by a longer search from a sample of rows, mean over the rows"
    ),
    Quantity(
        "masked",
        "why the attack may be too weak to call this model robust; empty where no check found a reason",
    ),
    Quantity("probe_accuracy", "accuracy on the held-out split of a linear probe on the posterior means"),
    *_per_budget(
        "probe_accuracy",
        "share of pairs whose class by the probe is x's label, without distortion and with each one within "
        "the budget {budget} * input_distance",
    ),
    *_per_budget(
        "probe_target",
        "share of pairs whose class by the probe is x_t's label with some distortion within the budget "
        "{budget} * input_distance",
    ),
    *_per_budget(
        "defended_success",
        "share of pairs with O > T, both behind the defence, that the strongest row fools there (ratio < "
        "0.5); budget {budget} * input_distance",
    ),
    *_per_budget(
        "adaptive_success",
        "share of these pairs that are fooled behind the defence by distortions made to pass it; "
        "budget {budget} * input_distance",
    ),
    Quantity("defence_acceptance", "mean acceptance of the defence's chains"),
    Quantity("bytes", "size of the attack's files"),
)
"""The columns of the table robustness beside those of the cell and its loss."""


def ratio(adversarial: ArrayLike, target: ArrayLike, original: ArrayLike) -> np.ndarray:
    """Return (A − T)/(O − T).

    It is 1 where the reconstruction is as far from the target as without distortion, and 0 where it is as
    near as the target's own. It is NaN where O ≤ T, as the model then rebuilds x at least as near to x_t as
    x_t itself.
    """
    span = np.asarray(original, float) - target
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(span > 0, (np.asarray(adversarial, float) - target) / span, np.nan)


def by_pair(numbers: np.ndarray, *columns: ArrayLike) -> list[np.ndarray]:
    """Return each column (R,) as (N, L): row n holds the values of number n in their order, then NaN.

    Args:
        numbers: (R,) from 0 to N − 1, the pair that a row belongs to; L is the largest number of rows of a
            pair.
    """
    counts, order = np.bincount(numbers), np.argsort(numbers, kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    grids = [np.full((len(counts), counts.max(initial=0)), np.nan) for _ in columns]
    for grid, column in zip(grids, columns):
        grid[numbers[order], place] = np.asarray(column, float)[order]
    return grids


def auddc(distortion: ArrayLike, ratios: ArrayLike) -> np.ndarray:
    """Return the area under the distortion-distortion curve of each pair (…); larger is more robust, NaN
    without a point.

    Args:
        distortion: (…, L) h = ‖d‖₂ / ‖x − x_t‖₂ of each λ.
        ratios: (…, L) v = (A − T)/(O − T).

    The points with 0 ≤ h ≤ 1 are sorted by h; (max h, min v) and (1, min v) are appended; the area is by
    trapezoids. Nothing is added below the smallest h.

    Source: Gondim-Ribeiro et al. 2018, as in their public code.
    """
    h, v = np.asarray(distortion, float), np.asarray(ratios, float)
    kept = (h >= 0) & (h <= 1) & np.isfinite(v)
    last = np.where(kept, h, -np.inf).max(-1, keepdims=True, initial=-np.inf)
    least = np.where(kept, v, np.inf).min(-1, keepdims=True, initial=np.inf)
    # points that are left out lie on (max h, min v), where they add no area
    order = np.argsort(np.where(kept, h, np.inf), axis=-1, kind="stable")
    h = np.concatenate([np.take_along_axis(np.where(kept, h, last), order, -1), last, np.ones_like(last)], -1)
    v = np.concatenate([np.take_along_axis(np.where(kept, v, least), order, -1), least, least], -1)
    with np.errstate(invalid="ignore"):
        return np.where(kept.any(-1), np.trapezoid(v, h), np.nan)[()]


def success(distortion: ArrayLike, ratios: ArrayLike, budget: float) -> np.ndarray:
    """Return whether each pair (…) is fooled by any of its distortions of at most ``budget``; arguments as in
    `auddc`."""
    h, v = np.asarray(distortion, float), np.asarray(ratios, float)
    return np.any((h <= budget) & (v < SUCCESS), axis=-1)


def strongest(norm: np.ndarray, input_distance: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Return (B, P) the row of each pair that fools it most within each budget; −1 where no row within it
    moved.

    It is the row of least ratio, of equal ones the one of largest norm.

    Args:
        norm, ratios: (L, P).
        input_distance: (P,) ‖x − x_t‖₂.
    """
    rows = []
    for budget in BUDGETS:
        within = (norm <= budget * input_distance) & (norm >= UNMOVED)
        order = np.lexsort((-norm, np.nan_to_num(ratios), ~within), axis=0)
        rows.append(np.where(within.any(0), order[0], -1))
    return np.stack(rows)


def summary(rows: pd.DataFrame) -> dict[str, float]:
    """Return the columns of `COLUMNS` that follow from the trials of one model and attack."""
    initial = float(rows.groupby("pair")["initial_divergence"].first().mean())
    loss = float(rows["objective"].mean())
    columns = {
        "pairs": rows["pair"].nunique(),
        "lambdas": rows["lam"].nunique(),
        "adversarial_loss": loss,
        "initial_divergence": initial,
        "relative_loss": loss / initial if initial > 0 else float("nan"),
        "share_unmoved": float((rows["norm"] < UNMOVED).mean()),
        "share_converged": float(rows["converged"].mean()),
        "target_nll": float(rows["target_nll"].mean()),
    }
    _, h, v = _curves(rows)
    areas = auddc(h, v)
    areas = areas[np.isfinite(areas)]
    columns |= {
        "auddc": areas.mean() if len(areas) else float("nan"),
        "auddc_sd": areas.std(ddof=1) if len(areas) > 1 else float("nan"),
        "auddc_pairs": len(areas),
    }
    for budget in BUDGETS:
        columns[f"success_{100 * budget:.0f}"] = (
            float(success(h, v, budget).mean()) if len(h) else float("nan")
        )
    return columns


LABEL_COLUMNS: tuple[Quantity, ...] = (
    Quantity("label", "class of the attacked image"),
    Quantity("pairs", "pairs with O > T whose image has this class"),
    *_per_budget(
        "success",
        "share of these pairs of which a row with norm <= {budget} * input_distance has "
        f"ratio < {SUCCESS:g}",
    ),
)


def by_label(rows: pd.DataFrame, labels: np.ndarray) -> list[dict[str, float]]:
    """Return success of each class, in order, from the trials of one model and attack.

    Args:
        labels: (P,) class of the image of each pair.
    """
    pairs, h, v = _curves(rows)
    classes, table = labels[pairs.astype(int)], []
    for label in np.unique(classes):
        own = classes == label
        shares = {
            f"success_{100 * budget:.0f}": float(success(h[own], v[own], budget).mean()) for budget in BUDGETS
        }
        table.append({"label": label, "pairs": int(own.sum()), **shares})
    return table


def best(frames: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Return the columns ``best_success_…``: success by any of the attacks on a model, given the trials of
    each."""
    curves = [_curves(rows) for rows in frames]
    columns = {}
    for budget in BUDGETS:
        known = {number for numbers, _, _ in curves for number in numbers.tolist()}
        fooled = {number for numbers, h, v in curves for number in numbers[success(h, v, budget)].tolist()}
        columns[f"best_success_{100 * budget:.0f}"] = len(fooled) / len(known) if known else float("nan")
    return columns


def _curves(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs (N,) with O > T, their h = ‖d‖₂ / ‖x − x_t‖₂ and v, both (N, L)."""
    pairs, numbers = np.unique(rows["pair"], return_inverse=True)
    h, v = by_pair(numbers, rows["norm"] / rows["input_distance"], rows["ratio"])
    known = ~np.isnan(v).all(1)
    return pairs[known], h[known], v[known]
