"""Stage: measure what the attacks on one model with one loss do, and whether they can be believed.

python -m vaepipe.stages.measure --spec JSON --data data.h5 --model model.safetensors --out measure.h5
                          [--attack A.h5] [--ball B.h5] [--source S.h5]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vaepipe.analysis.robustness import BUDGETS
from vaepipe.attacks.loss import find_loss
from vaepipe.attacks.quantities import ATTACK
from vaepipe.compute.device import setup_device
from vaepipe.datasets.prepared import read_split
from vaepipe.metrics.registry import TRIAL_METRICS
from vaepipe.metrics.trial_measurement import measure_trials
from vaepipe.metrics.trial_metric import trial_quantities
from vaepipe.stages.attack_files import Inputs, describe, read_inputs, to_images, write_arrays
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5
from vaepipe.study.digests import measure_code
from vaepipe.study.purifying_models import purifying_models
from vaepipe.study.specs import MeasureSpec
from vaepipe.trust.attacked_model import AttackedModel
from vaepipe.trust.checks import run_checks
from vaepipe.trust.purifiers.vae import reconstruct
from vaepipe.trust.quantities import CHECKS, STRONGEST

if TYPE_CHECKING:
    from vaepipe.models.interface import Model

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Attack:
    """The arrays of an attack that are measured: images and distortions on the device of the model."""

    x: Tensor
    target: Tensor
    distortion: Tensor
    pairs: np.ndarray
    others: Arrays


def measure(
    spec: MeasureSpec,
    data: Path,
    weights: Path,
    out: Path,
    device: torch.device,
    attack: Path | None = None,
    ball: Path | None = None,
    source: Path | None = None,
) -> None:
    """Measure the attacks of one model and write all trial metrics, and the checks of the penalised attack.

    Args:
        attack: file of the penalised attack; its arrays are written at the top level.
        ball: file of the attack of bounded size; its arrays are written in the group ``ball``.
        source: file of a penalised attack on another model, whose distortions are tried on this one.
    """
    inputs = read_inputs(data, weights, device)
    arrays: Arrays = {}
    descriptions = describe(trial_quantities(TRIAL_METRICS)) | describe((*ATTACK, *STRONGEST, *CHECKS))
    if attack is not None:
        solved = read_attack(attack, "attack", ("lambdas", "norm"), device)
        arrays |= {"lambdas": solved.others["lambdas"], **_metrics(inputs, spec, solved)}
        arrays |= _checks(inputs, spec, solved, arrays, data, source)
    if ball is not None:
        solved = read_attack(ball, "ball", (), device)
        measured = _metrics(inputs, spec, solved)
        arrays |= {f"ball/{name}": array for name, array in measured.items()}
        descriptions |= describe(trial_quantities(TRIAL_METRICS), "ball", "E")
    code = measure_code(inputs.model_spec, spec.loss, spec.checks.purifiers)
    write_arrays(out, "measure", arrays, descriptions, inputs, spec, code)
    print(f"measured: {', '.join(arrays)}")


def _metrics(inputs: Inputs, spec: MeasureSpec, solved: Attack) -> Arrays:
    """Return all trial metrics of all distortions."""
    images = (solved.x, solved.target, solved.distortion)
    return measure_trials(inputs.model, *images, TRIAL_METRICS, seed=spec.pair_seed, samples=spec.samples)


def _checks(
    inputs: Inputs, spec: MeasureSpec, solved: Attack, measured: Arrays, data: Path, source: Path | None
) -> Arrays:
    """Return the strongest rows, and the checks that ``spec`` asks for."""
    attacked = AttackedModel(
        inputs.model,
        find_loss(spec.loss),
        solved.x,
        solved.target,
        solved.distortion,
        solved.others["norm"],
        measured,
        seed=spec.pair_seed,
        draws=spec.draws,
        batch_size=spec.batch_size,
    )
    labelled = None
    if spec.checks.probe:
        train, test = (read_split(data, split) for split in ("train", "test"))
        if train.label is None:
            raise DataError(f"checks.probe: {data} has no labels; set it to false")
        labelled = (train, test, solved.pairs)
    others = read_source(source) if source is not None else None
    models = read_purifying_models(spec.checks.purifiers, solved.x)
    arrays = run_checks(attacked, spec.checks, solved.others["lambdas"], others, labelled, models)
    return {"budgets": np.array(BUDGETS), "row": attacked.row} | arrays


def read_attack(path: Path, kind: str, names: Iterable[str], device: torch.device) -> Attack:
    """Return images, pairs, distortions and the other arrays of the given names of a file of attacks."""
    with open_h5(path, kind) as file:
        x, target = (to_images(file[name][:], device) for name in ("x", "target"))
        distortion = torch.from_numpy(file["distortion"][:]).to(x)
        return Attack(x, target, distortion, file["pairs"][:], {name: file[name][:] for name in names})


def read_purifying_models(purifiers: Iterable[str], x: Tensor) -> dict[str, Model]:
    """Return the purifiers that are models, by name.

    Raises:
        DataError: one of them does not take images such as ``x``.
    """
    models = {}
    for name, path in purifying_models(purifiers).items():
        models[name], _ = read_trained_model(path, x.device)
        try:
            with torch.no_grad():
                shape = reconstruct(models[name], x[:1]).shape
        except RuntimeError:
            shape = torch.Size()
        if shape != x[:1].shape:
            raise DataError(f"checks.purifiers: {name} takes no images of shape {tuple(x.shape[1:])}")
    return models


def read_source(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return distortions (L, P, C, H, W) and their norms (L, P) of a file of penalised attacks."""
    with open_h5(path, "attack") as file:
        return file["distortion"][:], file["norm"][:]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.measure", description="Measure the attacks on one model."
    )
    parser.add_argument("--spec", required=True, help="JSON: loss, samples, pair_seed, checks and options")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="weights (.safetensors)")
    parser.add_argument("--attack", nargs="?", type=Path, help="file of the penalised attack (.h5)")
    parser.add_argument("--ball", nargs="?", type=Path, help="file of the attack of bounded size (.h5)")
    parser.add_argument(
        "--source",
        nargs="?",
        type=Path,
        help="file of the attack on another model, whose distortions are tried (.h5)",
    )
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    spec, device = MeasureSpec.from_json(args.spec), setup_device(args.threads)
    measure(spec, args.data, args.model, args.out, device, args.attack, args.ball, args.source)


if __name__ == "__main__":
    run_stage(main)
