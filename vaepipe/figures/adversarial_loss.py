"""Adversarial loss against β: the value of the attack's objective, averaged as the seed paper does."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaepipe.figures import Data, curves, style

AXES = {"pair": "pairs", "lambda": "λ", "d_z": "$d_z$", "seed": "seeds"}
ZERO = 1e-4
"""‖d‖₂ below this counts as no attack: the penalty won."""
UNITS = dict.fromkeys(("latent-w2", "latent-mean"), "squared latent units")
UNITS |= {"latent-w2-root": "latent units", "max-damage": "‖·‖₂ of pixels in [0,1]"}
"""Of losses that are distances, not nats."""
CLUSTERS = {"pair": "pairs", "seed": "training seeds"}


@style.house
def draw(data: Data, options: dict) -> Figure:
    """One panel per data set and loss: plain mean over pairs, λ, d_z and seeds of divergence + λ‖d‖₂, nats.

    Dotted: the mean divergence at d = 0. The penalised objective cannot exceed it, and reaches it where λ is so large that
    the best attack is none; those trials weigh most in a plain mean.
    """
    groups = list(data.attacks.groupby(["dataset", "loss"], sort=False))
    if not groups:
        return style.message("No image data set of this study was attacked: there is no adversarial loss to show.")
    figure, axes = style.panels(len(groups), 2.9)
    handles: dict = {}
    for ax, ((dataset, loss), frame) in zip(axes, groups):
        found = curves.points(frame, "objective", tuple(CLUSTERS), options["resamples"])
        log = not (frame["objective"] < 0).any()  # minus a log density, or a damage, may lie below zero
        ax.set_yscale("log" if log else "linear")
        handles |= curves.draw_curves(ax, found)
        start = frame.groupby(["family", "beta"])["initial_divergence"].mean().to_dict()
        for family in style.LINES:
            ax.plot(*curves.line(start, family), ":", color=style.COLOURS[family], linewidth=0.9, gid=f"start {family}")
        if ("vae", 1.0) in start and len(found) == 1:
            ax.plot([1.0], [start["vae", 1.0]], "_", color=style.COLOURS["vae"], gid="start vae")
        if log:
            style.log_ticks(ax)
        ax.set_title(f"{dataset}, attack {loss}")
        ax.set_ylabel(f"adversarial loss Δ, {UNITS.get(loss, 'nats')}{' (log scale)' if log else ''}")
        text = curves.describe(frame, found, "trials", AXES, CLUSTERS, options["resamples"], log=log)
        zero = 100 * (frame["norm"] < ZERO).mean()
        style.note(ax, f"{text}\nd ≈ 0 (‖d‖₂ < {ZERO:g}) in {zero:.0f} % of trials: there Δ ≈ Δ₀.")
    handles["mean Δ₀, at d = 0"] = Line2D([], [], linestyle=":", color=style.GREY, linewidth=0.9)
    style.legend(figure, handles)
    return figure
