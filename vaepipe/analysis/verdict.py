"""Whether an attack is strong enough to call a model robust: what the checks of a measure file say of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vaepipe.analysis.robustness import BUDGETS, SUCCESS, UNMOVED

AS_WELL = 0.9
"""Noise does as well as an attack if it lowers the divergence by this share of what the attack does."""
GAIN = 0.01
"""Another distortion beats the attack if its objective at some λ is lower by more than this share of the
divergence at d = 0."""
WEAK = 0.1
"""Share of beaten pairs from which on the attack counts as too weak."""
FURTHER = 0.03
"""Share of the objective by which a longer search may lower rows on average. All four are assumptions."""

INFINITE = "every row of the attack is infinite"
"""The reason of the flag of an attack whose loss has no finite value."""

GRID = ("objective", "divergence", "initial_divergence", "norm", "input_distance")
"""Names of what `judge` reads of the attack itself."""
OTHERS = {
    "transfer": "distortions made for beta = 1",
    "restart": "random restarts",
    "ball": "attacks in a ball",
}
"""Other distortions that an attack is compared with."""


def verdict(rows: pd.DataFrame, checks: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Return what `judge` returns, of the trials of one model and attack as rows of a table."""
    lambdas = np.unique(rows["lam"])
    order = np.lexsort((rows["pair"], rows["lam"]))
    grid = {name: rows[name].to_numpy(float)[order].reshape(len(lambdas), -1) for name in GRID}
    return judge(grid, lambdas, checks)


def judge(
    grid: Mapping[str, np.ndarray], lambdas: np.ndarray, checks: Mapping[str, np.ndarray]
) -> dict[str, object]:
    """Return the columns of `robustness.COLUMNS` that follow from the checks; only those of checks that were
    made.

    Args:
        grid: the arrays of `GRID`, each (L, P).
        lambdas: (L,), increasing.
        checks: arrays of a measure file by name, and ``ball_divergence``, ``ball_norm`` (K, P) of attacks in
            a ball of the 2-norm.
    """
    columns: dict[str, object] = {}
    reasons = [] if np.isfinite(grid["divergence"]).any() else [INFINITE]
    if "noise_divergence" in checks:
        gain = noise_gain(grid, checks["noise_divergence"])
        columns["noise_gain"] = gain
        if gain >= AS_WELL:
            reasons.append(f"noise of the same norm does {100 * gain:.0f} % as well")
    for name, description in OTHERS.items():
        if f"{name}_divergence" in checks:
            share = share_beaten(grid, lambdas, checks[f"{name}_divergence"], checks[f"{name}_norm"])
            columns[f"{name}_wins"] = share
            if share > WEAK:
                reasons.append(f"{description} do better for {100 * share:.0f} % of pairs")
    if "polish_objective" in checks:
        before, after = np.asarray(checks["polish_objective"], float).T
        gain = float(np.mean((before - after) / np.abs(before))) if len(before) else float("nan")
        columns["polish_gain"] = gain
        if gain > FURTHER:
            reasons.append(f"a longer search lowers the objective by {100 * gain:.0f} % on average")
    columns["masked"] = "; ".join(reasons)
    if "probe_class" in checks:
        columns["probe_accuracy"] = float(checks["probe_accuracy"])
        columns |= _probed(grid, checks["probe_class"], checks["probe_label"])
    for array, column in (("defended_ratio", "defended_success"), ("adaptive_ratio", "adaptive_success")):
        if array in checks:
            columns |= _share_fooled(column, checks[array])
    if "acceptance" in checks:
        columns["defence_acceptance"] = float(checks["acceptance"])
    return columns


def noise_gain(grid: Mapping[str, np.ndarray], divergence: np.ndarray) -> float:
    """Return the median over moved rows of (Δ₀ − noise's divergence) / (Δ₀ − the row's); NaN where no row
    moved."""
    gain = grid["initial_divergence"] - grid["divergence"]
    by_noise = grid["initial_divergence"] - divergence
    moved = (grid["norm"] >= UNMOVED) & (gain > 0)
    return float(np.median(by_noise[moved] / gain[moved])) if moved.any() else float("nan")


def share_beaten(
    grid: Mapping[str, np.ndarray], lambdas: np.ndarray, divergence: np.ndarray, norm: np.ndarray
) -> float:
    """Return the share of pairs for which another distortion beats the attack.

    It does if its objective, divergence + λ‖d‖₂, is lower at any λ by more than `GAIN` of the divergence at d
    = 0.

    Args:
        divergence, norm: (K, P) of K other distortions.
    """
    other = (divergence[:, None] + lambdas[:, None] * norm[:, None]).min(0)  # L, P
    return float((other < grid["objective"] - GAIN * np.abs(grid["initial_divergence"])).any(0).mean())


def _probed(grid: Mapping[str, np.ndarray], classes: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    columns: dict[str, object] = {}
    for budget in BUDGETS:
        within = grid["norm"] <= budget * grid["input_distance"]
        keeps_label = (~within | (classes == labels[:, 0])).all(0)
        gets_target = (within & (classes == labels[:, 1])).any(0)
        columns[f"probe_accuracy_{100 * budget:.0f}"] = float(keeps_label.mean())
        columns[f"probe_target_{100 * budget:.0f}"] = float(gets_target.mean())
    return columns


def _share_fooled(column: str, ratios: np.ndarray) -> dict[str, object]:
    """Return the share of pairs with a ratio, (B, P), that are fooled within each budget."""
    columns: dict[str, object] = {}
    for budget, values in zip(BUDGETS, ratios):
        known = values[~np.isnan(values)]
        columns[f"{column}_{100 * budget:.0f}"] = (
            float((known < SUCCESS).mean()) if len(known) else float("nan")
        )
    return columns
