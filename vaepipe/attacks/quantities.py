"""The arrays that attacks write, in the order of the columns of the tables. Imports without torch."""

from __future__ import annotations

from vaepipe.storage.quantity import Quantity

Quantities = tuple[Quantity, ...]

PAIRS: Quantities = (
    Quantity("pairs", "rows of the held-out split: image, target", axes="P,2"),
    Quantity("pair_labels", "classes of image and target, if classes are known", axes="P,2"),
    Quantity("x", "attacked images, 0..255", axes="P,C,H,W"),
    Quantity("target", "target images, 0..255", axes="P,C,H,W"),
)
"""Written by both kinds of attacks."""

ROWS: Quantities = (
    Quantity("distortion", "d; x/255 + d lies in [0,1]", axes="L,P,C,H,W"),
    Quantity(
        "objective",
        "adversarial loss that the attack reached, divergence + lambda * norm",
        "unit of the loss",
        axes="L,P",
    ),
    Quantity("divergence", "objective without the penalty", "unit of the loss", axes="L,P"),
    Quantity("norm", "2-norm of the distortion over all pixels, images in [0,1]", axes="L,P"),
    Quantity("initial_divergence", "divergence without distortion", "unit of the loss", axes="L,P"),
    Quantity("iterations", "evaluations of the network", axes="L,P"),
    Quantity(
        "converged",
        "whether the row stopped by its own rule and not at its budget: five steps gained little beside "
        "objective + initial_divergence / 10; at efforts default and thorough the last round gained <= 0.3 %",
        axes="L,P",
    ),
    Quantity("residual", "2-norm of the projected gradient step at the end", axes="L,P"),
)
"""Rows (λ, pair) as they are solved on their own."""

OWN_OBJECTIVE = Quantity(
    "own_objective",
    "objective of the row on its own, before other lambdas of its pair are looked at",
    "unit of the loss",
    axes="L,P",
)

ATTACK: Quantities = (
    Quantity("lambdas", "weights of the penalty", axes="L"),
    *PAIRS,
    *ROWS[:2],
    OWN_OBJECTIVE,
    *ROWS[2:],
)
"""Penalised attacks."""

BALL: Quantities = (
    Quantity(
        "ball", "bounded norm of the distortion: l2, over all pixels, or linf, the largest pixel", axes="E"
    ),
    Quantity("radius", "bound of that norm, images in [0,1]", axes="E"),
    *PAIRS,
    Quantity("distortion", "d; x/255 + d lies in [0,1]", axes="E,P,C,H,W"),
    Quantity(
        "divergence",
        "what the attack minimises, reached within the bound",
        "unit of the loss",
        axes="E,P",
    ),
    Quantity("norm", "norm of the distortion, the one that is bounded", axes="E,P"),
    Quantity(
        "restart",
        "start of the distortion: 0 is d = 0, 1 the target (if the loss has one), others are random; the "
        "last two are distortions of a penalised attack",
        axes="E,P",
    ),
    Quantity("iterations", "evaluations of the network, all starts together", axes="E,P"),
    Quantity("initial_divergence", "divergence without distortion", "unit of the loss", axes="E,P"),
)
"""Attacks of bounded size."""
