"""Stage: attack one model at all λ; or at a block of them, each row on its own, and later from the blocks.

python -m vaepipe.attack --spec JSON --data data.h5 --model model.safetensors --out attack.h5 [--own | --blocks …]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from vaepipe import device as devices
from vaepipe import provenance, store
from vaepipe.attacks import AttackResult, run_attack
from vaepipe.attacks.outcome import outcome
from vaepipe.attacks.pairs import choose_pairs
from vaepipe.datasets.files import read_digest, read_split
from vaepipe.models import as_float, load

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
    """Attack all pairs at the λ of ``spec`` (as `vaepipe.config.Study.attack_spec` gives it) and write the rows.

    Args:
        blocks: files of blocks of λ whose rows are taken instead of solved.
        own: write such a file: rows as they were solved on their own, nothing beside.
    """
    model, model_spec = load(model_path, device)
    test = read_split(data, "test")
    pairs = choose_pairs(test, spec["pairs"], spec["pair_seed"])
    images, targets = test.x[pairs[:, 0]], test.x[pairs[:, 1]]
    x, target = (as_float(torch.from_numpy(a).to(device)) for a in (images, targets))
    lambdas = torch.tensor(spec["lambdas"], dtype=torch.float64)
    options = {key: spec[key] for key in OPTIONS} | {"seed": spec["pair_seed"], "envelope": not own}
    solved = read_blocks(blocks, spec["lambdas"]) if blocks else None
    begun = time.monotonic()
    result = run_attack(model, x, target, lambdas, spec["loss"], own=solved, **options)
    seconds = time.monotonic() - begun
    if own:
        arrays = {name: getattr(result, name) for name in OWN}
    else:
        distortion = result.distortion.to(x)
        arrays = vars(result) | outcome(model, x, target, distortion, spec["pair_seed"], spec["samples"])
    arrays = {name: t.cpu().numpy() for name, t in arrays.items()}
    arrays |= {name: (arrays[name] * 255).round().clip(0, 255).astype("uint8") for name in PICTURES if name in arrays}
    arrays |= {"lambdas": lambdas.numpy(), "pairs": pairs} | ({} if own else {"x": images, "target": targets})
    arrays |= {} if own or test.label is None else {"pair_labels": test.label[pairs]}
    cell = {key: model_spec[key] for key in ("dataset", "family", "beta", "d_z", "seed")}
    made_from = {"model": model_spec, "weights": provenance.file_digest(model_path), "data": read_digest(data)}
    attrs = {**cell, **made_from, "loss": spec["loss"], "spec": spec, "code": provenance.code_digest("attack")}
    kind = "attack-block" if own else "attack"
    store.write_h5(out, kind, {name: (array, DESCRIPTIONS[name]) for name, array in arrays.items()}, attrs)
    rows, converged = result.converged.numel(), int(result.converged.sum())
    print(
        f"{rows} rows, {converged} converged, {seconds:.1f} s, {float(result.iterations.float().mean()):.0f} evaluations per row"
    )


def read_blocks(paths: Sequence[Path], lambdas: list[float]) -> AttackResult:
    """The rows of all blocks, in the order of ``lambdas``.

    Raises:
        DataError: the blocks do not hold just these λ.
    """
    parts, values = [], []
    for path in paths:
        with store.open_h5(path, "attack-block") as file:
            parts.append({name: torch.from_numpy(file[name][:]) for name in OWN})
            values += file["lambdas"][:].tolist()
    order = sorted(range(len(values)), key=lambda i: values[i])
    if [values[i] for i in order] != sorted(lambdas):
        raise store.DataError(f"{paths[0]} and others: their λ are not those of the attack; delete them to have them made again")
    rows = {name: torch.cat([part[name] for part in parts])[order] for name in OWN}
    return AttackResult(own_objective=rows["objective"], **rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.attack", description="Attack one model.")
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
    attack(args.spec, args.data, args.model, args.out, devices.setup(args.threads), args.blocks, args.own)


if __name__ == "__main__":
    store.run_stage(main)
