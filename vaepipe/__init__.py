"""vaepipe: how far a variational autoencoder can be fooled, measured."""

__version__ = "0.1.0"
