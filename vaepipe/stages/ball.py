"""Stage: attack one model with distortions of bounded size, in all norms and radii.

python -m vaepipe.stages.ball --spec JSON --data data.h5 --model model.safetensors --out ball.h5
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from vaepipe.attacks.ball import run_ball_attack
from vaepipe.compute.device import setup_device
from vaepipe.stages import attack
from vaepipe.storage import provenance
from vaepipe.storage.errors import run_stage

NORMS = ("l2", "linf")
OPTIONS = ("restarts", "steps", "draws", "batch_size", "precision")
DESCRIPTIONS = {name: text.replace("(L,P", "(E,P") for name, text in attack.DESCRIPTIONS.items()} | {
    "ball": "norm that is bounded, l2 or linf (E,)",
    "radius": "its bound, pixels in [0,1] (E,)",
    "divergence": "what the attack minimises, nats (E,P)",
    "norm": "of d, in the norm that is bounded (E,P)",
    "restart": "start that d came from: 0 is d = 0, 1 the target (of a loss that has one), the others are random (E,P)",
    "iterations": "evaluations of the network, all starts together (E,P)",
}


def ball(spec: dict, data: Path, model_path: Path, out: Path, device: torch.device) -> None:
    """Attack all pairs in the balls of ``spec`` (as `vaepipe.study.config.Study.ball_spec` gives it), radii increasing."""
    subject = attack.Subject(spec, data, model_path, device, "ball.losses")
    options, begun, results = {key: spec[key] for key in OPTIONS}, time.monotonic(), []
    balls = [(norm, radius) for norm in NORMS for radius in sorted(spec[norm])]
    for norm in NORMS:
        radii = torch.tensor([radius for name, radius in balls if name == norm], dtype=torch.float64)
        if len(radii):
            results.append(vars(subject.attacked(run_ball_attack, radii, norm=norm, **options)))
    seconds = time.monotonic() - begun
    arrays = {name: torch.cat([result[name] for result in results]) for name in results[0]}
    arrays |= subject.outcome(arrays["distortion"])
    names, radii = zip(*balls)
    arrays |= {"ball": np.array(names, dtype="S"), "radius": np.array(radii, dtype=float)}
    subject.write(out, "ball", arrays, DESCRIPTIONS, provenance.code_digest("stages.ball"))
    print(f"{arrays['norm'].numel()} rows, {seconds:.1f} s, {float(arrays['iterations'].float().mean()):.0f} evaluations per row")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.ball", description="Attack one model within balls.")
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: loss, radii by norm, pairs and options")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="trained weights (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    ball(args.spec, args.data, args.model, args.out, setup_device(args.threads))


if __name__ == "__main__":
    run_stage(main)
