"""What one evaluation of an attack costs, with fast and with ordinary convolutions.

    .venv/bin/python scripts/bench_evaluation.py dsprites-burgess-vae

Takes the divergence and its gradient for 64 inputs by latent-kl on one thread, in turns, and prints the
median in milliseconds of the processor. The models are those of scripts/bench_convergence.py.
"""

from __future__ import annotations

import statistics
import time
from contextlib import nullcontext

import torch
from bench_convergence import Victim, victim_parser

from vaepipe.compute.memory import keep_freed_memory

TURNS, EVALUATIONS = 15, 4


def main() -> None:
    args = victim_parser(__doc__.splitlines()[0], pairs=6).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    objective = Victim.read(args.victim, args).problem().objective
    pair = torch.arange(64) % len(objective.x)
    u = torch.rand(64, objective.x.shape[1], generator=torch.Generator().manual_seed(0))
    ways, took = {"fast": objective.convolutions, "ordinary": nullcontext()}, {"fast": [], "ordinary": []}
    for _ in range(TURNS):
        for name, objective.convolutions in ways.items():
            begun = time.process_time()
            for _ in range(EVALUATIONS):
                objective.value_and_grad(u, pair)
            took[name].append((time.process_time() - begun) / EVALUATIONS * 1000)
    for name, times in took.items():
        print(f"{name}: {statistics.median(times):.1f} ms")


if __name__ == "__main__":
    main()
