"""Purifiers, by name. The purifier ``bit-depth`` is the file purifiers/bit_depth.py."""

PURIFIERS: tuple[str, ...] = ("jpeg-50", "jpeg-75", "jpeg-90", "blur", "resize", "bit-depth", "vae", "hmc")
