"""The sentences under the panels: n, λ, intervals, and what is missing, left out or off the axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from vaepipe.analysis.families import label
from vaepipe.analysis.formatting import count, singular
from vaepipe.analysis.means import Means, Measure

ORIGINAL = ("vae", "beta-vae", "beta-tcvae")
"""Families of the original paper; a note names those that the study lacks."""
BETWEEN = {"training seeds": "trainings"}
"""Kind of clusters → what varies between them, where the words differ."""
FEW = 4
"""With fewer clusters than this Student's t makes an interval very wide."""
NAMED = 3
"""Things that a note names; it counts the others."""


def describe(frame: pd.DataFrame, means: Means, measure: Measure, resamples: int, log: bool = False) -> str:
    """Return the note of a panel against β: n, λ, the band, what is missing and what is off a logarithmic
    axis."""
    lines = [sample_size(frame, measure)]
    if "lambda" in measure.averaged:
        lines.append(lambda_range(frame))
    lines.append(resampling(frame, measure.clusters, resamples, "band"))
    lines += [missing(frame, means), without_number(frame, measure.column), off_axis(means, log)]
    return joined(lines)


def sample_size(frame: pd.DataFrame, measure: Measure) -> str:
    """Return how many rows each (family, β) has, as a product of what is averaged over."""
    sizes = frame.groupby(["family", "beta"]).size()
    counts = {name: frame[name].nunique() for name in measure.averaged}
    n = f"{sizes.max():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    product = " × ".join(count(counts[name], plural) for name, plural in measure.averaged.items())
    full = np.prod([counts[name] for name in measure.averaged]) == sizes.min()
    return f"n = {n} {measure.rows} per point ({'' if full else 'at most '}{product})."


def trials_of_pairs(frame: pd.DataFrame) -> str:
    """Return the numbers of pairs, d_z and seeds behind a curve of pairs, and the range of λ."""
    pairs, d_z, seeds = (frame[name].nunique() for name in ("pair", "d_z", "seed"))
    return f"n = {count(pairs, 'pairs')} × {count(d_z, '$d_z$')} × {count(seeds, 'seeds')}."


def lambda_range(frame: pd.DataFrame) -> str:
    """Return the range of λ of a table of trials, in powers of two where these are whole."""
    low, high = frame["lambda"].min(), frame["lambda"].max()

    def power(value: float) -> str:
        exponent = np.log2(value)
        return f"$2^{{{exponent:.0f}}}$" if abs(exponent - round(exponent)) < 1e-6 else f"{value:.3g}"

    return f"λ from {power(low)} to {power(high)}." if high > low else f"λ = {power(low)} alone."


def resampling(frame: pd.DataFrame, clusters: Mapping[str, str], resamples: int, shown: str) -> str:
    """Return what is resampled for the intervals, and which variation they therefore lack.

    Args:
        clusters: column → plural of what it names.
        shown: what the figure draws: "band", "interval" or the like.
    """
    counts = {plural: frame[name].nunique() for name, plural in clusters.items()}
    moved = [count(n, plural) for plural, n in counts.items() if n > 1]
    text = f"No {shown}"
    if moved:
        text = f"95 % {shown}: bootstrap over {' and '.join(moved)}, {resamples:,} resamples, Student's t"
    for plural in (plural for plural, n in counts.items() if n == 1):
        text += f"; one {singular(plural)}: variation between {BETWEEN.get(plural, plural)} is not in it"
    few = [plural for plural, n in counts.items() if 1 < n < FEW]
    return text + (f"; so few {' and '.join(few)} make it wide." if few else ".")


def missing(frame: pd.DataFrame, points: Iterable[tuple[str, float]]) -> str:
    """Return which families of the original paper the study lacks, and which cells of its grid have no rows.

    Args:
        points: (family, β) that the panel shows.
    """
    points = list(points)
    families = {family for family, _ in points}
    absent = [label(family) for family in ORIGINAL[1:] if family not in families]
    if ("vae", 1.0) not in points:
        absent.append("β = 1")
    there = set(frame.groupby(["family", "beta", "d_z", "seed"]).groups)
    d_zs, seeds = frame["d_z"].unique(), frame["seed"].unique()
    cells = [(family, beta, d_z, seed) for family, beta in points if beta for d_z in d_zs for seed in seeds]
    gaps = [
        f"{label(family)} β = {beta:g}, $d_z$ = {d_z}, seed {seed}"
        for family, beta, d_z, seed in cells
        if (family, beta, d_z, seed) not in there
    ]
    lines = [f"Not in this study: {', '.join(absent)}." if absent else ""]
    lines.append(f"No rows of {first_few(gaps)}." if gaps else "")
    return joined(lines)


def first_few(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    more = f"; and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more


def without_number(frame: pd.DataFrame, column: str) -> str:
    """Return how many rows have no number, and are left out."""
    empty = int(frame[column].isna().sum())
    return f"Left out: {count(empty, 'rows')} without a number." if empty else ""


def off_axis(means: Means, log: bool) -> str:
    """Return which means are infinite, or not positive on a logarithmic axis, and therefore not drawn."""
    outside = [
        f"{label(family)} at β = {beta:g} ({interval.estimate:g})"
        for (family, beta), interval in means.items()
        if not np.isfinite(interval.estimate) or (log and interval.estimate <= 0)
    ]
    return f"Off the axis, not drawn: {', '.join(outside)}." if outside else ""


def pooling(means: Means, pooled: Means) -> str:
    """Return how much narrower the intervals of pooled rows are, the median over the points; empty where
    there are none."""
    widths = [
        (pooled[key].high - pooled[key].low, i.high - i.low) for key, i in means.items() if key in pooled
    ]
    shares = [narrow / wide for narrow, wide in widths if wide > 0 and np.isfinite(narrow)]
    if not shares:
        return ""
    return (
        f"Pooled rows, as in the original paper, would make it {np.median(shares):.2g} × as wide (in "
        "the table)."
    )


def joined(lines: Iterable[str]) -> str:
    """Return the lines that are not empty, one below the other."""
    return "\n".join(line for line in lines if line)
