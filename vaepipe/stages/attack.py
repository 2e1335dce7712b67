"""Stage: attack one model at all λ; or at a block of them, each row on its own, and later from the blocks.

python -m vaepipe.stages.attack --spec JSON --data data.h5 --model model.safetensors --out attack.h5 [--own | --blocks …]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from vaepipe.attacks.errors import Refused
from vaepipe.attacks.pairs import choose_pairs
from vaepipe.attacks.penalised import AttackResult, run_attack
from vaepipe.compute.device import setup_device
from vaepipe.datasets.prepared import read_digest, read_split
from vaepipe.metrics.outcome import outcome
from vaepipe.models.build import as_float, load
from vaepipe.storage import provenance
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5, write_h5

PICTURES = ("reconstruction", "target_reconstruction", "adversarial_reconstruction")
DESCRIPTIONS = {
    "lambdas": "weights of the penalty (L,)",
    "pairs": "rows of the held-out split: image, target (P, 2)",
    "pair_labels": "classes of these, where they are known (P, 2)",
    "x": "attacked images (P,C,H,W), 0..255",
    "target": "target images (P,C,H,W), 0..255",
    "distortion": "d (L,P,C,H,W); x/255 + d lies in [0,1]",
    "objective": "divergence + lambda * norm, nats (L,P)",
    "own_objective": "objective before other lambdas of the pair were looked at, nats (L,P)",
    "divergence": "what the attack minimises beside the penalty, nats (L,P)",
    "norm": "2-norm of d over all pixels (L,P)",
    "initial_divergence": "divergence at d = 0, nats (L,P)",
    "iterations": "evaluations of the network (L,P)",
    "converged": "the row stopped by its own rule (L,P)",
    "residual": "2-norm of the projected gradient step (L,P)",
    "adversarial_distance": "mean over samples of ||rec(x+d) - x_t|| (L,P)",
    "target_distance": "mean over samples of ||rec(x_t) - x_t|| (P,)",
    "original_distance": "mean over samples of ||rec(x) - x_t|| (P,)",
    "input_distance": "||x - x_t|| (P,)",
    "target_nll": "-log p(x_t|z*), z* ~ q(z|x+d), nats (L,P)",
    "input_similarity": "MS-SSIM of x and x+d (L,P)",
    "reconstruction_similarity": "MS-SSIM of the reconstructions of x and x+d, first sample (L,P)",
    "target_similarity": "MS-SSIM of the reconstructions of x_t and x+d, first sample (L,P)",
    "reconstruction": "of x, first sample (P,C,H,W), 0..255",
    "target_reconstruction": "of x_t, first sample (P,C,H,W), 0..255",
    "adversarial_reconstruction": "of x+d, first sample (L,P,C,H,W), 0..255",
}


OWN = ("distortion", "objective", "divergence", "norm", "initial_divergence", "iterations", "converged", "residual")
"""What a block of λ holds."""
OPTIONS = ("draws", "solver", "max_iterations", "tolerance", "batch_size", "precision")


def attack(
    spec: dict,
    data: Path,
    model_path: Path,
    out: Path,
    device: torch.device,
    blocks: Sequence[Path] = (),
    own: bool = False,
) -> None:
    """Attack all pairs at the λ of ``spec`` (as `vaepipe.study.config.Study.attack_spec` gives it) and write the rows.

    Args:
        blocks: files of blocks of λ whose rows are taken instead of solved.
        own: write such a file: rows as they were solved on their own, nothing beside.
    """
    subject = Subject(spec, data, model_path, device)
    lambdas = torch.tensor(spec["lambdas"], dtype=torch.float64)
    options = {key: spec[key] for key in OPTIONS} | {"envelope": not own}
    solved = read_blocks(blocks, spec["lambdas"]) if blocks else None
    begun = time.monotonic()
    result = subject.attacked(run_attack, lambdas, own=solved, **options)
    seconds = time.monotonic() - begun
    arrays = {name: getattr(result, name) for name in OWN} if own else vars(result) | subject.outcome(result.distortion)
    arrays |= {"lambdas": lambdas}
    subject.write(out, "attack-block" if own else "attack", arrays, DESCRIPTIONS, provenance.code_digest("stages.attack"))
    rows, converged = result.converged.numel(), int(result.converged.sum())
    print(
        f"{rows} rows, {converged} converged, {seconds:.1f} s, {float(result.iterations.float().mean()):.0f} evaluations per row"
    )


class Subject:
    """A model and the P pairs that it is attacked on.

    Args:
        spec: ``loss``, ``pairs``, ``pair_seed`` and ``samples``, as in `attack`.
        key: of the config, where the loss comes from.
    """

    def __init__(self, spec: dict, data: Path, model_path: Path, device: torch.device, key: str = "attack.losses"):
        self.spec, self.key = spec, key
        self.model, self.model_spec = load(model_path, device)
        test = read_split(data, "test")
        self.pairs = choose_pairs(test, spec["pairs"], spec["pair_seed"])
        self.labels = None if test.label is None else test.label[self.pairs]
        self.images = [test.x[rows] for rows in self.pairs.T]  # x and x_t, (P, C, H, W) each
        self.x, self.target = (as_float(torch.from_numpy(a).to(device)) for a in self.images)
        self.made_from = {"weights": provenance.file_digest(model_path), "data": read_digest(data)}

    def attacked(self, run: Callable, *args, **options):
        """``run(model, x, target, *args, loss, seed, **options)``.

        Raises:
            DataError: the model cannot be attacked so.
        """
        try:
            return run(self.model, self.x, self.target, *args, loss=self.spec["loss"], seed=self.spec["pair_seed"], **options)
        except Refused as error:
            family = self.model_spec["family"]
            key = f"or external.{family}.losses" if "external" in self.model_spec else f"of {family}"
            raise DataError(f"{self.key}, {key}: {error}") from error

    def outcome(self, distortion: torch.Tensor) -> dict:
        """What distortions (L, P, C, H, W) do in image space, and the pictures, 0..255."""
        found = outcome(self.model, self.x, self.target, distortion.to(self.x), self.spec["pair_seed"], self.spec["samples"])
        found |= {name: (found[name] * 255).round().clip(0, 255).to(torch.uint8) for name in PICTURES}
        labels = {} if self.labels is None else {"pair_labels": self.labels}
        return found | dict(zip(("x", "target"), self.images)) | labels

    def write(self, out: Path, kind: str, arrays: dict, descriptions: dict[str, str], code: str) -> None:
        """A file of the arrays, the pairs, and what they were made from."""
        arrays = {name: a.cpu().numpy() if isinstance(a, torch.Tensor) else a for name, a in arrays.items()} | {
            "pairs": self.pairs
        }
        cell = {key: self.model_spec[key] for key in ("dataset", "family", "beta", "d_z", "seed")}
        made_from = {"model": self.model_spec, **self.made_from, "code": code}
        attrs = {**cell, **made_from, "loss": self.spec["loss"], "spec": self.spec}
        write_h5(out, kind, {name: (array, descriptions[name]) for name, array in arrays.items()}, attrs)


def read_blocks(paths: Sequence[Path], lambdas: list[float]) -> AttackResult:
    """The rows of all blocks, in the order of ``lambdas``.

    Raises:
        DataError: the blocks do not hold just these λ.
    """
    parts, values = [], []
    for path in paths:
        with open_h5(path, "attack-block") as file:
            parts.append({name: torch.from_numpy(file[name][:]) for name in OWN})
            values += file["lambdas"][:].tolist()
    order = sorted(range(len(values)), key=lambda i: values[i])
    if [values[i] for i in order] != sorted(lambdas):
        raise DataError(f"{paths[0]} and others: their λ are not those of the attack; delete them to have them made again")
    rows = {name: torch.cat([part[name] for part in parts])[order] for name in OWN}
    return AttackResult(own_objective=rows["objective"], **rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.attack", description="Attack one model.")
    parser.add_argument(
        "--spec", required=True, type=json.loads, help="JSON: loss, lambdas, pairs, pair_seed and the solver's options"
    )
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="trained weights (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument("--own", action="store_true", help="write rows solved on their own, for --blocks of a later call")
    parser.add_argument("--blocks", nargs="*", type=Path, default=[], help="files written with --own, all λ of the spec")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    attack(args.spec, args.data, args.model, args.out, setup_device(args.threads), args.blocks, args.own)


if __name__ == "__main__":
    run_stage(main)
