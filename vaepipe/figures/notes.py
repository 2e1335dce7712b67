"""The sentences of captions: n, λ, intervals, and what is missing, left out or off the axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from vaepipe.analysis.families import label
from vaepipe.analysis.formatting import count, singular
from vaepipe.analysis.means import TRIAL_CLUSTERS, Means, Measure
from vaepipe.figures.captions import power_of_two

ORIGINAL = ("vae", "beta-vae", "beta-tcvae")
"""Families of the original paper; a caption names those that the study lacks."""
BETWEEN = {"training seeds": "trainings"}
"""Kind of clusters → what varies between them, where the words differ."""
FEW = 4
"""With fewer clusters than this Student's t makes an interval very wide."""
NAMED = 3
"""Things that a caption names; it counts the others."""


def describe(frame: pd.DataFrame, means: Means, measure: Measure, resamples: int, log: bool = False) -> str:
    """Return what a caption says of a panel against β: n, λ, the band, what is missing and what is off a
    logarithmic axis."""
    lines = [sample_size(frame, measure)]
    if "lam" in measure.averaged:
        lines.append(lambda_range(frame))
    lines.append(resampling(frame, measure.clusters, resamples, "Bands"))
    lines += [missing(frame, means), without_number(frame, measure.column), off_axis(means, log)]
    return joined(lines)


def sample_size(frame: pd.DataFrame, measure: Measure) -> str:
    """Return how many rows each (family, β) has, as a product of what is averaged over."""
    sizes = frame.groupby(["family", "beta"]).size()
    counts = {name: frame[name].nunique() for name in measure.averaged}
    n = f"{sizes.max():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    product = " × ".join(count(counts[name], plural) for name, plural in measure.averaged.items())
    full = np.prod([counts[name] for name in measure.averaged]) == sizes.min()
    return f"Each point is the mean of {n} {measure.rows} ({'' if full else 'at most '}{product})."


def n_per_point(frames: Iterable[pd.DataFrame], what: str) -> str:
    """Return the number of rows of each (family, β) in short, over all panels; empty where they differ."""
    sizes = {n for frame in frames for n in frame.groupby(["family", "beta"]).size()}
    return f"n = {sizes.pop():,} {what} per point" if len(sizes) == 1 else ""


def band_over(frame: pd.DataFrame, clusters: Mapping[str, str], shown: str = "bands") -> str:
    """Return in short what the intervals are taken over; empty without any."""
    moved = [count(frame[name].nunique(), plural) for name, plural in clusters.items()]
    moved = [text for text in moved if not text.startswith("1 ")]
    return f"{shown}: 95 % over {' and '.join(moved)}" if moved else ""


def trials_of_pairs(frame: pd.DataFrame) -> str:
    """Return the numbers of pairs, d_z and seeds behind a curve of pairs."""
    pairs, d_z, seeds = (frame[name].nunique() for name in ("pair", "d_z", "seed"))
    size = f"{count(pairs, 'pairs')} × {count(d_z, 'd_z')} × {count(seeds, 'seeds')}"
    return f"Each curve is of {pairs * d_z * seeds:,} attacked pairs ({size})."


def in_short(frame: pd.DataFrame, clusters: Mapping[str, str] = TRIAL_CLUSTERS) -> list[str]:
    """Return the parts of the one line in a picture of curves of pairs."""
    pairs = frame[["pair", "d_z", "seed"]].drop_duplicates().shape[0]
    return [f"n = {pairs:,} attacked pairs per curve", band_over(frame, clusters)]


def lambda_range(frame: pd.DataFrame) -> str:
    """Return the range of λ of a table of trials, in powers of two where these are whole."""
    low, high, n = frame["lam"].min(), frame["lam"].max(), frame["lam"].nunique()
    ends = power_of_two(low), power_of_two(high)
    return f"λ takes {n} values from {ends[0]} to {ends[1]}." if high > low else f"λ = {ends[0]} alone."


def resampling(frame: pd.DataFrame, clusters: Mapping[str, str], resamples: int, shown: str) -> str:
    """Return what is resampled for the intervals, and which variation they therefore lack.

    Args:
        clusters: column → plural of what it names.
        shown: what the figure draws: "Bands", "Bars" or the like.
    """
    counts = {plural: frame[name].nunique() for name, plural in clusters.items()}
    moved = [count(n, plural) for plural, n in counts.items() if n > 1]
    if moved:
        text = f"{shown} are 95 % intervals (bootstrap of {' and '.join(moved)}, {resamples:,} resamples,"
        text += " Student's t)."
    else:
        text = f"{shown} are missing: there is nothing to resample."
    for plural in (plural for plural, n in counts.items() if n == 1):
        text += f" There is one {singular(plural)}: the variation between {BETWEEN.get(plural, plural)}"
        text += " is not in them."
    few = [plural for plural, n in counts.items() if 1 < n < FEW]
    return text + (f" So few {' and '.join(few)} make them wide." if few else "")


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
        f"{label(family)} β = {beta:g}, d_z = {d_z}, seed {seed}"
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
    return f"{count(empty, 'rows')} without a number left out." if empty else ""


def off_axis(means: Means, log: bool) -> str:
    """Return which means are infinite, or not positive on a logarithmic axis, and therefore not drawn."""
    outside = [
        f"{label(family)} at β = {beta:g} ({interval.estimate:g})"
        for (family, beta), interval in means.items()
        if not np.isfinite(interval.estimate) or (log and interval.estimate <= 0)
    ]
    return f"Off the axis, not drawn: {', '.join(outside)}." if outside else ""


def pooling(means: Means, pooled: Means) -> str:
    """Return that the intervals of pooled rows are narrower; empty where they are not."""
    widths = [
        (pooled[key].high - pooled[key].low, i.high - i.low) for key, i in means.items() if key in pooled
    ]
    shares = [narrow / wide for narrow, wide in widths if wide > 0 and np.isfinite(narrow)]
    if not shares or np.median(shares) >= 1:
        return ""
    return (
        "Pooling all rows, as in the original paper, would make them narrower than the data allow (columns "
        "pooled_low and pooled_high of the table)."
    )


def joined(lines: Iterable[str]) -> str:
    """Return the lines that are not empty, one below the other."""
    return "\n".join(line for line in lines if line)
