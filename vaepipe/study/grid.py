"""The grid of a study: cells, the tokens and paths that name them, blocks of λ."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

CELL = "{dataset}/{family}/beta~{beta}/dz~{d_z}/seed~{seed}"
MODEL = "results/models/" + CELL
ATTACK = "results/attacks/" + CELL + "/{loss}.h5"
BLOCK = "results/attacks/" + CELL + "/{loss}/{block}.h5"
CHECK = "results/checks/" + CELL + "/{loss}.h5"
BALL = "results/balls/" + CELL + "/{loss}.h5"


def token(value: float) -> str:
    """A number as it appears in a path: six significant digits, no trailing zeros (1.0 → ``1``)."""
    return format(float(value), ".6g")


@dataclass(frozen=True)
class Cell:
    """One model: what is trained (dataset, family, β, d_z) and with which seed."""

    dataset: str
    family: str
    beta: float
    d_z: int
    seed: int

    @property
    def wildcards(self) -> dict[str, str]:
        return {
            "dataset": self.dataset,
            "family": self.family,
            "beta": token(self.beta),
            "d_z": str(self.d_z),
            "seed": str(self.seed),
        }

    @property
    def name(self) -> str:
        return CELL.format(**self.wildcards)

    def model(self, file: str) -> str:
        """Path of one of the files of the trained model."""
        return f"{MODEL}/{file}".format(**self.wildcards)

    def attack(self, loss: str) -> str:
        """Path of the attacks on this model at all λ."""
        return ATTACK.format(**self.wildcards, loss=loss)

    def block(self, loss: str, block: str) -> str:
        """Path of one block of λ, each row solved on its own."""
        return BLOCK.format(**self.wildcards, loss=loss, block=block)

    def check(self, loss: str) -> str:
        """Path of the checks of that attack."""
        return CHECK.format(**self.wildcards, loss=loss)

    def ball(self, loss: str) -> str:
        """Path of the attacks of bounded size."""
        return BALL.format(**self.wildcards, loss=loss)


def cells(dataset: str, grid: dict) -> list[Cell]:
    """All models of a data set, each once.

    At β = 1, β-VAE and β-TCVAE are the one model ``vae``; the autoencoder has no β and is the cell at 0.
    """
    found = []
    for family, d_z, seed in itertools.product(grid["families"], grid["d_z"], grid["seeds"]):
        betas = {"ae": [0], "vae": [1]}.get(family, grid["betas"])
        found += [Cell(dataset, _shared(family, beta), float(beta), d_z, seed) for beta in betas]
    return list(dict.fromkeys(found))


def external(dataset: str, models: dict[str, dict]) -> list[Cell]:
    """The cells of models trained elsewhere (the config's section ``external``): family is the name; like the autoencoder they
    have no β, and the seed is 0."""
    return [Cell(dataset, name, 0.0, its["d_z"], 0) for name, its in models.items() if its["dataset"] == dataset]


def _shared(family: str, beta: float) -> str:
    return "vae" if beta == 1 and family in ("beta-vae", "beta-tcvae") else family


def losses(cell: Cell, wanted: list[str], models: dict[str, dict]) -> list[str]:
    """The attacks among ``wanted`` that the cell admits: the autoencoder no KL, as its posterior has no width; a model trained
    elsewhere (``models``: as for `external`) its own ``losses``, where it names some."""
    if cell.family == "ae":
        return [loss for loss in wanted if "kl" not in loss]
    its = models.get(cell.family, {}).get("losses", "all")
    return [loss for loss in wanted if its == "all" or loss in its]


def lambdas(spec: dict | list) -> list[float]:
    """The λ values, increasing: a list as given, or ``count`` geometric ones from 2^log2_min to 2^log2_max."""
    if isinstance(spec, list):
        return sorted(float(value) for value in spec)
    low, high, count = spec["log2_min"], spec["log2_max"], spec["count"]
    if count == 1:
        return [2.0**low]
    return [2.0 ** (low + (high - low) * c / (count - 1)) for c in range(count)]


def blocks(values: list[float], per_job: int | str) -> dict[str, list[float]]:
    """λ values by job, keyed by a token that only depends on the values in it; none where one job has them all."""
    if per_job == "all":
        return {}
    parts = [values[i : i + per_job] for i in range(0, len(values), per_job)]
    return {"lambda~" + "..".join(dict.fromkeys((token(p[0]), token(p[-1])))): p for p in parts}


def clashes(values: list[float]) -> list[str]:
    """Tokens that more than one of the values has."""
    tokens = [token(value) for value in values]
    return sorted({t for t in tokens if tokens.count(t) > 1})


def constraint(values) -> str:
    """A regular expression that matches exactly the given tokens."""
    return "|".join(re.escape(str(value)) for value in dict.fromkeys(values)) or "(?!)"
