"""vaepipe: how far a variational autoencoder can be fooled, measured."""

from vaepipe.compute.rounding import set_matrix_rounding

__version__ = "0.1.0"

set_matrix_rounding()  # before PyTorch multiplies a matrix
