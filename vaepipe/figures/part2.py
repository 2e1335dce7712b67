"""The panels of part 2: Seatbelt-VAE against β-TCVAE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.artist import Artist

from vaepipe.analysis.means import Measure
from vaepipe.figures import adversarial_loss, curves, elbo, quality, style, target_nll
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
Seatbelt-VAE against β-TCVAE for every attack: adversarial loss, −log p(x\ :sub:`t`\ \|z*) and β = 1 ELBO,
against β.

{attacks} {flags} {intervals}
"""
FAMILIES = ("vae", "beta-tcvae", "seatbelt")
EMPTY = "No Seatbelt-VAE is in this study: there is nothing to compare with the β-TCVAE."
Panel = tuple[pd.DataFrame, Measure, dict[str, str], str]
"""Rows, what is averaged, data set (and loss), and the published quantity."""


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A row per data set and loss: adversarial loss and −log p(x_t|z*) against β; then per data set the β = 1
    ELBO."""
    if not (data.table("images")["family"] == "seatbelt").any():
        return style.message(EMPTY)
    panels = _panels(data)
    page, axes = style.panels(len(panels), 2.75)
    handles: dict[str, Artist] = {}
    for ax, (rows, measure, where, quantity) in zip(axes, panels):
        handles |= curves.panel(ax, rows, measure, options.resamples, where, quantity)
        ax.set_title(curves.title(where))
        curves.label_y(ax, measure.label)
    style.legend(page, handles)
    return page


def _panels(data: Data) -> list[Panel]:
    attacks = data.targeted_attacks
    attacks = attacks[attacks["family"].isin(FAMILIES)]
    images = data.table("images")
    images = images[images["family"].isin(FAMILIES)]
    attacked = images["dataset"].isin(attacks["dataset"].unique())
    panels: list[Panel] = []
    for (dataset, loss), rows in attacks.groupby(["dataset", "loss"], sort=False):
        where = {"dataset": dataset, "loss": loss}
        panels.append((rows, adversarial_loss.measure(where, rows), where, "adversarial_loss"))
        panels.append((rows, target_nll.MEASURE, where, "target_nll"))
    shown = images[attacked] if attacked.any() else images
    for dataset, rows in shown.groupby("dataset", sort=False):
        measure = quality.measure(data.rows_called(dataset), "elbo", elbo.LABEL)
        panels.append((rows, measure, {"dataset": dataset}, "elbo"))
    return panels
