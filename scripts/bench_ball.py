"""Strength of the ball attack: each row beside the lowest divergence that other methods find in its ball.

    .venv/bin/python scripts/bench_ball.py mnist-mlp-vae [--pairs 6]

Attacks pairs of held-out images by latent-kl in L2 balls whose radii are shares of ‖x − x_t‖, on one thread.
The others are long projected walks with momentum from random starts and from the target, and the penalised
attack at effort thorough, whose distortions are candidates in every ball that holds them. The table has the
mean divergence over the lowest one, for the ball attack and for both others. The models are those of
scripts/bench_convergence.py.
"""

from __future__ import annotations

import time

import torch
from bench_convergence import Victim, victim_parser
from torch import Tensor

from vaepipe.attacks import ball, run_attack, run_ball_attack
from vaepipe.compute.memory import keep_freed_memory

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
"""Radii as shares of the mean of ‖x − x_t‖."""


def long_walks(victim: Victim, radii: Tensor, starts: int, steps: int) -> Tensor:
    """Lowest φ (E, P) of long walks from d = 0, the target and random points."""
    objective, pairs = victim.problem().objective, range(len(victim.x))
    begin = ball.Starts(victim.x, victim.target, "l2", 1, True, starts, torch.empty(0))
    best = torch.full((len(radii), len(pairs)), torch.inf)
    for number in range(starts):
        d = torch.stack(
            [torch.stack([begin.start(p, radii, e, number) for p in pairs]) for e in range(len(radii))]
        )
        d += 1e-4  # a walk cannot measure its first step at d = 0
        d *= (radii[:, None, None] / d.norm(dim=2, keepdim=True)).clamp(max=1)
        d = (objective.x + d).clamp(0, 1) - objective.x
        best = torch.minimum(best, ball.walk(objective, d, radii, "l2", steps)[1])
    return best


def main() -> None:
    parser = victim_parser(__doc__.splitlines()[0], pairs=6)
    parser.add_argument("--starts", type=int, default=16, help="of the long walks (default 16)")
    parser.add_argument("--steps", type=int, default=1000, help="of each long walk (default 1000)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    victim = Victim.read(args.victim, args)
    size = (victim.x - victim.target).flatten(1).norm(dim=1).mean()
    radii, begun = torch.tensor(SHARES) * size, time.process_time()
    result = run_ball_attack(victim.model, victim.x, victim.target, radii)
    seconds = time.process_time() - begun
    long = long_walks(victim, radii, args.starts, args.steps)
    penalised = run_attack(victim.model, victim.x, victim.target, victim.lambdas, effort="thorough")
    inside = penalised.norm <= radii[:, None, None]  # E, L, P
    lines = torch.where(inside, penalised.divergence, penalised.initial_divergence).amin(1)
    ours = result.divergence
    best = torch.stack([ours, long, lines]).amin(0)
    print(f"{args.pairs} pairs, ‖x − x_t‖ {size:.1f}, Δ₀ {result.initial_divergence.mean():.0f} nats")
    print(f"{result.iterations.float().mean():.0f} evaluations per row, {seconds:.0f} s of the processor")
    print("| ε | mean | worst | ≤ 1 % | best, nats | long walks | penalised |\n|---|---|---|---|---|---|---|")
    for e, radius in enumerate(radii):
        ratio = [values[e] / best[e] for values in (ours, long, lines)]
        cells = [f"{radius:.1f}", f"{ratio[0].mean():.3f}", f"{ratio[0].max():.3f}"]
        cells += [f"{(ratio[0] <= 1.01).float().mean():.0%}", f"{best[e].mean():.3g}"]
        print(f"| {' | '.join(cells + [f'{other.mean():.3f}' for other in ratio[1:]])} |")


if __name__ == "__main__":
    main()
