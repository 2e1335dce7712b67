"""Digests of the code that each stage runs for a given cell. Rules compare them; stages store them in their files.

Registries do not count, so what a cell uses is named here: its data set, family, network, loss, metrics.
"""

from __future__ import annotations

from functools import cache

from vaepipe.datasets.registry import DATASETS
from vaepipe.figures.registry import FIGURES
from vaepipe.storage.provenance import PACKAGE, code_digest, file_digest, spec_digest

CLAIMS = ("claims.latents", "claims.attacks", "claims.part2")


def module(name: str) -> str:
    """Return the module name of an entry of a registry: ``latent-kl`` → ``latent_kl``."""
    return name.replace("-", "_")


def model_modules(spec) -> tuple[str, ...]:
    """Return the modules that build a model.

    Args:
        spec: what `Study.model_spec` gives for the cell, as an object or as a mapping.
    """
    if _get(spec, "external") is not None:
        return ("models.external",)
    network = _get(_get(spec, "model"), "network")
    return (f"models.families.{module(_get(spec, 'family'))}", f"models.networks.{module(network)}")


def prepare_code(kind: str) -> str:
    """Return the digest of `prepare` for one kind of data set."""
    return _digest("stages.prepare", f"datasets.{DATASETS[kind].module}")


def train_code(model_spec) -> str:
    return _digest("stages.train", *model_modules(model_spec))


def adopt_code(model_spec) -> str:
    return _digest("stages.adopt", *model_modules(model_spec))


def evaluate_code(model_spec) -> str:
    """Return the digest of `evaluate`, which measures all latent metrics."""
    from vaepipe.metrics.registry import LATENT_METRICS

    metrics = (f"metrics.latent.{module(name)}" for name in LATENT_METRICS)
    return _digest("stages.evaluate", *model_modules(model_spec), *metrics)


def attack_code(model_spec, loss: str) -> str:
    return _digest("stages.attack", *model_modules(model_spec), f"attacks.losses.{module(loss)}")


def ball_code(model_spec, loss: str) -> str:
    return _digest("stages.ball", *model_modules(model_spec), f"attacks.losses.{module(loss)}")


def measure_code(model_spec, loss: str) -> str:
    """Return the digest of `measure`, which measures all trial metrics."""
    from vaepipe.metrics.registry import TRIAL_METRICS

    metrics = (f"metrics.trial.{module(name)}" for name in TRIAL_METRICS)
    return _digest("stages.measure", *model_modules(model_spec), f"attacks.losses.{module(loss)}", *metrics)


def collect_code() -> str:
    """Return the digest of `collect`, whose columns are those of all metrics."""
    from vaepipe.metrics.registry import LATENT_METRICS, TRIAL_METRICS

    latent = (f"metrics.latent.{module(name)}" for name in LATENT_METRICS)
    trial = (f"metrics.trial.{module(name)}" for name in TRIAL_METRICS)
    return _digest("stages.collect", *latent, *trial)


def figure_code(figure: str) -> str:
    return _digest("stages.plot", f"figures.{FIGURES[figure].module}")


def claims_code() -> str:
    return _digest("stages.claims", *CLAIMS)


def page_code(stage: str) -> str:
    """Return the digest of a stage that makes pages, and of the templates."""
    templates = sorted((PACKAGE / "pages").glob("*.[!p]*"))
    return spec_digest([_digest(stage), *(file_digest(path) for path in templates)])


@cache
def _digest(*modules: str) -> str:
    return code_digest(*modules)


def _get(spec, key: str):
    return spec.get(key) if isinstance(spec, dict) else getattr(spec, key, None)
