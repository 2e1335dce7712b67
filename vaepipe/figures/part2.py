"""The panels of part 2: Seatbelt-VAE against β-TCVAE."""

from __future__ import annotations

from vaepipe.analysis import trials as pairs
from vaepipe.figures import adversarial_loss, curves, quality, style
from vaepipe.figures.registry import Data
from vaepipe.figures.target_nll import MEASURE as NLL

FAMILIES = ("vae", "beta-tcvae", "seatbelt")


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """A row per data set and loss: adversarial loss, and −log p(x_t|z*), against β; then a row per data set: the β = 1 ELBO."""
    if not (data.images["family"] == "seatbelt").any():
        return style.message("No Seatbelt-VAE is in this study: there is nothing to compare with the β-TCVAE.")
    attacks = pairs.targeted(data.attacks)
    attacks = attacks[attacks["family"].isin(FAMILIES)]
    images = data.images[data.images["family"].isin(FAMILIES)]
    attacked = images["dataset"].isin(attacks["dataset"].unique())
    panels = []
    for (dataset, loss), rows in attacks.groupby(["dataset", "loss"], sort=False):
        where = {"dataset": dataset, "loss": loss}
        panels += [(rows, adversarial_loss.measure(where, rows), where, "adversarial_loss"), (rows, NLL, where, "target_nll")]
    for dataset, rows in images[attacked if attacked.any() else ~attacked].groupby("dataset", sort=False):
        panels.append((rows, quality.measure(dataset, "elbo", "ELBO (at β = 1)"), {"dataset": dataset}, "elbo"))
    page, axes = style.panels(len(panels), 2.75)
    handles: dict = {}
    for ax, (rows, measure, where, quantity) in zip(axes, panels):
        handles |= curves.panel(ax, rows, measure, options["resamples"], where, quantity)
        ax.set_title(curves.title(where))
        ax.set_ylabel(measure.label + (" (log scale)" if ax.get_yscale() == "log" else ""))
    style.legend(page, handles)
    return page
