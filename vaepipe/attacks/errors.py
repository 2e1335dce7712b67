"""The error of this wing; it needs no PyTorch."""

from __future__ import annotations


class Refused(ValueError):
    """A model, images or numbers that cannot be attacked. The text is one line that says what is wrong."""
