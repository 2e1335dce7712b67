"""The model families and networks of this package, by name, in the order in which figures and docs show them.

A family ``beta-vae`` lies in ``vaepipe/models/families/beta_vae.py``, a network ``conv`` in
``vaepipe/models/networks/conv.py``.
"""

FAMILIES: tuple[str, ...] = ("ae", "vae", "beta-vae", "beta-tcvae", "seatbelt")
NETWORKS: tuple[str, ...] = ("mlp", "conv", "burgess", "compact")
