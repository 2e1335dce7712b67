"""All settings of config.yaml: those of the whole study, of data sets, and of models trained elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from vaepipe.study.sections import Attack, Ball, Checks, Evaluate, Grid, Model, Plot, Train, TrainOptions
from vaepipe.study.types import Count, LossName, Section, Text, Unique, of_data_set

__all__ = [
    "Attack",
    "Ball",
    "Checks",
    "DatasetSettings",
    "Evaluate",
    "External",
    "ExternalOptions",
    "Grid",
    "Model",
    "Plot",
    "Settings",
    "Train",
    "TrainOptions",
]

SOURCE_OPTIONS = ("size", "crop", "channels", "frames", "key", "labels", "axes", "maximum")
"""Keys of a data set that only some kinds take: those that their registry entry names."""


class ExternalOptions(Section):
    """The keys of `External` that decide the model."""

    entry: Text
    """`file.py:function` or `package.module:function`. The function is called with the weights, a mapping
    from names to tensors, and returns an object with `posterior(x)` and `decode(*z)`, in eval mode. Or a
    model of another library: `diffusers:folder`, `pythae:folder`, `compressai:file`."""
    weights: Text
    """Checkpoint, `.safetensors` or written by `torch.save`; it is read without executing pickles."""
    key: Text | None = None
    """Place of the weights in a checkpoint that holds several things, such as `state_dict`; dots go
    deeper."""
    dataset: str
    """Data set of the study on whose held-out images the model is evaluated and attacked."""
    shape: tuple[Count, Count, Count]
    """Channels, height and width of the images that the model takes."""
    range: tuple[float, float] = (0, 1)
    """Darkest and brightest value of a pixel that the model takes. Images of this package lie in [0,1] and
    are scaled to this range."""
    d_z: Count
    """Number of latent dimensions of all layers together."""
    likelihood: Literal["gaussian", "bernoulli", "probabilities"] = "gaussian"
    """What `decode` gives, where the model is a module with `encode` in place of `posterior`: means of a
    `gaussian` with a σ of a tenth of the range, logits (`bernoulli`), or `probabilities`."""


class External(ExternalOptions):
    """Models that were trained elsewhere, by name. Each takes part in evaluation, attacks, tables and figures
    as one more family; see docs/your-model.md."""

    losses: Literal["all"] | Annotated[tuple[LossName, ...], Field(min_length=1), Unique()] = "all"
    """Which of the data set's `attack.losses` and `ball.losses` attack the model. A model whose posterior has
    no width cannot be attacked with a KL divergence."""


class DatasetSettings(Section):
    """Settings of one data set: `path` to files that you already have, and any of the sections above. They
    beat the keys at the top of the same file. A name of your own needs a `kind`."""

    path: Text | None = None
    """File or folder with the official data or with your own. Null: download the data, where that is
    possible."""
    kind: str = Field(default="", json_schema_extra=of_data_set)
    """Kind of a data set with a name of your own: `folder` (a tree of images, a .zip or a .tar), `array`
    (.npy, .npz, .h5, .mat, .safetensors), or one of the known data sets."""
    checksum: str | None = Field(
        default=None,
        pattern="^(md5:[0-9A-Fa-f]{32}|sha1:[0-9A-Fa-f]{40}|sha256:[0-9A-Fa-f]{64})$",
        examples=["md5:…", "sha1:…", "sha256:…"],
        json_schema_extra=of_data_set,
    )
    """Checksum of the file at `path`, verified before use: `md5:…`, `sha1:…` or `sha256:…`. Optional."""
    size: Annotated[int, Field(ge=8, le=1024)] | None = Field(default=None, json_schema_extra=of_data_set)
    """`folder`: side in pixels that images are scaled to. Null: images stay as they are and must all have one
    size. Not given: 64 (assumption)."""
    crop: Annotated[int, Field(ge=8)] | None = Field(default=None, json_schema_extra=of_data_set)
    """`folder`: side in pixels of the square cut from the middle before scaling. Null: the largest square."""
    channels: Literal[1, 3] = Field(default=3, json_schema_extra=of_data_set)
    """`folder`: 3 for colour images, 1 for grey ones. Not given: 3 (assumption)."""
    frames: Literal["first", "all"] = Field(default="first", json_schema_extra=of_data_set)
    """`folder`: which pages or frames of a file with several are images: the first, or all."""
    key: str = Field(default="", json_schema_extra=of_data_set)
    """`array`: name of the array of images in the file. Not needed if the file holds one array."""
    labels: str = Field(default="", json_schema_extra=of_data_set)
    """`array`: name of an array of whole numbers in the same file, the classes. Optional."""
    axes: Literal[
        "NHW", "NWH", "HWN", "WHN", "NCHW", "NCWH", "NHWC", "NWHC", "HWCN", "WHCN", "CHWN", "CWHN"
    ] = Field(default="NHW", json_schema_extra=of_data_set)
    """`array`: order of the axes, such as NHWC. Not given: N is the first, and the axis of channels is the
    one of length 1 or 3."""
    maximum: Count | None = Field(default=None, json_schema_extra=of_data_set)
    """`folder`, `array`: value of white, such as 1, 15 or 4095. Not given: what the type of the values says,
    255 or 65535 for integers, 1 for real numbers."""
    grid: Grid = Grid()
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    attack: Attack = Attack()
    ball: Ball = Ball()
    checks: Checks = Checks()

    @property
    def options(self) -> dict[str, Any]:
        """The options of the data set's kind that are given."""
        return {key: getattr(self, key) for key in SOURCE_OPTIONS if key in self.model_fields_set}

    @model_serializer(mode="wrap")
    def given_options(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out options that are not given: they have no value, not even null."""
        absent = set(SOURCE_OPTIONS) - self.model_fields_set
        return {key: value for key, value in handler(self).items() if key not in absent}


DatasetName = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Settings(Section):
    """config.yaml."""

    study: Annotated[tuple[str, ...], Field(min_length=1), Unique()] = ("swissroll", "digits")
    """Data sets of the study, in the order of the panels in the figures."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of training and attacks. `auto` is a GPU if there is one, otherwise the CPU."""
    gpu_jobs_per_device: Count = 1
    """Number of jobs on this machine that may share one GPU. More than 1 pays off if models are too small to
    fill it. It changes when jobs run, not their results. On a cluster the scheduler assigns each job its own
    GPU regardless of this setting."""
    data_dir: Text | None = None
    """Folder of downloaded files, shared by all studies. Null: the environment variable VAEPIPE_DATA_DIR, or
    else the user's cache (XDG_CACHE_HOME/vaepipe or ~/.cache/vaepipe)."""
    grid: Grid = Grid()
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    attack: Attack = Attack()
    ball: Ball = Ball()
    checks: Checks = Checks()
    plot: Plot = Plot()
    external: dict[str, External] = Field(default={})
    datasets: dict[DatasetName, DatasetSettings] = Field(default={})
