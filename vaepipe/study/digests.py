"""Digests of the code that each stage runs for a cell. Rules compare them; stages store them in their files.

Registries do not count, so what a cell uses is named here: its data set, family, network, loss, metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vaepipe.datasets.registry import DATASETS
from vaepipe.figures.registry import entries
from vaepipe.metrics.registry import LATENT_METRICS, TRIAL_METRICS
from vaepipe.models.adapter import split_entry
from vaepipe.storage.code_digest import PACKAGE, code_digest
from vaepipe.storage.digests import file_digest, spec_digest
from vaepipe.study.purifying_models import purifying_models
from vaepipe.study.specs import ExternalSpec, ModelSpec

if TYPE_CHECKING:
    from vaepipe.study.study import Study


def module(name: str) -> str:
    """Return the module name of an entry of a registry: ``latent-kl`` → ``latent_kl``."""
    return name.replace("-", "_")


def model_modules(spec: ModelSpec | ExternalSpec) -> tuple[str, ...]:
    """Return the modules that build a model."""
    if isinstance(spec, ExternalSpec):
        library = split_entry(spec.external.entry)
        adapter = () if library is None else (f"models.adapters.{library[0]}", "models.plain")
        return ("models.external", *adapter)
    return (f"models.families.{module(spec.family)}", f"models.networks.{module(spec.model.network)}")


def prepare_code(kind: str) -> str:
    """Return the digest of `prepare` for one kind of data set."""
    return code_digest("stages.prepare", f"datasets.{DATASETS[kind].module}")


def train_code(model_spec: ModelSpec) -> str:
    return code_digest("stages.train", *model_modules(model_spec))


def snapshot_code() -> str:
    return code_digest("stages.snapshot")


def adopt_code(model_spec: ExternalSpec) -> str:
    return code_digest("stages.adopt", *model_modules(model_spec))


def evaluate_code(model_spec: ModelSpec | ExternalSpec) -> str:
    """Return the digest of `evaluate`, which measures all latent metrics."""
    metrics = (f"metrics.latent.{module(name)}" for name in LATENT_METRICS)
    return code_digest("stages.evaluate", *model_modules(model_spec), *metrics)


def attack_code(model_spec: ModelSpec | ExternalSpec, loss: str) -> str:
    return code_digest("stages.attack", *model_modules(model_spec), f"attacks.losses.{module(loss)}")


def ball_code(model_spec: ModelSpec | ExternalSpec, loss: str) -> str:
    return code_digest("stages.ball", *model_modules(model_spec), f"attacks.losses.{module(loss)}")


def measure_code(model_spec: ModelSpec | ExternalSpec, loss: str, purifiers: Iterable[str] = ()) -> str:
    """Return the digest of `measure`, which measures all trial metrics and the purifiers of the study."""
    metrics = (f"metrics.trial.{module(name)}" for name in TRIAL_METRICS)
    models = purifying_models(purifiers)
    others = {f"trust.purifiers.{'vae' if name in models else module(name)}" for name in purifiers}
    modules = (*model_modules(model_spec), f"attacks.losses.{module(loss)}", *metrics, *sorted(others))
    code = code_digest("stages.measure", *modules)
    return spec_digest([code, *(file_digest(path) for path in models.values())]) if models else code


def collect_code() -> str:
    """Return the digest of `collect`, whose columns are those of all metrics."""
    latent = (f"metrics.latent.{module(name)}" for name in LATENT_METRICS)
    trial = (f"metrics.trial.{module(name)}" for name in TRIAL_METRICS)
    return code_digest("stages.collect", *latent, *trial)


def figure_code(figure: str, study: Study, dataset: str = "") -> str:
    """Return the digest of `plot` for one figure, of all data sets or of one."""
    entry, labels = entries(study.plot)[figure], labelled_modules(study, dataset)
    if entry.is_own:
        return spec_digest([code_digest("stages.plot", "figures.curves", *labels), file_digest(entry.module)])
    return code_digest("stages.plot", f"figures.{entry.module}", *labels)


def claims_code(study: Study) -> str:
    return code_digest("stages.claims", *labelled_modules(study))


def page_code(stage: str, study: Study) -> str:
    """Return the digest of a stage that makes pages, and of the templates."""
    templates = sorted((PACKAGE / "pages").glob("*.[!p]*"))
    code = code_digest(stage, *labelled_modules(study))
    return spec_digest([code, *(file_digest(path) for path in templates)])


def labelled_modules(study: Study, dataset: str = "") -> tuple[str, ...]:
    """Return the modules of the families and losses, whose labels and units figures show."""
    cells = [cell for cell in study.cells if not dataset or cell.dataset == dataset]
    families = {cell.family for cell in cells if cell.family not in study.external}
    used = {loss for cell, loss in study.attacks() + study.balls() if cell in cells}
    return (
        *(f"models.families.{module(name)}" for name in sorted(families)),
        *(f"attacks.losses.{module(name)}" for name in sorted(used)),
    )
