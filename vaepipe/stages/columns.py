"""The columns of the tables that `vaepipe.stages.collect` writes, made from quantities."""

from __future__ import annotations

from collections.abc import Iterable

from vaepipe.analysis import purifiers, robustness
from vaepipe.attacks import quantities as solved
from vaepipe.metrics.latent_metric import dimension_quantities, latent_quantities
from vaepipe.metrics.quantities import KL_LAYERS, PER_IMAGE
from vaepipe.metrics.registry import LATENT_METRICS, TRIAL_METRICS
from vaepipe.metrics.trial_metric import find_trial_metric
from vaepipe.storage.quantity import Quantity

Columns = tuple[Quantity, ...]

CELL: Columns = (
    Quantity("dataset", "data set"),
    Quantity("family", "model family; vae is also beta = 1 of beta-vae and beta-tcvae"),
    Quantity("beta", "beta of the objective"),
    Quantity("d_z", "number of latent dimensions"),
    Quantity("seed", "training seed"),
    Quantity("snapshot", "steps after which the weights were kept; 0 at the end of the training"),
)
LOSS = Quantity("loss", "loss of the attack: what it minimises in addition to lambda * norm")
UNIT = Quantity("unit", "unit of the loss, and of all columns whose unit is that of the loss")
PAIR: Columns = (
    Quantity("pair", "number of the pair, the same images for every model of a data set"),
    Quantity("image", "attacked image, row of the held-out split"),
    Quantity("target", "target image, row of the held-out split"),
)
RATIO = Quantity(
    "ratio",
    "(A - T)/(O - T): 1 as without distortion, 0 as the target's own reconstruction; empty if O <= T",
)
SUCCESS = Quantity(
    "success", f"1 if the pair is fooled (ratio < {robustness.SUCCESS:g}), 0 if not; empty if O <= T"
)
MASKED = Quantity(
    "masked",
    "why the attack may be too weak to call the model robust, as in the table robustness; empty if no check "
    "found a reason",
)
CAVEAT = Quantity(
    "caveat", "why the model reproduces published code and is not correct; empty for all others"
)
COLUMNS: Columns = (
    Quantity("table", "table of this folder"),
    Quantity("column", "column of the table"),
    Quantity("unit", "unit of the column; empty for numbers without a unit"),
    Quantity("meaning", "what the column holds"),
)
LATENT = latent_quantities(LATENT_METRICS)
DIMENSIONS = dimension_quantities(LATENT_METRICS)


def _image_columns() -> Columns:
    return (*CELL, Quantity("image", "row of the held-out split"), *PER_IMAGE)


def _model_columns() -> Columns:
    columns = [Quantity("images", "number of held-out images that were measured")]
    columns.append(Quantity("steps", "steps of training; empty for a model trained elsewhere"))
    columns.append(Quantity("state", "state of the latent space: ok, collapsed or exploded"))
    for quantity in PER_IMAGE:
        name, unit = quantity.name, quantity.unit
        columns.append(Quantity(name, f"mean over images of the column {name} of images", unit))
        columns.append(Quantity(f"{name}_se", f"standard error of {name}, over images", unit))
    for quantity in LATENT:
        columns += [
            quantity,
            Quantity(f"{quantity.name}_se", f"standard error of {quantity.name}", quantity.unit),
        ]
    layers = f"{KL_LAYERS.meaning}, separated by blanks"
    columns.append(Quantity(KL_LAYERS.name, layers, KL_LAYERS.unit))
    error = f"standard error of {KL_LAYERS.name}, over images"
    columns.append(Quantity(f"{KL_LAYERS.name}_se", error, KL_LAYERS.unit))
    return (*CELL, *columns)


def _is_column(quantity: Quantity) -> bool:
    """Return whether a quantity is one number per trial: of (L, P), of (E, P), or of (P,)."""
    return quantity.axes in ("L,P", "E,P", "P")


def _metric_columns(of_ball: bool = False) -> Columns:
    """Return the columns of the trial metrics, with the ratio that is computed from the distances."""
    metrics = [find_trial_metric(name) for name in TRIAL_METRICS]
    columns = [q for m in metrics if m.in_ball_table or not of_ball for q in m.quantities if _is_column(q)]
    after = [quantity.name for quantity in columns].index("input_distance") + 1
    return (*columns[:after], RATIO, *columns[after:])


def _attack_columns() -> Columns:
    weight = Quantity("lam", "lambda, the weight of the penalty")
    return (*CELL, LOSS, UNIT, weight, *PAIR, *filter(_is_column, solved.ATTACK), *_metric_columns(), MASKED)


def _ball_columns() -> Columns:
    columns = [q for q in solved.BALL if q.axes == "E" or _is_column(q)]
    initial = [q for q in columns if q.name == "initial_divergence"]
    others = [q for q in columns if q.name != "initial_divergence"]
    return (*CELL, LOSS, UNIT, *PAIR, *others, SUCCESS, *initial, *_metric_columns(of_ball=True), MASKED)


def _pair_columns() -> Columns:
    return (
        CELL[0],
        *PAIR,
        Quantity("image_label", "class of the image; empty if no classes are known"),
        Quantity("target_label", "class of the target; empty if no classes are known"),
    )


def _dimension_columns() -> Columns:
    rank = Quantity("rank", "place of the dimension by precision; the most precise one has 1")
    return (*CELL, rank, Quantity("dimension", "number of the dimension, from 0"), *DIMENSIONS)


OF_MODELS: dict[str, Columns] = {
    "models": _model_columns(),
    "images": _image_columns(),
    "dimensions": _dimension_columns(),
    "attacks": _attack_columns(),
    "robustness": (*CELL, LOSS, UNIT, *robustness.COLUMNS),
    "ball": _ball_columns(),
    "labels": (*CELL, LOSS, *robustness.LABEL_COLUMNS),
    "purifiers": (*CELL, LOSS, *purifiers.COLUMNS),
}
TABLES = {table: (*columns, CAVEAT) for table, columns in OF_MODELS.items()} | {"pairs": _pair_columns()}
"""Columns of each table, in order."""


def names(columns: Iterable[Quantity]) -> list[str]:
    return [quantity.name for quantity in columns]
