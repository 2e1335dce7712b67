"""Attacks of bounded size: minimise φ(x + d) over ‖d‖ ≤ ε with x + d in [0,1], the norm L2 or L∞, from several starts.

Spectral projected gradient (Birgin, Martínez and Raydan 2000): steps as long as the last step and its change of gradient tell
(Barzilai and Borwein 1988), projected onto ball and box at once, which is exact here, and a line search that lets the objective
rise for a while. Each row has its own. The best point on the way is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaepipe.attacks.arguments import check_arguments
from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import Loss, find_loss, in_batches
from vaepipe.attacks.objective import Problem, in_precision, within_memory
from vaepipe.attacks.solvers.projections import PROJECTIONS, norm_of
from vaepipe.attacks.solvers.spectral_gradient import descend
from vaepipe.compute.randomness import seeded_generator


@dataclass
class BallResult:
    """Attacks at E radii on P pairs.

    ``distortion`` (E, P, C, H, W): d, with x + d in [0,1] and ‖d‖ ≤ ε. All others (E, P): ``divergence`` φ(x + d), never above
    ``initial_divergence`` φ(x) and never rising with ε; ``norm`` ‖d‖, in the norm of the ball; ``restart``: the start that d
    came from, 0 being d = 0; ``iterations``: evaluations of the network, all starts together.
    """

    distortion: Tensor
    divergence: Tensor
    norm: Tensor
    initial_divergence: Tensor
    restart: Tensor
    iterations: Tensor


def run_ball_attack(
    model,
    x: Tensor,
    target: Tensor,
    radii: Tensor,
    loss: str | Loss = "latent-kl",
    *,
    norm: str = "l2",
    restarts: int = 3,
    seed: int = 0,
    draws: int = 4,
    steps: int = 100,
    batch_size: int = 64,
    precision: str = "float32",
) -> BallResult:
    """Minimise loss(x + d, target) over d with ‖d‖ ≤ ε and x + d in [0,1], for each radius ε and pair.

    Each start of each (ε, pair) is a row of its own, the same alone or in any company, as in `vaepipe.attacks.run_attack`; the
    best of a pair's starts is kept. A distortion that is better at a smaller radius of the call serves the larger ones too.

    Args:
        model, x, target, loss, draws, batch_size, precision: as in `vaepipe.attacks.run_attack`.
        radii: (E,) positive, in any order; ‖d‖ is over all pixels, which are in [0,1].
        norm: ``l2`` or ``linf``.
        restarts: starts beside d = 0, projected: first the target, where the loss has one, then points uniform in the ball.
        seed: of the noise behind losses that sample z, and of the starts; both are decided by it and the pair's images, the
            starts by radius and number of the start too.
        steps: of each start.

    Raises:
        Refused: as `vaepipe.attacks.run_attack`; an unknown norm, no steps, fewer than 0 restarts, or none for a loss
            that is stationary at d = 0.
    """
    loss = find_loss(loss)
    check_arguments(model, x, target, radii, loss, "radii")
    if norm not in PROJECTIONS:
        raise Refused(f"norm: {norm!r} is not one of {', '.join(PROJECTIONS)}")
    for name, value, least in (("steps", steps, 1), ("restarts", restarts, 0 if loss.has_target else 1)):
        if value < least:
            raise Refused(f"{name}: {value} is less than {least}, which the loss {loss.name!r} needs")
    model, x, target = in_precision(model, x, target, precision)
    radii = radii.to(x)

    def attacked(batch_size: int) -> BallResult:
        problem = Problem(model, x, target, loss, seed, draws, "lbfgs", steps, 0, batch_size)
        d, divergence, initial = _solve(problem, x, target, radii, norm, restarts, seed, steps, batch_size)
        d, divergence, restart = _best(d, divergence, radii)
        return BallResult(
            distortion=d.unflatten(-1, x.shape[1:]),
            divergence=divergence,
            norm=norm_of(d, norm).to(d),
            initial_divergence=initial,
            restart=restart,
            iterations=torch.full_like(restart, (steps + 1) * (restarts + 1)),
        )

    return within_memory(attacked, batch_size)


def _solve(
    problem: Problem, x: Tensor, target: Tensor, radii: Tensor, norm: str, restarts: int, seed: int, steps: int, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(d (E, P, S, n), φ(x + d) (E, P, S), φ(x) (E, P)), of S = restarts + 1 starts."""
    E, P, S, n = len(radii), len(x), restarts + 1, problem.x.shape[1]

    def batch(rows: Tensor) -> Tensor:
        pair, radius = rows // S % P, radii[rows // S // P]
        places = zip((rows % S).tolist(), pair.tolist(), radius.tolist())
        away = torch.stack([_start(problem, x[p], target[p], e, s, norm, seed) for s, p, e in places]).to(x)
        parts = descend(lambda u, row: problem.value_and_grad(u, pair[row]), problem.x[pair], away, radius, norm, steps)
        return torch.cat([v.unsqueeze(1) if v.ndim == 1 else v for v in parts], 1)

    found = in_batches(batch, torch.arange(E * P * S, device=x.device), batch_size)
    d, value, first = found.unflatten(0, (E, P, S)).split([n, 1, 1], dim=-1)
    initial = first[:, :, 0, 0]
    return d, value[..., 0], torch.where(initial.isinf(), torch.nan, initial)


def _start(problem: Problem, x: Tensor, target: Tensor, radius: float, number: int, norm: str, seed: int) -> Tensor:
    """(n,) start of that number: d = 0, target, then uniform in the ball, drawn on the CPU in float32, the same everywhere."""
    n = x.numel()
    if number == 0:
        return torch.zeros(n)
    if number == 1 and problem.target is not None:
        return (target - x).flatten().cpu()
    images = (t.cpu().numpy().tobytes() for t in (x, target))
    random = seeded_generator("cpu", "ball", seed, norm, radius, number, *images)
    if norm == "linf":
        return radius * (2 * torch.rand(n, generator=random) - 1)
    direction, share = torch.randn(n, generator=random), torch.rand((), generator=random)
    return direction * (radius * share ** (1 / n) / direction.norm())


def _best(d: Tensor, divergence: Tensor, radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(d (E, P, n), divergence (E, P), start (E, P)): the best of all starts (E, P, S, …) at this radius or a smaller one.

    Where no start had a finite divergence, d is 0 and the divergence NaN.
    """
    kept, least = torch.zeros_like(d[0, :, 0]), torch.full_like(divergence[0, :, 0], torch.inf)
    start = torch.zeros_like(least, dtype=torch.int32)
    found = [torch.empty_like(d[:, :, 0]), torch.empty_like(divergence[:, :, 0]), start.repeat(len(radii), 1)]
    for e in radii.argsort().tolist():
        for s in range(d.shape[2]):
            better = divergence[e, :, s] < least
            kept, least = torch.where(better[:, None], d[e, :, s], kept), torch.where(better, divergence[e, :, s], least)
            start = torch.where(better, s, start)
        found[0][e], found[1][e], found[2][e] = kept, torch.where(least.isinf(), torch.nan, least), start
    return tuple(found)
