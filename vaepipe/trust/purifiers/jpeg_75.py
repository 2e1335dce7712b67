"""JPEG of quality 75. Dziugaite et al. 2016."""

from vaepipe.trust.jpeg import compress
from vaepipe.trust.purifier import Purifier, before_model, straight_through

PURIFIER = Purifier("jpeg-75", before_model(straight_through(lambda x: compress(x, 75))))
