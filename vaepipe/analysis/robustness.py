"""One row per model and attack: what the rows (λ, pair) of `vaepipe.stages.collect`'s table of attacks say together."""

from __future__ import annotations

import numpy as np

UNMOVED = 1e-4
"""‖d‖₂ below this counts as no distortion: the penalty won."""
SUCCESS = 0.5
"""A pair is fooled where (A − T)/(O − T) is below this: the reconstruction is nearer to the target's than to the original's."""
BUDGETS = (0.1, 0.25, 0.5, 1.0)
"""Distortions ‖d‖₂ at which models are compared, as shares of ‖x − x_t‖₂."""

AS_WELL = 0.9
"""Noise does as well as an attack if it lowers the divergence by this share of what the attack does."""
GAIN = 0.01
"""Another distortion beats the attack if its objective at some λ is lower by more than this share of the divergence at d = 0."""
WEAK = 0.1
"""Share of beaten pairs from which on the attack counts as too weak. All three are assumptions."""

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
for _budget in BUDGETS:
    COLUMNS[f"best_success_{100 * _budget:.0f}"] = (
        f"success_{100 * _budget:.0f} by any of the losses that this model was attacked by"
    )
COLUMNS |= {
    "noise_gain": "fall of the divergence by the best of several draws of noise of a row's norm / by the row, median over rows",
    "transfer_wins": "share of pairs for which a distortion made for the beta = 1 model has a lower objective at some lambda",
    "restart_wins": "share of pairs for which projected descent from random starts has a lower objective at some lambda",
    "ball_wins": "share of pairs for which an attack in a ball of the 2-norm has a lower objective at some lambda",
    "masked": "why the attack may be too weak to call this model robust; empty where no check says so",
    "probe_accuracy": "accuracy on the held-out split of a linear probe on the posterior means",
}
_PER_BUDGET = {
    "probe_accuracy": "share of pairs whose class by the probe is x's label without and with any distortion within the budget",
    "probe_target": "share of pairs whose class by the probe is x_t's label with some distortion within the budget",
    "defended_success": "share of pairs with O > T, both behind the defence, whose strongest row still has ratio < 0.5 there",
    "adaptive_success": "the same for distortions made to pass the defence",
}
for _name, _text in _PER_BUDGET.items():
    COLUMNS |= {f"{_name}_{100 * _budget:.0f}": f"{_text}; budget {_budget:g} * input_distance" for _budget in BUDGETS}
COLUMNS |= {"defence_acceptance": "mean acceptance of the defence's chains", "bytes": "size of the attack's files"}


def ratio(adversarial, target, original):
    """(A − T)/(O − T): 1 where the reconstruction is as far from the target as without distortion, 0 where it is as near as the
    target's own; NaN where O ≤ T, as the model then rebuilds x at least as near to x_t as x_t itself."""
    span = np.asarray(original, float) - target
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(span > 0, (np.asarray(adversarial, float) - target) / span, np.nan)


def by_pair(numbers, *columns) -> list[np.ndarray]:
    """(N, L) of each column (R,): the rows of number 0 to N − 1, in their order, NaN where one has fewer than L."""
    counts, order = np.bincount(numbers), np.argsort(numbers, kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    grids = [np.full((len(counts), counts.max(initial=0)), np.nan) for _ in columns]
    for grid, column in zip(grids, columns):
        grid[numbers[order], place] = np.asarray(column, float)[order]
    return grids


def auddc(distortion, ratios):
    """Area under the distortion-distortion curve of each pair (…); larger is more robust, NaN without a point.

    Args:
        distortion: (…, L) h = ‖d‖₂ / ‖x − x_t‖₂ of each λ.
        ratios: (…, L) v = (A − T)/(O − T).

    The points with 0 ≤ h ≤ 1 are sorted by h; (max h, min v) and (1, min v) are appended; the area is by trapezoids. Nothing
    is added below the smallest h.

    Source: Gondim-Ribeiro et al. 2018, as in their public code.
    """
    h, v = np.asarray(distortion, float), np.asarray(ratios, float)
    kept = (h >= 0) & (h <= 1) & np.isfinite(v)
    last = np.where(kept, h, -np.inf).max(-1, keepdims=True, initial=-np.inf)
    least = np.where(kept, v, np.inf).min(-1, keepdims=True, initial=np.inf)
    # points that do not count lie on (max h, min v), where they add no area
    order = np.argsort(np.where(kept, h, np.inf), axis=-1, kind="stable")
    h = np.concatenate([np.take_along_axis(np.where(kept, h, last), order, -1), last, np.ones_like(last)], -1)
    v = np.concatenate([np.take_along_axis(np.where(kept, v, least), order, -1), least, least], -1)
    with np.errstate(invalid="ignore"):
        return np.where(kept.any(-1), np.trapezoid(v, h), np.nan)[()]


def success(distortion, ratios, budget: float):
    """Whether each pair (…) is fooled by any of its distortions of at most ``budget``; arguments as in `auddc`."""
    h, v = np.asarray(distortion, float), np.asarray(ratios, float)
    return ((h <= budget) & (v < SUCCESS)).any(-1)


def strongest(norm, input_distance, ratios) -> np.ndarray:
    """(B, P) the row of each pair that fools it most within each budget: of least ratio, of equal ones of largest norm; −1 where
    every row within the budget is unmoved.

    Args:
        norm, ratios: (L, P). input_distance: (P,).
    """
    found = []
    for budget in BUDGETS:
        within = (norm <= budget * input_distance) & (norm >= UNMOVED)
        order = np.lexsort((-norm, np.nan_to_num(ratios), ~within), axis=0)
        found.append(np.where(within.any(0), order[0], -1))
    return np.stack(found)


def summary(rows) -> dict[str, float]:
    """`COLUMNS`, but for the loss and the bytes, of the rows (a data frame) of one model and attack."""
    initial = float(rows.groupby("pair")["initial_divergence"].first().mean())
    loss = float(rows["objective"].mean())
    found = {
        "pairs": rows["pair"].nunique(),
        "lambdas": rows["lambda"].nunique(),
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
    found |= {
        "auddc": areas.mean() if len(areas) else float("nan"),
        "auddc_sd": areas.std(ddof=1) if len(areas) > 1 else float("nan"),
        "auddc_pairs": len(areas),
    }
    for budget in BUDGETS:
        found[f"success_{100 * budget:.0f}"] = float(success(h, v, budget).mean()) if len(h) else float("nan")
    return found


def best(frames: list) -> dict[str, float]:
    """``best_success_…``: success by any of a model's attacks, whose rows (data frames) are given."""
    curves = [_curves(rows) for rows in frames]
    found = {}
    for budget in BUDGETS:
        known = {number for numbers, _, _ in curves for number in numbers.tolist()}
        fooled = {number for numbers, h, v in curves for number in numbers[success(h, v, budget)].tolist()}
        found[f"best_success_{100 * budget:.0f}"] = len(fooled) / len(known) if known else float("nan")
    return found


def _curves(rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs (N,) with O > T, their h = ‖d‖₂ / ‖x − x_t‖₂ and v (N, L)."""
    pairs, numbers = np.unique(rows["pair"], return_inverse=True)
    h, v = by_pair(numbers, rows["norm"] / rows["input_distance"], rows["ratio"])
    known = ~np.isnan(v).all(1)
    return pairs[known], h[known], v[known]


def verdict(rows, checks: dict[str, np.ndarray]) -> dict[str, object]:
    """What `vaepipe.stages.check` found, and attacks in a ball of the 2-norm (``ball_divergence``, ``ball_norm``, (K, P)), beside the
    rows (a data frame) of the attack that it checked; only what was checked."""
    lambdas, order = np.unique(rows["lambda"]), np.lexsort((rows["pair"], rows["lambda"]))
    names = ("objective", "divergence", "initial_divergence", "norm", "input_distance")
    grid = {name: rows[name].to_numpy(float)[order].reshape(len(lambdas), -1) for name in names}  # L, P
    found: dict[str, object] = {}
    reasons = []
    if "noise_divergence" in checks:
        found["noise_gain"] = noise_gain(grid, checks["noise_divergence"])
        if found["noise_gain"] >= AS_WELL:
            reasons.append(f"noise of the same norm does {100 * found['noise_gain']:.0f} % as well")
    others = {"transfer": "distortions made for beta = 1", "restart": "random restarts", "ball": "attacks in a ball"}
    for name, what in others.items():
        if f"{name}_divergence" in checks:
            share = beaten(grid, lambdas, checks[f"{name}_divergence"], checks[f"{name}_norm"])
            found[f"{name}_wins"] = share
            if share > WEAK:
                reasons.append(f"{what} do better for {100 * share:.0f} % of pairs")
    found["masked"] = "; ".join(reasons)
    if "probe_class" in checks:
        found |= {"probe_accuracy": float(checks["probe_accuracy"])} | _probed(grid, checks["probe_class"], checks["probe_label"])
    for name, column in (("defended_ratio", "defended_success"), ("adaptive_ratio", "adaptive_success")):
        if name in checks:
            for budget, values in zip(BUDGETS, checks[name]):
                known = ~np.isnan(values)
                found[f"{column}_{100 * budget:.0f}"] = float((values[known] < SUCCESS).mean()) if known.any() else float("nan")
    return found | ({"defence_acceptance": float(checks["acceptance"])} if "acceptance" in checks else {})


def noise_gain(grid: dict[str, np.ndarray], divergence: np.ndarray) -> float:
    """Median over the moved rows of (Δ₀ − noise's divergence) / (Δ₀ − the row's); NaN where no row moved."""
    gain, by_noise = grid["initial_divergence"] - grid["divergence"], grid["initial_divergence"] - divergence
    moved = (grid["norm"] >= UNMOVED) & (gain > 0)
    return float(np.median(by_noise[moved] / gain[moved])) if moved.any() else float("nan")


def beaten(grid: dict[str, np.ndarray], lambdas: np.ndarray, divergence: np.ndarray, norm: np.ndarray) -> float:
    """Share of pairs for which any of K other distortions has a lower objective, divergence + λ‖d‖₂, at any λ, by more than
    `GAIN`; ``divergence``, ``norm``: (K, P)."""
    other = (divergence[:, None] + lambdas[:, None] * norm[:, None]).min(0)  # L, P
    return float((other < grid["objective"] - GAIN * np.abs(grid["initial_divergence"])).any(0).mean())


def _probed(grid: dict[str, np.ndarray], classes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    found = {}
    for budget in BUDGETS:
        within = grid["norm"] <= budget * grid["input_distance"]
        found[f"probe_accuracy_{100 * budget:.0f}"] = float((~within | (classes == labels[:, 0])).all(0).mean())
        found[f"probe_target_{100 * budget:.0f}"] = float((within & (classes == labels[:, 1])).any(0).mean())
    return found
