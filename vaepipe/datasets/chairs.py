"""3D Chairs: renders of 1,393 chairs from 62 views.

Source: Aubry et al. 2014, di.ens.fr/willow/research/seeing3Dchairs.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vaepipe.datasets.part import LazyImages, Part, hold_out_tenth
from vaepipe.datasets.sources.array_file import ArrayFile, as_bytes
from vaepipe.datasets.sources.fetch import fetch
from vaepipe.datasets.sources.tree import ImageTree
from vaepipe.storage.errors import DataError

ADDRESS = "https://www.di.ens.fr/willow/research/seeing3Dchairs/data/rendered_chairs.tar"
NAME = re.compile(r"(?:^|/)([^/]+)/renders/image_\d+_p(\d+)_t(\d+)_r\d+\.png$")
FACTORS = ("chair", "elevation", "azimuth")
CROP, SIZE = 400, 64


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return images (N,1,64,64), grey: the middle 400 of 600 pixels, scaled; one in ten is held out.

    Args:
        path: the official .tar or its unpacked folder; or an .npz with prepared images ``imgs`` (N,64,64),
            without factors.

    Raises:
        DataError: there are no renders, or one is damaged.
    """
    path = path or fetch(name, downloads, "rendered_chairs.tar", None, [ADDRESS])
    if path.suffix == ".npz":
        return hold_out_tenth(Part(_read_prepared(path)))
    tree = ImageTree(path)
    matches = {file: match for file in tree.names if (match := NAME.search(file))}
    names = tree.once(list(matches))
    matches = {file: matches[file] for file in names}
    if not names:
        pattern = "<chair>/renders/image_NNN_pPPP_tTTT_rRRR.png"
        raise DataError(f"{path}: has no {pattern}; give the official rendered_chairs.tar")
    columns = np.array([match.groups() for match in matches.values()])
    factors = np.stack(
        [np.unique(column, return_inverse=True)[1].reshape(-1) for column in columns.T], axis=1
    )
    return hold_out_tenth(Part(tree.images(names, 1, CROP, SIZE), factors=factors, factor_names=FACTORS))


def _read_prepared(path: Path) -> LazyImages:
    source = ArrayFile(path, "imgs")
    if source.shape[1:] != (SIZE, SIZE):
        raise DataError(f"{source}: expected images (N,{SIZE},{SIZE}), found {source.shape}")
    return LazyImages(
        lambda rows: as_bytes(source.take(rows), rows, source)[:, None],
        (1, SIZE, SIZE),
        np.arange(source.shape[0]),
    )
