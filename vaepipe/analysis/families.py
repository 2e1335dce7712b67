"""Model families as tables and figures show them: names, order, and where a line over β starts."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from vaepipe.models.family import find_family


def label(family: str) -> str:
    """Return the name of a family for readers, for example "β-TCVAE"."""
    return find_family(family).label


def ordered(families: Iterable[str]) -> list[str]:
    """Return the distinct families: those of this package in their fixed order, then the others by name."""
    return sorted(set(families), key=lambda family: (find_family(family).order, family))


def varying_with_beta(families: Iterable[str]) -> list[str]:
    """Return the distinct families that have one model per β, in order: a figure shows them as lines."""
    return [family for family in ordered(families) if find_family(family).uses_beta]


def at_beta_one(family: str) -> str:
    """Return the family whose model at β = 1 starts the line of ``family``: "vae", or the family itself."""
    return find_family(family).at_beta_one


def with_posterior_width(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of families whose posteriors have a width: an autoencoder's, without ELBO and KL,
    are left out."""
    families = [family for family in frame["family"].unique() if find_family(family).has_width]
    return frame[frame["family"].isin(families)]
