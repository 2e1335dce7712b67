"""The panels of part 2: Seatbelt-VAE against β-TCVAE."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vaepipe.figures import adversarial_loss, curves, elbo, style, target_nll
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Seatbelt-VAE against β-TCVAE"
CAPTION = """
The panels of the second post of the original paper's authors: adversarial loss Δ and −log p(x_t|z*) of each
attack, and the ELBO at β = 1, against β. A Seatbelt-VAE has several stochastic layers, and Δ sums over
them, so compare along β and not between the two families.
"""
FAMILIES = ("vae", "beta-tcvae", "seatbelt")
EMPTY = "No Seatbelt-VAE is in this study: there is nothing to compare with the β-TCVAE."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """Per data set and loss the adversarial loss and −log p(x_t|z*), then per data set the β = 1 ELBO."""
    shown = (data.table("images")["family"] == "seatbelt").any()
    page = curves.page(_panels(data), options) if shown else style.message(EMPTY, options)
    return page.describe(TITLE, CAPTION)


def _panels(data: Data) -> list[curves.Panel]:
    attacks = data.targeted_attacks
    attacks = attacks[attacks["family"].isin(FAMILIES)]
    images = data.table("images")
    images = images[images["family"].isin(FAMILIES)]
    attacked = images["dataset"].isin(attacks["dataset"].unique())
    panels: list[curves.Panel] = []
    for (dataset, loss), rows in attacks.groupby(["dataset", "loss"], sort=False):
        where = {"dataset": dataset, "loss": loss}
        measure = adversarial_loss.measure(where, rows)
        panels.append(curves.Panel(where, rows, measure, "adversarial_loss"))
        panels.append(curves.Panel(where, rows, target_nll.MEASURE, "target_nll"))
    shown = images[attacked] if attacked.any() else images
    for dataset, rows in shown.groupby("dataset", sort=False):
        measure = replace(elbo.measure(data.rows_called(dataset), "elbo"), label="ELBO, nats")
        panels.append(curves.Panel({"dataset": dataset}, rows, measure, "elbo"))
    return panels
