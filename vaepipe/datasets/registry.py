"""The data sets, by kind. Importing this loads no data set's code.

The module of a data set has ``load(name, path, downloads, **options) -> {"train": Part, "test": Part}``:

- ``name``: the user's name of the data set, for error messages only;
- ``path``: `pathlib.Path` of files that the user already has, or None;
- ``downloads``: folder for downloaded files;
- options: the keys of the config that the registry entry names;
- a `Part` holds images or points, and labels or factors if they are known.

A name in the registry is a kind. A config may give a data set any name (``faces-of-mine: {kind: folder}``).
A loader raises `vaepipe.storage.errors.DataError`, one line that says what to do, if files are wrong.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaepipe.datasets.part import Part


@dataclass(frozen=True)
class Dataset:
    """The facts about a kind of data set."""

    module: str
    """The module below `vaepipe.datasets` that loads it."""
    content: str
    """What the images or points show, in the plural."""
    shape: tuple[int, ...]
    """(C, H, W) of an image or (D,) of a point; for the user's own images, the default after scaling."""
    details: str
    licence: str
    count: int = 0
    """Images or points in all splits together; 0 for the user's own files."""
    images: bool = True
    generated: bool = False
    """Whether it needs no file."""
    own: bool = False
    """Whether it needs a file of the user's."""
    reads_images: bool = False
    """Whether a folder of it holds image files, so that other files there do not matter."""
    factors: bool = False
    """Whether its generating factors are known."""
    options: tuple[str, ...] = ()
    """Keys of the config that it takes beside ``path``."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Its own defaults for sections of the config."""

    @property
    def about(self) -> str:
        """Return one line: number, content, shape and details."""
        count = f"{self.count:,} " if self.count else ""
        shape = "×".join(map(str, self.shape)) if self.images else f"{self.shape[0]}-D"
        return f"{count}{self.content}, {shape}, {self.details}"

    def load(self, name: str, path: Path | None, downloads: Path, **options: Any) -> dict[str, Part]:
        """Return the splits "train" and "test"; arguments as the module's docstring says."""
        module = importlib.import_module(f"vaepipe.datasets.{self.module}")
        return module.load(name, path, downloads, **options)


def _model(network: str, hidden: list[int], likelihood: str, sigma_x: float = 0.1) -> dict[str, Any]:
    return {"model": {"network": network, "hidden": hidden, "likelihood": likelihood, "sigma_x": sigma_x}}


GREY_CONV = _model("conv", [256], "bernoulli")
COLOUR_CONV = _model("conv", [256], "gaussian")
DIGITS = _model("mlp", [400, 400], "bernoulli")
OWN_SHAPE = (3, 64, 64)

DATASETS: dict[str, Dataset] = {
    "swissroll": Dataset(
        module="swissroll",
        content="points of scikit-learn's swiss roll",
        count=10_000,
        shape=(3,),
        details="unscaled",
        licence="generated (scikit-learn, BSD-3)",
        images=False,
        generated=True,
        # a σ at which β = 128 can pay for the position along the roll (about 2.5 nats) but not for the height
        defaults=_model("mlp", [128, 128], "gaussian", sigma_x=0.35)
        | {
            "grid": {"betas": [1, 8, 32, 128], "d_z": [2]},
            "train": {"epochs": 30, "batch_size": 256, "learning_rate": 5.0e-3, "schedule": "cosine"},
            "evaluate": {"keep": 1000},
        },
    ),
    "digits": Dataset(
        module="digits",
        content="handwritten digits",
        count=1_797,
        shape=(1, 8, 8),
        details="grey (UCI optical recognition, in scikit-learn)",
        licence="CC BY 4.0",
        generated=True,
        # assumption: with a Bernoulli likelihood the latent space of these 8×8 grey images collapses
        defaults=_model("mlp", [128, 128], "gaussian", sigma_x=0.1)
        | {
            "grid": {"betas": [1, 4, 8], "d_z": [4, 16]},
            "train": {"epochs": 50, "batch_size": 64, "learning_rate": 2.0e-3, "schedule": "cosine"},
            # `output` uses one draw of z at each step; a longer search gains at most 2.5 % here
            "attack": {"losses": ["latent-kl", "output", "latent-w2"], "draws": 1, "effort": "fast"},
        },
    ),
    "sprites": Dataset(
        module="sprites",
        factors=True,
        content="sprites, generated: 3 shapes × scale × orientation × x × y",
        count=11_520,
        shape=(1, 64, 64),
        details="binary",
        licence="generated",
        generated=True,
        defaults=_model("mlp", [256, 256], "bernoulli")
        | {
            "grid": {"betas": [1, 4], "d_z": [8, 16]},
            "train": {"epochs": 12, "batch_size": 128},
        },
    ),
    "dsprites": Dataset(
        module="dsprites",
        factors=True,
        content="sprites",
        count=737_280,
        shape=(1, 64, 64),
        details="binary, 5 factors",
        licence="Apache-2.0",
        defaults=_model("mlp", [1200, 1200], "bernoulli"),
    ),
    "mnist": Dataset(
        module="mnist",
        content="handwritten digits",
        count=70_000,
        shape=(1, 28, 28),
        details="grey",
        licence="CC BY-SA 3.0",
        defaults=DIGITS,
    ),
    "fashion-mnist": Dataset(
        module="fashion_mnist",
        content="articles of clothing",
        count=70_000,
        shape=(1, 28, 28),
        details="grey",
        licence="MIT",
        defaults=DIGITS,
    ),
    "svhn": Dataset(
        module="svhn",
        content="house numbers",
        count=99_289,
        shape=(3, 32, 32),
        details="colour",
        licence="non-commercial use only",
        defaults=COLOUR_CONV,
    ),
    "cifar10": Dataset(
        module="cifar10",
        content="objects and animals",
        count=60_000,
        shape=(3, 32, 32),
        details="colour",
        licence="none stated; research",
        defaults=COLOUR_CONV,
    ),
    "chairs": Dataset(
        module="chairs",
        factors=True,
        reads_images=True,
        content="renders of chairs",
        count=86_366,
        shape=(1, 64, 64),
        details="grey, 3 factors",
        licence="none stated; research",
        defaults=GREY_CONV,
    ),
    "faces": Dataset(
        module="faces",
        factors=True,
        content="renders of faces",
        count=127_050,
        shape=(1, 64, 64),
        details="grey, 4 factors",
        licence="Basel Face Model",
        own=True,
        defaults=GREY_CONV,
    ),
    "celeba": Dataset(
        module="celeba",
        reads_images=True,
        content="faces",
        count=182_732,
        shape=(3, 64, 64),
        details="colour, without the validation part",
        licence="non-commercial research",
        defaults=COLOUR_CONV,
    ),
    "folder": Dataset(
        module="folder",
        reads_images=True,
        content="image files of the user",
        shape=OWN_SHAPE,
        details="unless size and channels are set",
        licence="the user's",
        own=True,
        options=("size", "crop", "channels", "frames", "maximum"),
        defaults=COLOUR_CONV,
    ),
    "array": Dataset(
        module="array",
        content="an array of images of the user",
        shape=OWN_SHAPE,
        details="or any other size",
        licence="the user's",
        own=True,
        options=("key", "labels", "axes", "maximum"),
        defaults=COLOUR_CONV,
    ),
}
