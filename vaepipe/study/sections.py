"""The sections of config.yaml as typed classes. The text below a key is its meaning.

`vaepipe.tools.reference` generates the schema for editors and docs/configuration.md from these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from vaepipe.study.types import (
    Count,
    Effort,
    EstimatorName,
    FamilyName,
    Lambdas,
    LossNames,
    Natural,
    NetworkName,
    Pairs,
    Positive,
    Precision,
    PurifierNames,
    Radii,
    Section,
    Seed,
    Solver,
    Unique,
    lambda_values,
    of_data_set,
)

LAMBDAS: dict[str, JsonValue] = {"log2_min": -20, "log2_max": 20, "count": 50}


class Grid(Section):
    """One model is trained for each family × β × d_z × seed. At β = 1 the families share one model."""

    families: Annotated[tuple[FamilyName, ...], Unique()] = ("beta-vae", "beta-tcvae")
    """Model families; an empty list trains none, for studies of `external` models. `vae` is β = 1, which
    β-VAE and β-TCVAE contain. `ae` is the deterministic autoencoder. `seatbelt` is the hierarchical
    Seatbelt-VAE: its top layer has d_z dimensions, and each layer below has twice as many."""
    betas: Annotated[tuple[Positive, ...], Field(min_length=1), Unique()] = (1, 2, 4, 6, 8, 10)
    """β of the objective: the weight of the KL divergence (β-VAE) or of the total correlation (β-TCVAE)."""
    d_z: Annotated[tuple[Count, ...], Field(min_length=1), Unique()] = (4, 8, 16, 32, 64, 128)
    """Number of latent dimensions."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), Unique()] = (0,)
    """Training seeds; each is one more replicate of every model. Assumption: the original paper appears to
    use one. With at least three, the confidence bands include the variation between trainings."""


class Model(Section):
    """Networks and likelihood."""

    network: NetworkName = Field(default="mlp", json_schema_extra=of_data_set)
    """`mlp` or `conv` after Chen et al. (2018), `burgess`, the convolutions of Burgess et al. (2018), or
    `compact`, a small one. All but `mlp` need images. The default depends on the data set."""
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        default=(128, 128), json_schema_extra=of_data_set
    )
    """Widths of the hidden layers of the MLP encoder. The decoder has one more layer, of the first width, as
    in Chen et al. (2018). The default depends on the data set."""
    batch_norm: bool | None = None
    """BatchNorm after each hidden layer of `mlp` or `conv`. Null: as in Chen et al. (2018), which has it in
    `conv` and not in `mlp`."""
    likelihood: Literal["bernoulli", "gaussian"] = Field(default="bernoulli", json_schema_extra=of_data_set)
    """p(x|z). Assumption, as the paper does not say: Bernoulli for binary and grey images, Gaussian for
    colour images and for points. The default depends on the data set."""
    sigma_x: Positive = Field(default=0.1, json_schema_extra=of_data_set)
    """Standard deviation of a Gaussian likelihood, in the scale of the data (images lie in [0,1]).
    Assumption. The default depends on the data set."""
    layers: Count = 4
    """Stochastic layers of a Seatbelt-VAE. Assumption: the figures of the paper have 4."""
    between: Annotated[tuple[Count, ...], Field(min_length=1)] = (1024, 512, 256, 128, 64)
    """Hidden widths of the networks between the stochastic layers of a Seatbelt-VAE, from the bottom up; the
    last one repeats. Assumption."""


class TrainOptions(Section):
    """The keys of `Train` that decide the weights."""

    epochs: Count = 50
    """Passes over the training split. Assumption: 50 is the default of the code of Chen et al."""
    steps: Count | None = None
    """Number of optimiser steps, instead of a number of epochs; the last epoch may be cut short. Null: train
    for `epochs` epochs."""
    batch_size: int = Field(default=1024, ge=2)
    """Images per step. Assumption. The total-correlation estimator depends on it, so use one value for all
    β."""
    learning_rate: Positive = 0.001
    """Step size of Adam. Assumption."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning-rate schedule: `constant`, or `cosine`, which decays to zero over the whole training.
    Assumption."""
    estimator: EstimatorName = "mss"
    """Minibatch estimator of log q(z) for β-TCVAE: `mss` (stratified, symmetric weights), `mss-chen` (the
    published weights, with the correct matrix) or `mws`. `mss-released` and `mss-joint-weighted` are not
    correct: they reproduce what published code computes, and tables and figures say so. Assumption; see
    docs/objectives.md."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the matrix products and convolutions in training: `float32`, `bfloat16` (weights, losses
    and sums stay float32), or `auto`: bfloat16 where the GPU or the CPU (AMX) has units for it. Assumption.
    Evaluation is always in float32; for attacks see `attack.precision`."""
    beta_warmup: Natural = 0
    """Epochs over which β rises from 1 to its value. Assumption."""
    clip: Positive | None = None
    """Bound on the 2-norm of the gradient of all weights; null sets no bound. Assumption."""
    free_bits: Annotated[float, Field(ge=0)] | None = None
    """Free bits: nats of KL per latent dimension that training does not penalise, on average over a batch.
    Null: 0.125 for a Seatbelt-VAE with more than one layer (assumption, read from the file names of the
    paper's figures), 0 for all other models."""
    kl: Literal["closed-form", "sample"] = "closed-form"
    """KL(q(z|x) ‖ p(z)) in training: the closed form, or log q(z|x) − log p(z) at one sample. Evaluation has
    the closed form."""
    likelihood_weight: Positive = 1
    """Factor of log p(x|z) in training, for code that averages over pixels instead of summing. Evaluation
    does not have it."""
    snapshots: Annotated[tuple[Count, ...], Unique()] = ()
    """Numbers of steps after which the weights are kept and evaluated too, as models of their own in the
    tables (column `snapshot`). Each is below the number of steps of the training."""


class Train(TrainOptions):
    """Optimisation."""

    threads: Count = 1
    """CPU threads of one training. Results are reproducible for a fixed number of threads."""


class Evaluate(Section):
    """Evaluation of a trained model on the held-out split."""

    max_images: int = Field(default=10000, ge=2)
    """Number of held-out images that are evaluated: the first ones of the split."""
    importance_samples: Count = 16
    """Posterior samples per image, k, of the importance-weighted bound."""
    aggregate_samples: int = Field(default=2000, ge=2)
    """Samples of the aggregate posterior for the exact total correlation. Each is compared with all
    images."""
    keep: Count = 256
    """Images (or points) whose posterior, sample and reconstruction are stored for the figures."""


class Attack(Section):
    """Attacks with a penalty λ‖d‖₂ on every model of an image data set."""

    losses: LossNames = ("latent-kl",)
    """Losses that the attacks minimise in addition to λ‖d‖₂; docs/attacks.md explains each. An empty list
    makes no attacks. The autoencoder is not attacked by losses that need a posterior with width."""
    pairs: Pairs = 20
    """Pairs (image, target) from the held-out split, the same for every model of a data set: their number, or
    a list of [image, target], rows of that split counted from 0. The table results/tables/pairs.csv lists
    them."""
    pair_seed: Natural = 0
    """Seed that draws the pairs, unless `pairs` is a list."""
    lambdas: Lambdas = Field(default=lambda_values(LAMBDAS), json_schema_extra={"default": LAMBDAS})
    """Weights of the penalty λ‖d‖₂: `count` values, geometric from 2^`log2_min` to 2^`log2_max`, or a list of
    values."""
    lambdas_per_job: Literal["all"] | Count = "all"
    """Number of λ values per job. `all`: one job per model and loss; otherwise one more job combines the
    blocks. The results do not depend on it."""
    draws: Count = 4
    """Draws of z in the losses `output` and `max-damage`. Each pair has its own, the same at every step and
    λ. Assumption."""
    solver: Solver = "lbfgs"
    """`lbfgs` solves many rows at once. `scipy` is the reference: L-BFGS-B as in published attack code (m =
    25, factr = 10), one row after the other, with its own bounds and stopping rules. It is about a hundred
    times slower."""
    effort: Effort = Field(default="default", json_schema_extra=of_data_set)
    """How long to search for stronger attacks after each λ is solved: `fast` once from the target, `default`
    in up to four rounds more, `thorough` in up to twelve. See docs/attacks.md for what each costs, and
    docs/attacks-measured.md for what each finds."""
    precision: Precision = "float32"
    """Precision of the images, the network and the solver in attacks."""
    max_iterations: Count = 500
    """Bound on the network evaluations of a row, rejected steps included. A row that is solved again, from
    the result of another λ, may take half of it. The searches of `effort` take shares of it."""
    tolerance: Positive = 0.0001
    """A row stops when five steps lower its objective by at most tolerance × (objective + initial divergence
    / 10)."""
    batch_size: Literal["auto"] | Count = "auto"
    """Rows (λ, pair) per batch of the network. Every batch is filled up to this size, so that no row depends
    on the other rows in its batch. `auto`: 256 for images of 8×8 pixels and 64 for those of 28×28 and more,
    which are fastest on a CPU; with `device: cuda` all rows, at most 4096. It depends on the configuration
    alone, not on the machine."""
    snapshots: bool = False
    """Attack the models of `train.snapshots` too, not only those at the end of the training."""
    samples: Count = 8
    """Posterior samples per row for the distances in image space."""
    threads: Count = 1
    """CPU threads of one attack job."""


class Ball(Section):
    """Attacks of bounded size, ‖d‖ ≤ ε, in addition to penalised ones; see docs/attacks.md. There are none
    while `losses` is empty. Pairs, draws, samples, precision, batch size and threads are those of `attack`.
    The results are the table results/tables/ball.csv and the figure `ball`."""

    losses: LossNames = ()
    """Losses that these attacks minimise. An empty list makes no attacks. The autoencoder is not attacked by
    losses that need a posterior with width."""
    l2: Radii = (0.5, 1, 2, 4)
    """Bounds ε on ‖d‖₂ over all pixels, which lie in [0,1]. An empty list skips this norm. Assumption."""
    linf: Radii = (0.05, 0.1, 0.2, 0.4)
    """Bounds ε on the largest change of a pixel; `8/255` is written as that. An empty list skips this norm.
    Assumption."""
    restarts: Natural = 7
    """Starting points in addition to d = 0: first the target, then random points. A loss without target, such
    as `max-damage`, needs at least one."""
    steps: Count = 100
    """Steps from each starting point."""


class Checks(Section):
    """Checks of whether an attack can be believed (noise, transfer, restarts, polish), and what the attack
    does to a classifier (probe) and against a defence; see docs/robustness.md. The results are columns of
    results/tables/robustness.csv."""

    noise: Natural = 4
    """Draws of random noise with the norm of each row's distortion; 0 skips this check."""
    transfer: bool = True
    """Apply the distortions found for the model at β = 1 with the same d_z and seed."""
    restarts: Natural = 2
    """Random starts of a projected descent within each of the distortions ‖d‖₂ = 0.1, 0.25, 0.5 and 1 times
    ‖x − x_t‖₂; 0 skips this check."""
    restart_steps: Count = 40
    """Steps of each such descent. Assumption."""
    polish: Natural = 12
    """Number of rows from which a longer search goes on, to see how much lower the attack can get; 0 skips
    this check."""
    probe: bool = False
    """Fit a linear classifier to the latents of the training images, and apply it to the attacked images. It
    needs labels."""
    probe_images: int = Field(default=10000, ge=2)
    """Number of training images that the classifier is fitted to: the first ones."""
    mcmc_steps: Natural = 0
    """Defend by this many proposals of Hamiltonian Monte Carlo towards p(z|x+d) before decoding (Kuzina et
    al. 2022 use 500 on MNIST); 0 skips the defence."""
    mcmc_step_size: Positive = 0.1
    """Initial step size of the leapfrog steps of the defence; the defence adapts it."""
    mcmc_leapfrogs: Count = 5
    """Leapfrog steps per proposal of the defence."""
    mcmc_acceptance: float = Field(default=0.9, gt=0, le=1)
    """Acceptance rate that the step size of the defence is adapted towards."""
    adaptive_steps: Natural = 0
    """Attack the defence itself, through this many of its proposals; 0 skips this attack. Assumption."""
    adaptive_iterations: Count = 20
    """Steps of the attacks on the defence and on purifiers. Assumption."""
    purifiers: PurifierNames = ()
    """What a defender may do to an input before it is decoded. The attacks are passed through each purifier,
    and new ones are made to pass it; see the table results/tables/purifiers.csv. `vae` is the attacked model
    itself; another VAE is `zoo:NAME` or a file in a study's `results/models`. `hmc` needs `mcmc_steps`."""


class Plot(Section):
    """Settings of the figures and of the summary."""

    beta: Positive = 10
    """β of the models in figures that have room for a few, such as the montage, samples and training curves.
    The nearest β of the grid is taken."""
    d_z: Count = 16
    """d_z of the models in these figures. The nearest d_z of the grid is taken."""
    pairs: Count = 4
    """Number of pairs in the attack montage: the first ones."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of every interval."""
    width: Literal["column", "page"] = "page"
    """Width of the figures: `column` of a printed page, 3.4 inches, or the whole `page`, 7 inches."""
    style: Literal["paper", "slides"] = "paper"
    """`slides` draws larger pages with larger text and thicker lines."""
    svg: bool = False
    """Write each figure as SVG too, beside PDF and PNG."""
    figures: dict[str, str] = Field(default={})
    """Figures of your own: name → Python file, see docs/figures.md."""
    explorer_megabytes: float = Field(default=30, ge=6)
    """Bound on the size of the explorer page, in megabytes. If all pictures do not fit, the page keeps in
    turn every second λ and the first half of the pairs, then only the lowest training seed, then only the
    models of the montage."""
