"""JPEG of quality 50. Dziugaite et al. 2016."""

from vaepipe.trust.jpeg import compress
from vaepipe.trust.purifier import Purifier, before_model, straight_through

PURIFIER = Purifier("jpeg-50", before_model(straight_through(lambda x: compress(x, 50))))
