"""Stage: attack one model with distortions of bounded size, in all norms and radii.

python -m vaepipe.stages.ball --spec JSON --data data.h5 --model model.safetensors --out ball.h5
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from vaepipe.attacks.ball import run_ball_attack
from vaepipe.attacks.quantities import BALL
from vaepipe.compute.device import setup_device
from vaepipe.stages.attack_files import (
    describe,
    read_inputs,
    read_pairs,
    refusals_name_the_key,
    to_images,
    write_arrays,
)
from vaepipe.storage.errors import run_stage
from vaepipe.study.digests import ball_code
from vaepipe.study.specs import BallSpec


def ball(spec: BallSpec, data: Path, weights: Path, out: Path, device: torch.device) -> None:
    """Attack all pairs in the balls of ``spec`` and write the rows (ball, pair), by norm and radius."""
    inputs, pairs = read_inputs(data, weights, device), read_pairs(spec, data)
    x, target = to_images(pairs.x, device), to_images(pairs.target, device)
    balls = {"l2": sorted(spec.l2), "linf": sorted(spec.linf)}
    start, results = time.monotonic(), []
    for norm, radii in balls.items():
        if radii:
            with refusals_name_the_key("ball.losses", inputs.model_spec):
                result = run_ball_attack(
                    inputs.model,
                    x,
                    target,
                    torch.tensor(radii, dtype=torch.float64),
                    spec.loss,
                    norm=norm,
                    restarts=spec.restarts,
                    seed=spec.pair_seed,
                    draws=spec.draws,
                    steps=spec.steps,
                    batch_size=spec.batch_size,
                    precision=spec.precision,
                    effort=spec.effort,
                )
            results.append(vars(result))
    seconds = time.monotonic() - start
    arrays = {name: torch.cat([result[name] for result in results]).cpu().numpy() for name in results[0]}
    rows = [(norm, radius) for norm, radii in balls.items() for radius in radii]
    arrays |= {"ball": np.array([norm for norm, _ in rows], dtype="S")}
    arrays |= {"radius": np.array([radius for _, radius in rows], dtype=float)}
    code = ball_code(inputs.model_spec, spec.loss)
    write_arrays(out, "ball", arrays | pairs.arrays(), describe(BALL), inputs, spec, code)
    evaluations = arrays["iterations"].mean()
    print(f"{arrays['norm'].size} rows, {seconds:.1f} s, {evaluations:.0f} evaluations per row")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.ball", description="Attack one model within balls."
    )
    parser.add_argument("--spec", required=True, help="JSON: loss, radii by norm, pairs and options")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="trained weights (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    ball(BallSpec.from_json(args.spec), args.data, args.model, args.out, setup_device(args.threads))


if __name__ == "__main__":
    run_stage(main)
