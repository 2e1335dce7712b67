"""Stage: attack one model at all λ, or at a block of λ whose rows a later call joins.

python -m vaepipe.stages.attack --spec JSON --data data.h5 --model model.safetensors --out attack.h5
                         [--own | --blocks …]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from vaepipe.attacks.penalised import run_attack
from vaepipe.attacks.quantities import ATTACK, ROWS
from vaepipe.attacks.result import AttackResult
from vaepipe.compute.device import setup_device
from vaepipe.stages.attack_files import (
    describe,
    read_inputs,
    read_pairs,
    refusals_name_the_key,
    to_images,
    write_arrays,
)
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5
from vaepipe.study.digests import attack_code
from vaepipe.study.specs import AttackSpec

ROW_ARRAYS = tuple(quantity.name for quantity in ROWS)


def attack(
    spec: AttackSpec,
    data: Path,
    weights: Path,
    out: Path,
    device: torch.device,
    blocks: Sequence[Path] = (),
    own: bool = False,
) -> None:
    """Attack all pairs at the λ of ``spec`` and write the rows (λ, pair).

    Args:
        blocks: files of blocks of λ whose rows are taken, not solved again.
        own: write such a block: rows as they are solved on their own.
    """
    inputs, pairs = read_inputs(data, weights, device), read_pairs(spec, data)
    lambdas = torch.tensor(spec.lambdas, dtype=torch.float64)
    solved = read_blocks(blocks, spec.lambdas) if blocks else None
    start = time.monotonic()
    with refusals_name_the_key("attack.losses", inputs.model_spec):
        result = run_attack(
            inputs.model,
            to_images(pairs.x, device),
            to_images(pairs.target, device),
            lambdas,
            spec.loss,
            seed=spec.pair_seed,
            draws=spec.draws,
            solver=spec.solver,
            max_iterations=spec.max_iterations,
            tolerance=spec.tolerance,
            batch_size=spec.batch_size,
            precision=spec.precision,
            envelope=not own,
            own=solved,
            effort=spec.effort,
        )
    seconds = time.monotonic() - start
    arrays = {name: getattr(result, name) for name in ROW_ARRAYS} if own else vars(result)
    arrays = arrays | {"lambdas": lambdas} | ({"pairs": pairs.pairs} if own else pairs.arrays())
    kind, code = "attack-block" if own else "attack", attack_code(inputs.model_spec, spec.loss)
    write_arrays(out, kind, arrays, describe(ATTACK), inputs, spec, code)
    rows, converged = result.converged.numel(), int(result.converged.sum())
    evaluations = float(result.iterations.float().mean())
    print(f"{rows} rows, {converged} converged, {seconds:.1f} s, {evaluations:.0f} evaluations per row")


def read_blocks(paths: Sequence[Path], lambdas: Sequence[float]) -> AttackResult:
    """Return the rows of all blocks, in the order of ``lambdas``.

    Raises:
        DataError: the λ of the blocks are not ``lambdas``.
    """
    parts, values = [], []
    for path in paths:
        with open_h5(path, "attack-block") as file:
            parts.append({name: torch.from_numpy(file[name][:]) for name in ROW_ARRAYS})
            values += file["lambdas"][:].tolist()
    order = sorted(range(len(values)), key=lambda i: values[i])
    if [values[i] for i in order] != sorted(lambdas):
        raise DataError(
            f"{paths[0]} and others: their λ are not those of the attack; delete them to have them made again"
        )
    rows = {name: torch.cat([part[name] for part in parts])[order] for name in ROW_ARRAYS}
    return AttackResult(own_objective=rows["objective"], **rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.attack", description="Attack one model.")
    parser.add_argument(
        "--spec", required=True, help="JSON: loss, lambdas, pairs, pair_seed and the options of the solver"
    )
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="trained weights (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument(
        "--own", action="store_true", help="write rows solved on their own, for --blocks of a later call"
    )
    parser.add_argument(
        "--blocks", nargs="*", type=Path, default=[], help="files written with --own, all λ of the spec"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    spec, device = AttackSpec.from_json(args.spec), setup_device(args.threads)
    attack(spec, args.data, args.model, args.out, device, args.blocks, args.own)


if __name__ == "__main__":
    run_stage(main)
