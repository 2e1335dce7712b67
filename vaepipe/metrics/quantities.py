"""The quantities of an evaluation per image; latent metrics state their own."""

from __future__ import annotations

from vaepipe.storage.quantity import Quantity

LOG_LIKELIHOOD = Quantity("log_likelihood", "log p(x|z), z ~ q(z|x)", "nats per image", "N")
KL = Quantity("kl", "KL summed over dimensions and layers", "nats per image", "N")
ELBO = Quantity("elbo", "log_likelihood - kl, the beta = 1 ELBO", "nats per image", "N")
"""Not stored: the difference of two that are."""
BOUND = Quantity("bound", "importance-weighted bound on log p(x)", "nats per image", "N")
RECONSTRUCTION_ERROR = Quantity(
    "reconstruction_error", "2-norm of x - E[x|z], z ~ q(z|x), over all pixels", axes="N"
)
SIGMA_NORM = Quantity("sigma_norm", "2-norm of the top layer's posterior standard deviations", axes="N")
MEAN_NORM = Quantity("mean_norm", "2-norm of the top layer's posterior means", axes="N")

PER_IMAGE: tuple[Quantity, ...] = (
    LOG_LIKELIHOOD,
    KL,
    ELBO,
    BOUND,
    RECONSTRUCTION_ERROR,
    SIGMA_NORM,
    MEAN_NORM,
)
"""One number per image, in the order of the columns of the table images."""
STORED_PER_IMAGE: tuple[Quantity, ...] = tuple(quantity for quantity in PER_IMAGE if quantity is not ELBO)

KL_LAYERS = Quantity("kl_layers", "mean KL of each layer, the bottom one first", "nats per image", "2,L")
"""Row 0 the means over images, row 1 their standard errors."""

FIRST_IMAGES: tuple[Quantity, ...] = (
    Quantity("mean", "top layer's posterior means of the first images", axes="K,d_z"),
    Quantity(
        "log_std",
        "logarithms of the top layer's posterior standard deviations of the first images",
        axes="K,d_z",
    ),
    Quantity("sample", "top layer's z ~ q(z|x) of the first images", axes="K,d_z"),
    Quantity("reconstruction", "mean of p(x|z) at that sample", axes="K,..."),
    Quantity("x", "the first images or points", axes="K,..."),
)
"""Arrays of the first K images only, for figures."""


GENERATED: tuple[Quantity, ...] = (
    Quantity("prior_sample", "mean of p(x|z) at samples of the prior", axes="S,..."),
    Quantity("traversed", "top layer's dimensions of largest KL, in that order", axes="T"),
    Quantity(
        "traversal",
        "mean of p(x|z) where one dimension goes from -3 to 3 and the others are as in the first posterior",
        axes="T,V,...",
    ),
)
"""What the model draws by itself, for figures."""


def array_description(quantity: Quantity) -> str:
    """Text for the HDF5 array of a quantity per image, or of the first images: meaning, unit, axes."""
    return f"{quantity.description} ({quantity.axes})"


def estimate_description(quantity: Quantity) -> str:
    """Text for the HDF5 array (2,) of a quantity of the aggregate posterior."""
    return f"{quantity.description}: value, standard error (2)"
