"""Former name of `vaepipe.study.cells`; goes when nothing imports it."""

from vaepipe.study.cells import *  # noqa: F403
from vaepipe.study.jobs import output, weights


def _path(stage):
    return lambda cell, loss, block="": output(stage, cell, loss, block)


Cell.model = lambda cell, file: weights(cell).rpartition("/")[0] + "/" + file  # noqa: F405
for _name, _stage in {
    "attack": "attack",
    "block": "attack_block",
    "ball": "ball",
    "measure": "measure",
}.items():
    setattr(Cell, _name, _path(_stage))  # noqa: F405
