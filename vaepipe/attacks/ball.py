"""Attacks of bounded size: minimise φ(x + d) over ‖d‖ ≤ ε with x + d in [0,1].

The norm is L2 or L∞. Each pair is attacked from several starts; the best point of all descents counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaepipe.attacks.arguments import check_arguments
from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import Loss, find_loss, in_batches
from vaepipe.attacks.objective import Objective
from vaepipe.attacks.resources import in_precision, within_memory
from vaepipe.compute.randomness import seeded_generator

WINDOW, ARMIJO = 8, 1e-4
"""Values of which a step must stay below the highest, and by which share of the decrease that the gradient predicts."""
SHORTEST = 1e-6
"""Share of a step below which the line search takes it as it is, as at a kink no length may do."""
SPAN = 1e6
"""Factor of the first step length, per gradient, within which the others stay."""
MARGIN = 16
"""Rounding units by which an L2 ball is taken smaller, so that ‖d‖₂ ≤ ε holds after rounding too."""


@dataclass
class BallResult:
    """Attacks at E radii on P pairs.

    Attributes:
        distortion: (E, P, C, H, W) d, with x + d in [0,1] and ‖d‖ ≤ ε.
        divergence: (E, P) φ(x + d), never above ``initial_divergence`` and never rising with ε.
        norm: (E, P) ‖d‖, in the norm of the ball.
        initial_divergence: (E, P) φ(x).
        restart: (E, P) number of the start that d comes from; 0 is d = 0.
        iterations: (E, P) evaluations of the network, all starts together.
    """

    distortion: Tensor
    divergence: Tensor
    norm: Tensor
    initial_divergence: Tensor
    restart: Tensor
    iterations: Tensor


def run_ball_attack(
    model: Any,
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

    Each start of each (ε, pair) is a row, independent of the other rows as in `vaepipe.attacks.run_attack`;
    the best start of a pair is kept. A distortion that is better at a smaller radius of the call is taken at
    the larger radii too.

    Args:
        model, x, target, loss, draws, batch_size, precision: as in `vaepipe.attacks.run_attack`.
        radii: (E,) positive, in any order; ‖d‖ is over all pixels, which are in [0,1].
        norm: ``l2`` or ``linf``.
        restarts: starts beside d = 0, projected: first the target, if the loss has one, then points uniform
            in the ball.
        seed: of the noise in losses that sample z, and of the starts. Both depend on the seed and the images
            of the pair; the starts also depend on the radius and the number of the start.
        steps: of each start.

    Raises:
        Refused: as `vaepipe.attacks.run_attack`; an unknown norm, no steps, fewer than 0 restarts, or none
            for a loss that is stationary at d = 0.
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
    starts = Starts(x, target, norm, seed, loss.has_target)

    def solve(batch_size: int) -> BallResult:
        objective = Objective(model, x, target, loss, seed=seed, draws=draws, batch_size=batch_size)
        d, divergence, initial = solve_all_starts(objective, starts, radii, restarts + 1, steps)
        d, divergence, restart = best_of_starts(d, divergence, radii)
        return BallResult(
            distortion=d.unflatten(-1, x.shape[1:]),
            divergence=divergence,
            norm=norm_of(d, norm).to(d),
            initial_divergence=initial,
            restart=restart,
            iterations=torch.full_like(restart, (steps + 1) * (restarts + 1)),
        )

    return within_memory(solve, batch_size)


@dataclass(frozen=True)
class Starts:
    """The distortions where the descents of each pair start.

    Args:
        x, target: (P, C, H, W).
        norm: of the ball.
        has_target: whether start 1 is the target.
    """

    x: Tensor
    target: Tensor
    norm: str
    seed: int
    has_target: bool

    def start(self, pair: int, radius: float, number: int) -> Tensor:
        """Return the start (n,) of that number: d = 0, then the target, then points uniform in the ball.

        Random points are drawn on the CPU in float32, so that they are the same on every device.
        """
        x, target = self.x[pair], self.target[pair]
        n = x.numel()
        if number == 0:
            return torch.zeros(n)
        if number == 1 and self.has_target:
            return (target - x).flatten().cpu()
        images = (image.cpu().numpy().tobytes() for image in (x, target))
        random = seeded_generator("cpu", "ball", self.seed, self.norm, radius, number, *images)
        if self.norm == "linf":
            return radius * (2 * torch.rand(n, generator=random) - 1)
        direction, share = torch.randn(n, generator=random), torch.rand((), generator=random)
        return direction * (radius * share ** (1 / n) / direction.norm())


def solve_all_starts(
    objective: Objective, starts: Starts, radii: Tensor, count: int, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return d (E, P, S, n), φ(x + d) (E, P, S) and φ(x) (E, P), for S = ``count`` starts."""
    E, P, S, n = len(radii), len(objective.x), count, objective.x.shape[1]

    def solve_batch(rows: Tensor) -> Tensor:
        pair, radius = rows // S % P, radii[rows // S // P]
        numbers = (rows % S).tolist()
        points = [starts.start(*row) for row in zip(pair.tolist(), radius.tolist(), numbers)]
        start = torch.stack(points).to(objective.x)

        def value_and_grad(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            return objective.value_and_grad(u, pair[row])

        d, value, first = descend(value_and_grad, objective.x[pair], start, radius, starts.norm, steps)
        return torch.cat([d, value[:, None], first[:, None]], 1)

    rows = torch.arange(E * P * S, device=objective.x.device)
    solved = in_batches(solve_batch, rows, objective.batch_size)
    d, value, first = solved.unflatten(0, (E, P, S)).split([n, 1, 1], dim=-1)
    initial = first[:, :, 0, 0]  # start 0 is d = 0
    return d, value[..., 0], torch.where(initial.isinf(), torch.nan, initial)


def best_of_starts(d: Tensor, divergence: Tensor, radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best of all starts at each radius or a smaller one.

    Returns d (E, P, n), divergence (E, P) and number of the start (E, P).

    Args:
        d, divergence: (E, P, S, n) and (E, P, S).

    If no start has a finite divergence, d is 0 and the divergence NaN.
    """
    best, least = torch.zeros_like(d[0, :, 0]), torch.full_like(divergence[0, :, 0], torch.inf)
    start = torch.zeros_like(least, dtype=torch.int32)
    best_d, best_divergence = torch.empty_like(d[:, :, 0]), torch.empty_like(divergence[:, :, 0])
    best_start = start.repeat(len(radii), 1)
    for e in radii.argsort().tolist():
        for s in range(d.shape[2]):
            better = divergence[e, :, s] < least
            best = torch.where(better[:, None], d[e, :, s], best)
            least = torch.where(better, divergence[e, :, s], least)
            start = torch.where(better, s, start)
        best_d[e], best_start[e] = best, start
        best_divergence[e] = torch.where(least.isinf(), torch.nan, least)
    return best_d, best_divergence, best_start


def descend(
    value_and_grad, x: Tensor, start: Tensor, radius: Tensor, norm: str, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(best d (B, n), φ there (B,), φ at the start (B,)); a φ that is not finite counts as infinite."""
    low, high, rows = -x, 1 - x, torch.arange(len(x), device=x.device)

    def evaluate(d: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = value_and_grad((x + d).clamp_(0, 1), rows)
        return value.nan_to_num(torch.inf, torch.inf, torch.inf), grad.nan_to_num(0, 0, 0)

    def project(v: Tensor) -> Tensor:
        return PROJECTIONS[norm](v, low, high, radius)

    d = best = project(start)
    value, grad = evaluate(d)
    first = least = value
    across = 2 * radius * (x.shape[1] ** 0.5 if norm == "linf" else 1)  # the first step would cross the ball
    alpha = usual = across / _dot(grad, grad).sqrt().to(x).clamp(min=1e-20)
    ahead, share = project(d - alpha[:, None] * grad), torch.ones_like(radius)
    recent = value[:, None].repeat(1, WINDOW)
    for _ in range(steps):
        # a share is 1 or at most ½, so that this lies between its ends, pixel by pixel, after rounding too
        trial = torch.lerp(d, ahead, share[:, None])
        new, new_grad = evaluate(trial)
        better = (new < least) & (norm_of(trial, norm) <= radius)  # many short steps may drift by rounding
        best, least = torch.where(better[:, None], trial, best), torch.where(better, new, least)
        slope = _dot(grad, ahead - d).to(x).clamp(max=0)  # never counted as a step upwards
        enough = new <= recent.amax(1) + ARMIJO * share * slope
        accept = enough | ((share < SHORTEST) & new.isfinite())
        s, y = trial - d, new_grad - grad
        curvature = _dot(s, y)
        spectral = torch.where(curvature > 0, _dot(s, s) / curvature, torch.inf).to(x)
        alpha = torch.where(accept, spectral.clamp(usual / SPAN, usual * SPAN), alpha)
        # refused: the minimum of the parabola through what is known
        parabola = share * slope / (2 * (slope - (new - value) / share))
        shorter = torch.where(parabola.isfinite(), parabola, 0).clamp(0.1 * share, 0.5 * share)
        share = torch.where(accept, 1.0, shorter)
        recent = torch.where(accept[:, None], torch.cat([recent[:, 1:], new[:, None]], 1), recent)
        value, row = torch.where(accept, new, value), accept[:, None]
        d, grad = torch.where(row, trial, d), torch.where(row, new_grad, grad)
        ahead = torch.where(row, project(d - alpha[:, None] * grad), ahead)
    return best, least, first


def project_linf(v: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """The nearest d to each ``v`` (B, n) with |d| ≤ radius (B,) and low ≤ d ≤ high, which hold 0."""
    return v.clamp(-radius[:, None], radius[:, None]).clamp(low, high)


def project_l2(v: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """The nearest d to each ``v`` (B, n) with ‖d‖₂ ≤ radius (B,) and low ≤ d ≤ high, which hold 0.

    It is clip(s v, low, high) for the largest s ≤ 1 that the ball allows. Its squared norm, Σ min(t v²,
    bound²), is concave and piecewise linear in t = s², so Newton's steps from t = 0 rise to the solution and
    end there: in float64, each row until no more of its entries meet their bound.
    """
    radius = radius.double() * (1 - MARGIN * torch.finfo(v.dtype).eps)
    w, least, most = v.double(), low.double(), high.double()
    square, bound = w.square(), torch.where(w > 0, most, least).square()
    t, met = torch.zeros_like(radius), torch.full_like(radius, -1, dtype=torch.long)
    while True:
        at_bound = t[:, None] * square >= bound
        now = at_bound.sum(1)
        rising = (now > met) & (t < 1)
        if not rising.any():
            return torch.minimum(torch.maximum(t.sqrt()[:, None] * w, least), most).to(v)
        room = radius.square() - torch.where(at_bound, bound, 0).sum(1)
        slope = torch.where(at_bound, 0, square).sum(1)
        t = torch.where(rising, torch.where(slope > 0, room / slope, 1).clamp(t, torch.ones_like(t)), t)
        met = torch.where(rising, now, met)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(B,) in float64."""
    return (a.double() * b).sum(1)


def norm_of(d: Tensor, norm: str) -> Tensor:
    """(…) ‖d‖ of ``d`` (…, n), in float64."""
    return torch.linalg.vector_norm(d.double(), {"l2": 2, "linf": torch.inf}[norm], dim=-1)


PROJECTIONS = {"l2": project_l2, "linf": project_linf}
