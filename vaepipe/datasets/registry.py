"""Data sets: one file each, and the registry. Importing this loads no data set's code.

A data set's module has ``load(name, path, downloads, **options) -> {"train": Part, "test": Part}``:

- ``path``: `pathlib.Path` of files that the user already has, or None;
- ``downloads``: folder for what has to be fetched;
- options: the keys of the config that its registry entry names;
- a `Part` holds images, and labels or factors where they are known.

A name in the registry is a kind of data set; a config may give any name of its own to a kind (``kind: folder``).

What is wrong with the files is raised as `vaepipe.storage.h5.DataError`, one line that says what to do.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path

from vaepipe.datasets.part import Part


@dataclass(frozen=True)
class Dataset:
    """A registry entry: which module loads it, what it is (``generated``: needs no file, ``own``: a file of the user's),
    the keys of the config that it takes beside ``path``, and its own defaults for the config's sections."""

    module: str
    about: str
    licence: str
    images: bool = True
    generated: bool = False
    own: bool = False
    options: tuple[str, ...] = ()
    defaults: dict = field(default_factory=dict)

    def load(self, name: str, path: Path | None, downloads: Path, **options) -> dict[str, Part]:
        return importlib.import_module(f"vaepipe.datasets.{self.module}").load(name, path, downloads, **options)


BINARY = {"model": {"network": "mlp", "hidden": [1200, 1200], "likelihood": "bernoulli", "sigma_x": 0.1}}
GREY_CONV = {"model": {"network": "conv", "hidden": [256], "likelihood": "bernoulli", "sigma_x": 0.1}}
COLOUR_CONV = {"model": {"network": "conv", "hidden": [256], "likelihood": "gaussian", "sigma_x": 0.1}}
DIGITS = {"model": {"network": "mlp", "hidden": [400, 400], "likelihood": "bernoulli", "sigma_x": 0.1}}

DATASETS: dict[str, Dataset] = {
    "swissroll": Dataset(
        "swissroll",
        "10,000 points of scikit-learn's swiss roll, 3-D, unscaled",
        "generated (scikit-learn, BSD-3)",
        images=False,
        generated=True,
        defaults={
            # a sigma at which β = 128 can pay for the position along the roll (about 2.5 nats) but not for the height
            "model": {"network": "mlp", "hidden": [128, 128], "likelihood": "gaussian", "sigma_x": 0.35},
        },
    ),
    "digits": Dataset(
        "digits",
        "1,797 handwritten digits, 1×8×8, grey (UCI optical recognition, in scikit-learn)",
        "CC BY 4.0",
        generated=True,
        defaults={"model": {"network": "mlp", "hidden": [128, 128], "likelihood": "bernoulli", "sigma_x": 0.1}},
    ),
    "sprites": Dataset(
        "sprites",
        "drawn here: 3 shapes × scale × orientation × x × y, 1×64×64, binary",
        "generated",
        generated=True,
        defaults={"model": {"network": "mlp", "hidden": [256, 256], "likelihood": "bernoulli", "sigma_x": 0.1}},
    ),
    "dsprites": Dataset("dsprites", "737,280 sprites, 1×64×64, binary, 5 factors", "Apache-2.0", defaults=BINARY),
    "mnist": Dataset("mnist", "70,000 handwritten digits, 1×28×28, grey", "CC BY-SA 3.0", defaults=DIGITS),
    "fashion-mnist": Dataset("mnist", "70,000 articles of clothing, 1×28×28, grey", "MIT", defaults=DIGITS),
    "svhn": Dataset("svhn", "99,289 house numbers, 3×32×32, colour", "non-commercial use only", defaults=COLOUR_CONV),
    "cifar10": Dataset("cifar10", "60,000 objects and animals, 3×32×32, colour", "none stated; research", defaults=COLOUR_CONV),
    "chairs": Dataset(
        "chairs", "86,366 renders of chairs, 1×64×64, grey, 3 factors", "none stated; research", defaults=GREY_CONV
    ),
    "faces": Dataset(
        "faces", "127,050 renders of faces, 1×64×64, grey, 4 factors", "Basel Face Model", own=True, defaults=GREY_CONV
    ),
    "celeba": Dataset("celeba", "202,599 faces, 3×64×64, colour", "non-commercial research", defaults=COLOUR_CONV),
    "folder": Dataset(
        "folder",
        "images of the user's, scaled to 3×64×64 unless said otherwise",
        "the user's",
        own=True,
        options=("size", "crop", "channels"),
        defaults=COLOUR_CONV,
    ),
    "array": Dataset(
        "array",
        "images of the user's, such as 3×64×64",
        "the user's",
        own=True,
        options=("key", "labels", "axes"),
        defaults=COLOUR_CONV,
    ),
}
