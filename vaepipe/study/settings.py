"""The sections of config.yaml as typed classes: keys, bounds, defaults and meanings.

The schema for editors and docs/configuration.md are generated from these classes by `vaepipe.tools.reference`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from vaepipe.attacks.registry import LOSSES
from vaepipe.models.registry import FAMILIES, NETWORKS


@dataclass(frozen=True)
class OneOf:
    """A text that is one of ``names``."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))


@dataclass(frozen=True)
class Unique:
    """A list without duplicates."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(core) | {"uniqueItems": True}

    @staticmethod
    def check(values: tuple) -> tuple:
        if len(set(values)) < len(values):
            raise ValueError("expected no duplicates")
        return values


Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Text = Annotated[str, Field(min_length=1)]
FamilyName = Annotated[str, OneOf(FAMILIES)]
NetworkName = Annotated[str, OneOf(NETWORKS)]
LossName = Annotated[str, OneOf(LOSSES)]
LossNames = Annotated[tuple[LossName, ...], Unique()]
Solver = Literal["lbfgs", "scipy"]
Precision = Literal["float32", "float64"]
Radii = Annotated[tuple[Positive, ...], Unique()]
Pairs = Count | Annotated[tuple[tuple[Natural, Natural], ...], Field(min_length=1), Unique()]
Lambda = Annotated[float, Field(ge=1e-30, le=1e30)]
LambdaValues = Annotated[tuple[Lambda, ...], Field(min_length=1), Unique()]


class Section(BaseModel):
    """A part of the configuration. It cannot be changed once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class Geometric(Section):
    """`count` values, geometric from 2^`log2_min` to 2^`log2_max`."""

    log2_min: float = Field(ge=-100, le=100)
    log2_max: float = Field(ge=-100, le=100)
    count: Count


def lambda_values(lambdas: Mapping[str, float] | Sequence[float]) -> tuple[float, ...]:
    """The values of λ, increasing: those of a list, or the geometric ones of a mapping like `Geometric`."""
    if not isinstance(lambdas, Mapping):
        return tuple(sorted(float(lambda_) for lambda_ in lambdas))
    grid = Geometric.model_validate(lambdas)
    if grid.count == 1:
        return (2.0**grid.log2_min,)
    width = grid.log2_max - grid.log2_min
    return tuple(2.0 ** (grid.log2_min + width * step / (grid.count - 1)) for step in range(grid.count))


Lambdas = Annotated[
    tuple[Lambda, ...], BeforeValidator(lambda_values, json_schema_input_type=Geometric | LambdaValues)
]


class Grid(Section):
    """One model is trained for each family × β × d_z × seed. All families that share β = 1 share the one model there."""

    families: Annotated[tuple[FamilyName, ...], Field(min_length=1), Unique()] = Field(
        ("beta-vae", "beta-tcvae"),
        description="Model families. `vae` is β = 1, which β-VAE and β-TCVAE contain. `ae` is the deterministic autoencoder. "
        "`seatbelt` is the hierarchical Seatbelt-VAE: its top layer has d_z dimensions, and each layer below has twice "
        "as many.",
    )
    betas: Annotated[tuple[Positive, ...], Field(min_length=1), Unique()] = Field(
        (1, 2, 4, 6, 8, 10),
        description="β of the objective: the weight of the KL divergence (β-VAE) or of the total correlation (β-TCVAE).",
    )
    d_z: Annotated[tuple[Count, ...], Field(min_length=1), Unique()] = Field(
        (4, 8, 16, 32, 64, 128), description="Number of latent dimensions."
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), Unique()] = Field(
        (0,),
        description="Training seeds; each is one more replicate of every model. Assumption: the original paper appears to "
        "use one. With at least three, the confidence bands include the variation between trainings.",
    )


def of_data_set(schema: dict[str, Any]) -> None:
    """Remove the default from the schema: a key that is not given has the value of the data set's registry entry."""
    schema.pop("default")


class Model(Section):
    """Networks and likelihood."""

    network: NetworkName = Field(
        "mlp",
        json_schema_extra=of_data_set,
        description="`mlp` or `conv` after Chen et al. (2018), or `burgess`, the convolutions of Burgess et al. (2018). `conv` "
        "and `burgess` need images. The default depends on the data set.",
    )
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (128, 128),
        json_schema_extra=of_data_set,
        description="Widths of the hidden layers of the MLP encoder. The decoder has one more layer, of the first width, as in "
        "Chen et al. (2018). The default depends on the data set.",
    )
    likelihood: Literal["bernoulli", "gaussian"] = Field(
        "bernoulli",
        json_schema_extra=of_data_set,
        description="p(x|z). Assumption, as the paper does not say: Bernoulli for binary and grey images, Gaussian for colour "
        "images and for points. The default depends on the data set.",
    )
    sigma_x: Positive = Field(
        0.1,
        json_schema_extra=of_data_set,
        description="Standard deviation of a Gaussian likelihood, in the scale of the data (images lie in [0,1]). Assumption. "
        "The default depends on the data set.",
    )
    layers: Count = Field(
        4, description="Stochastic layers of a Seatbelt-VAE. Assumption: the figures of the paper have 4."
    )


class TrainOptions(Section):
    """The keys of `Train` that decide the weights."""

    epochs: Count = Field(
        50,
        description="Passes over the training split. Assumption: 50 is the default of the code of Chen et al.",
    )
    steps: Count | None = Field(
        None,
        description="Number of optimiser steps, instead of a number of epochs; the last epoch may be cut short. Null: train "
        "for `epochs` epochs.",
    )
    batch_size: int = Field(
        1024,
        ge=2,
        description="Images per step. Assumption. The total-correlation estimator depends on it, so use one value for all β.",
    )
    learning_rate: Positive = Field(0.001, description="Step size of Adam. Assumption.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant",
        description="Learning-rate schedule: `constant`, or `cosine`, which decays to zero over the whole training. "
        "Assumption.",
    )
    estimator: Literal["mss", "mss-chen", "mws"] = Field(
        "mss",
        description="Minibatch estimator of log q(z) for β-TCVAE: `mss` (stratified, symmetric weights), `mss-chen` (the "
        "published weights, with the correct matrix) or `mws`. Assumption; see docs/objectives.md.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Precision of the matrix products and convolutions in training: `float32`, `bfloat16` (weights, losses and "
        "sums stay float32), or `auto`: bfloat16 where the GPU or the CPU (AMX) has units for it. Assumption. Evaluation and "
        "attacks do not depend on it.",
    )
    beta_warmup: Natural = Field(0, description="Epochs over which β rises from 1 to its value. Assumption.")
    clip: Positive | None = Field(
        None,
        description="Bound on the 2-norm of the gradient of all weights; null sets no bound. Assumption.",
    )
    free_bits: float = Field(
        0.125,
        ge=0,
        description="Free bits of a Seatbelt-VAE with more than one layer: nats per latent dimension and image that training "
        "does not penalise. Assumption, read from the file names of the paper's figures.",
    )


class Train(TrainOptions):
    """Optimisation."""

    threads: Count = Field(
        1, description="CPU threads of one training. Results are reproducible for a fixed number of threads."
    )


class Evaluate(Section):
    """Evaluation of a trained model on the held-out split."""

    max_images: int = Field(
        10000, ge=2, description="Number of held-out images that are evaluated: the first ones of the split."
    )
    importance_samples: Count = Field(
        16, description="Posterior samples per image, k, of the importance-weighted bound."
    )
    aggregate_samples: int = Field(
        2000,
        ge=2,
        description="Samples of the aggregate posterior for the exact total correlation. Each is compared with all images.",
    )
    keep: Count = Field(
        256,
        description="Images (or points) whose posterior, sample and reconstruction are stored for the figures.",
    )


class Attack(Section):
    """Attacks with a penalty λ‖d‖₂ on every model of an image data set."""

    losses: LossNames = Field(
        ("latent-kl",),
        description="Losses that the attacks minimise in addition to λ‖d‖₂, see docs/attacks.md. An empty list makes no "
        "attacks. Losses that need a posterior with width skip the autoencoder.",
    )
    pairs: Pairs = Field(
        20,
        description="Pairs (image, target) from the held-out split, the same for every model of a data set: their number, or a "
        "list of [image, target], rows of that split counted from 0. The table results/tables/pairs.csv lists them.",
    )
    pair_seed: Natural = Field(0, description="Seed that draws the pairs, unless `pairs` is a list.")
    lambdas: Lambdas = Field(
        {"log2_min": -20, "log2_max": 20, "count": 50},
        description="Weights of the penalty λ‖d‖₂: `count` values, geometric from 2^`log2_min` to 2^`log2_max`, or a list of "
        "values.",
    )
    lambdas_per_job: Literal["all"] | Count = Field(
        "all",
        description="Number of λ values per job. `all`: one job per model and loss; otherwise one more job combines the blocks. "
        "The results do not depend on it.",
    )
    draws: Count = Field(
        4,
        description="Draws of z in the losses `output` and `max-damage`. Each pair has its own, the same at every step and λ. "
        "Assumption.",
    )
    solver: Solver = Field(
        "lbfgs",
        description="`lbfgs` solves many rows at once. `scipy` is the reference: L-BFGS-B as in the papers (m = 25, factr = "
        "10), one row after the other, with its own bounds and stopping rules; it is a hundred times slower.",
    )
    precision: Precision = Field(
        "float32", description="Precision of the images, the network and the solver in attacks."
    )
    max_iterations: Count = Field(
        500,
        description="Bound on the network evaluations of a row, rejected steps included. Each time that the row is solved "
        "again, from the result of another λ, the bound is half of it.",
    )
    tolerance: Positive = Field(
        0.0001,
        description="A row has converged when five steps lower its objective by at most tolerance × (objective + initial "
        "divergence / 10).",
    )
    batch_size: Count = Field(
        64,
        description="Rows (λ, pair) per batch of the network. Every batch is filled up to this size, so that no row depends on "
        "the other rows in its batch.",
    )
    samples: Count = Field(8, description="Posterior samples per row for the distances in image space.")
    threads: Count = Field(1, description="CPU threads of one attack job.")


class Ball(Section):
    """Attacks of bounded size, ‖d‖ ≤ ε, instead of penalised ones; see docs/attacks.md. Off while `losses` is empty. Pairs,
    draws, samples, precision, batch size and threads are those of `attack`. Table results/tables/ball.csv, figure `ball`."""

    losses: LossNames = Field(
        (),
        description="Losses that these attacks minimise. An empty list makes no attacks. Losses that need a posterior with "
        "width skip the autoencoder.",
    )
    l2: Radii = Field(
        (0.5, 1, 2, 4),
        description="Bounds ε on ‖d‖₂ over all pixels, which lie in [0,1]. An empty list skips this norm. Assumption.",
    )
    linf: Radii = Field(
        (0.05, 0.1, 0.2, 0.4),
        description="Bounds ε on the largest change of a pixel. An empty list skips this norm. Assumption.",
    )
    restarts: Natural = Field(
        3,
        description="Starting points in addition to d = 0: first the target, then random points. A loss without target, such "
        "as `max-damage`, needs at least one.",
    )
    steps: Count = Field(100, description="Steps from each starting point.")


class Checks(Section):
    """Checks of whether an attack can be believed (noise, transfer, restarts), and its effect on a classifier (probe) and
    against a defence; see docs/robustness.md. Columns of results/tables/robustness.csv."""

    noise: Natural = Field(
        4, description="Draws of random noise with the norm of each row's distortion; 0 skips this check."
    )
    transfer: bool = Field(
        True, description="Apply the distortions found for the model at β = 1 with the same d_z and seed."
    )
    restarts: Natural = Field(
        2,
        description="Random starts of a projected descent within each budget of distortion; 0 skips this check.",
    )
    restart_steps: Count = Field(40, description="Steps of that descent. Assumption.")
    probe: bool = Field(
        False,
        description="Fit a linear classifier to the latents of the training images and attack it. Needs labels.",
    )
    probe_images: int = Field(
        10000, ge=2, description="Number of training images that the classifier is fitted to: the first ones."
    )
    mcmc_steps: Natural = Field(
        0,
        description="Defend by this many proposals of Hamiltonian Monte Carlo towards p(z|x+d) before decoding (Kuzina et al. "
        "2022 use 500 on MNIST); 0 skips the defence.",
    )
    mcmc_step_size: Positive = Field(
        0.1, description="Initial step size of the leapfrog steps of the defence; the defence adapts it."
    )
    mcmc_leapfrogs: Count = Field(5, description="Leapfrog steps per proposal of the defence.")
    mcmc_acceptance: float = Field(
        0.9, gt=0, le=1, description="Acceptance rate that the step size of the defence is adapted towards."
    )
    adaptive_steps: Natural = Field(
        0,
        description="Attack the defence itself, through this many of its proposals; 0 skips this attack. Assumption.",
    )
    adaptive_iterations: Count = Field(20, description="Steps of that attack. Assumption.")

    @property
    def enabled(self) -> bool:
        """Whether at least one check is made."""
        return any((self.noise, self.transfer, self.restarts, self.probe, self.mcmc_steps))


class Plot(Section):
    """Settings of the figures and of the summary."""

    beta: Positive = Field(
        10,
        description="β of the models in the σ density and in the attack montage; the grid's nearest value is taken.",
    )
    d_z: Count = Field(
        16, description="d_z of the models in those two figures; the grid's nearest value is taken."
    )
    pairs: Count = Field(4, description="Number of pairs in the attack montage: the first ones.")
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples of every interval.")
    explorer_megabytes: float = Field(
        30,
        ge=6,
        description="Bound on the size of the explorer page, in megabytes. If all pictures do not fit, the page keeps in turn "
        "every second λ and the first half of the pairs, then only the lowest training seed, then only the models of the "
        "montage.",
    )


class ExternalOptions(Section):
    """The keys of `External` that decide the model."""

    entry: Text = Field(
        description="`file.py:function` or `package.module:function`. The function is called with the weights, a mapping from "
        "names to tensors, and returns an object with `posterior(x)` and `decode(*z)`, in eval mode.",
    )
    weights: Text = Field(
        description="Checkpoint, `.safetensors` or written by `torch.save`; it is read without executing pickles."
    )
    key: Text | None = Field(
        None,
        description="Place of the weights in a checkpoint that holds several things, such as `state_dict`; dots go deeper.",
    )
    dataset: str = Field(
        description="Data set of the study on whose held-out images the model is evaluated and attacked."
    )
    shape: tuple[Count, Count, Count] = Field(
        description="Channels, height and width of the images that the model takes."
    )
    range: tuple[float, float] = Field(
        (0, 1),
        description="Darkest and brightest value of a pixel that the model takes. Images of this package lie in [0,1] and are "
        "scaled to this range.",
    )
    d_z: Count = Field(description="Number of latent dimensions of all layers together.")


class External(ExternalOptions):
    """Models that were trained elsewhere, by name. Each takes part in evaluation, attacks, tables and figures as one more
    family; see docs/your-model.md."""

    losses: Literal["all"] | Annotated[tuple[LossName, ...], Field(min_length=1), Unique()] = Field(
        "all",
        description="Losses out of the data set's `attack.losses` and `ball.losses` that the model is attacked with. A model "
        "whose posterior has no width cannot be attacked with a KL divergence.",
    )


class DatasetSettings(Section):
    """Settings of one data set: `path` to files that you already have, and any of the sections above. Settings under
    `datasets.<name>` override those at the top. A name of your own needs a `kind`."""

    path: Text | None = Field(
        None,
        description="File or folder with the official data or with your own. Null: download the data, where that is possible.",
    )
    kind: str = Field(
        "",
        json_schema_extra=of_data_set,
        description="Kind of a data set with a name of your own: `folder` (a tree of images, a .zip or a .tar), `array` (.npy, "
        ".npz, .h5, .mat), or one of the known data sets.",
    )
    checksum: str | None = Field(
        None,
        pattern="^(md5:[0-9A-Fa-f]{32}|sha1:[0-9A-Fa-f]{40}|sha256:[0-9A-Fa-f]{64})$",
        json_schema_extra=of_data_set,
        description="Checksum of the file at `path`, verified before use: `md5:…`, `sha1:…` or `sha256:…`. Optional.",
    )
    size: Annotated[int, Field(ge=8, le=1024)] | None = Field(
        None,
        json_schema_extra=of_data_set,
        description="`folder`: side in pixels that images are scaled to. Null: images stay as they are and must all have one "
        "size. Not given: 64 (assumption).",
    )
    crop: Annotated[int, Field(ge=8)] | None = Field(
        None,
        json_schema_extra=of_data_set,
        description="`folder`: side in pixels of the square cut from the middle before scaling. Null: the largest square.",
    )
    channels: Literal[1, 3] = Field(
        3,
        json_schema_extra=of_data_set,
        description="`folder`: 3 for colour images, 1 for grey ones. Not given: 3 (assumption).",
    )
    key: str = Field(
        "",
        json_schema_extra=of_data_set,
        description="`array`: name of the array of images in the file. Not needed if the file holds one array.",
    )
    labels: str = Field(
        "",
        json_schema_extra=of_data_set,
        description="`array`: name of an array of whole numbers in the same file, the classes. Optional.",
    )
    axes: Literal["NHW", "HWN", "NCHW", "NHWC", "HWCN", "NCWH"] = Field(
        "NHW",
        json_schema_extra=of_data_set,
        description="`array`: order of the axes, such as NHWC. Not given: N is the first, and the axis of channels is the one "
        "of length 1 or 3.",
    )
    grid: Grid = Grid()
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    attack: Attack = Attack()
    ball: Ball = Ball()
    checks: Checks = Checks()


DatasetName = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Settings(Section):
    """config.yaml."""

    study: Annotated[tuple[str, ...], Field(min_length=1), Unique()] = Field(
        ("swissroll", "digits"),
        description="Data sets of the study, in the order of the panels in the figures.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Device of training and attacks. `auto` is a GPU if there is one, otherwise the CPU.",
    )
    gpu_jobs_per_device: Count = Field(
        1,
        description="Number of jobs on this machine that may share one GPU. More than 1 pays off if models are too small to "
        "fill it. It changes when jobs run, not their results. On a cluster the scheduler assigns each job its own GPU "
        "regardless of this setting.",
    )
    data_dir: Text | None = Field(
        None,
        description="Folder of downloaded files, shared by all studies. Null: the environment variable VAEPIPE_DATA_DIR, or "
        "else the user's cache (XDG_CACHE_HOME/vaepipe or ~/.cache/vaepipe).",
    )
    grid: Grid = Grid()
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    attack: Attack = Attack()
    ball: Ball = Ball()
    checks: Checks = Checks()
    plot: Plot = Plot()
    external: dict[str, External] = {}
    datasets: dict[DatasetName, DatasetSettings] = {}
