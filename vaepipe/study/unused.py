"""Keys of a configuration that change nothing, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from vaepipe.attacks.loss import find_loss
from vaepipe.datasets.registry import DATASETS
from vaepipe.models.family import find_family
from vaepipe.models.network import find_network
from vaepipe.models.registry import FAMILIES, NETWORKS
from vaepipe.study.sections import Attack, Ball, Checks
from vaepipe.study.specs import settings_of_others
from vaepipe.study.validation import SECTIONS, Config

if TYPE_CHECKING:
    from vaepipe.study.cells import Cell
    from vaepipe.study.settings import DatasetSettings
    from vaepipe.study.study import Study

PENALISED_ONLY = ("lambdas", "lambdas_per_job", "solver", "max_iterations", "tolerance")
"""Keys of `attack` that the attacks of bounded size do not share."""
SWITCHES = {
    "probe_images": ("probe",),
    "restart_steps": ("restarts",),
    "mcmc_step_size": ("mcmc_steps",),
    "mcmc_leapfrogs": ("mcmc_steps",),
    "mcmc_acceptance": ("mcmc_steps",),
    "adaptive_steps": ("mcmc_steps",),
    "adaptive_iterations": ("adaptive_steps", "purifiers"),
}
"""Key of `checks` → the keys of which any switches it on."""


def unused_keys(config: Config, study: Study) -> list[str]:
    """Return one line for each key of a valid configuration that has no effect on its study.

    Args:
        config: what the files of the user hold, merged.
        study: the study of that configuration.
    """
    given = config.get("datasets", {})
    reasons = {name: dict(_unused_of_dataset(study, name)) for name in study.names}
    lines = [f"datasets.{name}: {name} is not in `study`" for name in given if name not in study.names]
    for section, key in _keys(config):
        why = [
            f"datasets.{name}.{section}.{key} takes its place"
            if key in given.get(name, {}).get(section, {})
            else reasons[name].get(f"{section}.{key}", "")
            for name in study.names
        ]
        if all(why):
            lines.append(f"{section}.{key}: {'; '.join(dict.fromkeys(why))}")
    for name in study.names:
        for section, key in _keys(given.get(name, {})):
            if why_not := reasons[name].get(f"{section}.{key}"):
                lines.append(f"datasets.{name}.{section}.{key}: {why_not}")
    lines += _unused_of_study(config, study)
    return [line.replace(": ", " has no effect: ", 1) for line in lines]


def _keys(config: Config) -> Iterator[tuple[str, str]]:
    """Return (section, key) of all sections that differ from data set to data set."""
    for section in SECTIONS:
        for key in config.get(section, {}):
            yield section, key


def _unused_of_study(config: Config, study: Study) -> Iterator[str]:
    """Yield the keys of the whole study that have no effect."""
    if "gpu_jobs_per_device" in config and study.device == "cpu":
        yield "gpu_jobs_per_device: device is cpu"
    sources = study.settings.values()
    if config.get("data_dir") and all(own.path or DATASETS[own.kind].generated for own in sources):
        yield "data_dir: nothing is downloaded, as every data set is generated or has a path"


def _unused_of_dataset(study: Study, name: str) -> Iterator[tuple[str, str]]:
    """Yield (section.key, reason) of the keys that change nothing for one data set."""
    own = study.settings[name]
    trained = [cell for cell in study.cells if cell.dataset == name and cell.family not in study.external]
    yield from _unused_of_grid(own)
    yield from _unused_of_model(own, trained)
    yield from _unused_of_train(own, trained)
    if not DATASETS[own.kind].images:
        reason = f"{name} has points, which are not attacked"
        yield from _whole_section("attack", Attack.model_fields, reason)
        yield from _whole_section("ball", Ball.model_fields, reason)
        yield from _whole_section("checks", Checks.model_fields, reason)
        return
    yield from _unused_of_attack(own)
    yield from _unused_of_ball(own)
    yield from _unused_of_checks(own)
    transfers = any(study.source(cell, loss) for cell, loss in study.attacks() if cell.dataset == name)
    if own.attack.losses and own.checks.transfer and not transfers:
        yield "checks.transfer", "there is no model at β = 1 beside another one with its d_z and seed"


def _whole_section(section: str, keys: Iterable[str], reason: str) -> Iterator[tuple[str, str]]:
    for key in keys:
        yield f"{section}.{key}", reason


def _unused_of_grid(own: DatasetSettings) -> Iterator[tuple[str, str]]:
    if own.grid.families and not any(find_family(family).uses_beta for family in own.grid.families):
        yield "grid.betas", f"β does not apply to {', '.join(own.grid.families)}"


def _unused_of_model(own: DatasetSettings, trained: list[Cell]) -> Iterator[tuple[str, str]]:
    read = find_network(own.model.network).settings
    for key in sorted({key for network in NETWORKS for key in find_network(network).settings} - set(read)):
        yield f"model.{key}", f"the network {own.model.network} does not have it"
    if own.model.likelihood != "gaussian":
        yield "model.sigma_x", f"the likelihood is {own.model.likelihood}"
    yield from _of_absent_families("model", type(own.model).model_fields, trained)


def _of_absent_families(section: str, keys: Iterable[str], trained: list[Cell]) -> Iterator[tuple[str, str]]:
    """Yield the keys that only families read which the grid does not have."""
    for key in keys:
        if all(key in settings_of_others(cell.family) for cell in trained):
            readers = [name for name in FAMILIES if key in find_family(name).settings]
            yield f"{section}.{key}", f"no {' or '.join(readers)} is trained"


def _unused_of_train(own: DatasetSettings, trained: list[Cell]) -> Iterator[tuple[str, str]]:
    if own.train.steps is not None:
        yield "train.epochs", "train.steps takes its place"
    if not any(find_family(cell.family).estimates_tc and cell.beta != 1 for cell in trained):
        readers = [name for name in FAMILIES if find_family(name).estimates_tc]
        yield "train.estimator", f"no {' or '.join(readers)} is trained at β ≠ 1"
    if all(cell.beta == 1 or not find_family(cell.family).uses_beta for cell in trained):
        yield "train.beta_warmup", "no model is trained at β ≠ 1"
    if trained and not any(find_family(cell.family).has_width for cell in trained):
        for key in ("free_bits", "kl", "likelihood_weight"):
            yield f"train.{key}", "an autoencoder has no KL"
    yield from _of_absent_families("train", type(own.train).model_fields, trained)


def _unused_of_attack(own: DatasetSettings) -> Iterator[tuple[str, str]]:
    losses = [*own.attack.losses, *own.ball.losses]
    if not own.attack.losses:
        yield from _whole_section("attack", PENALISED_ONLY, "attack.losses is []")
    if not losses:
        shared = [key for key in Attack.model_fields if key not in (*PENALISED_ONLY, "losses")]
        yield from _whole_section("attack", shared, "attack.losses and ball.losses are []")
    elif not any(find_loss(loss).needs_decode for loss in losses):
        yield "attack.draws", f"no draws of z in {', '.join(dict.fromkeys(losses))}"
    if own.attack.losses and own.attack.solver == "scipy":
        others = ("max_iterations", "tolerance", *(() if own.ball.losses else ("effort",)))
        yield from _whole_section("attack", others, "the solver scipy has its own")
    if not own.train.snapshots:
        yield "attack.snapshots", "train.snapshots is []"


def _unused_of_ball(own: DatasetSettings) -> Iterator[tuple[str, str]]:
    if not own.ball.losses:
        others = [key for key in Ball.model_fields if key != "losses"]
        yield from _whole_section("ball", others, "ball.losses is []")


def _unused_of_checks(own: DatasetSettings) -> Iterator[tuple[str, str]]:
    if not own.attack.losses:
        yield from _whole_section("checks", Checks.model_fields, "attack.losses is []")
        return
    for key, switches in SWITCHES.items():
        value = getattr(own.checks, switches[0])
        if not any(getattr(own.checks, switch) for switch in switches):
            yield f"checks.{key}", f"checks.{switches[0]} is {'false' if value is False else value}"
