"""Numbers as text for figures, notes and tables for readers."""

from __future__ import annotations

from vaepipe.analysis.intervals import Interval


def short(value: float) -> str:
    """Return three significant digits; a power of ten only where it is shorter."""
    rounded = float(f"{value:.3g}")
    if 1000 <= abs(rounded) < 1e6:
        return f"{rounded:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def interval_text(interval: Interval) -> str:
    """Return "estimate [low, high]"; an end that could not be estimated is a dash."""
    low, high = ("–" if end != end else short(end) for end in interval[1:])  # only NaN differs from itself
    return f"{short(interval[0])} [{low}, {high}]"


def count(n: int, plural: str) -> str:
    """Return a number with its noun: "20 pairs", "1 pair"."""
    return f"{n:,} {singular(plural) if n == 1 else plural}"


def singular(plural: str) -> str:
    """Return a plural without its s."""
    return plural.removesuffix("s")
