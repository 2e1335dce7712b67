"""JPEG of quality 90. Dziugaite et al. 2016."""

from vaepipe.trust.jpeg import compress
from vaepipe.trust.purifier import Purifier, before_model, straight_through

PURIFIER = Purifier("jpeg-90", before_model(straight_through(lambda x: compress(x, 90))))
