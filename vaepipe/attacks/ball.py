"""Attacks of bounded size: minimise φ(x + d) over ‖d‖ ≤ ε with x + d in [0,1], the norm L2 or L∞, from several starts.

Auto-PGD (Croce and Hein 2020, algorithm 1, with its constants): projected steps along the normalised gradient or its signs,
with momentum; at checkpoints a row that has ceased to improve halves its step and goes back to its best point. What it
needs is a projection onto ball and box at once, which is exact here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from vaepipe import device as devices
from vaepipe.attacks.checks import check_arguments
from vaepipe.attacks.losses import UNTARGETED, in_batches
from vaepipe.attacks.problem import Problem, in_precision, within_memory

MOMENTUM, SUCCESSES = 0.75, 0.75
"""Weight of the new step beside the last; share of steps that must improve for the step length to stay."""
MARGIN = 16
"""Rounding units by which an L2 ball is taken smaller, so that ‖d‖₂ ≤ ε holds after rounding too."""


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
    loss: str = "latent-kl",
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
        restarts: random starts beside d = 0, uniform in the ball, then projected.
        seed: of the noise behind losses that sample z, and of the starts; both are decided by it and the pair's images, the
            starts by radius and number of the start too.
        steps: of each start.

    Raises:
        ValueError: as `vaepipe.attacks.run_attack`; an unknown norm, no steps, fewer than 0 restarts, or none for a loss
            that is stationary at d = 0.
    """
    check_arguments(model, x, target, radii, loss, "radii")
    if norm not in PROJECTIONS:
        raise ValueError(f"norm: {norm!r} is not one of {', '.join(PROJECTIONS)}")
    for name, value, least in (("steps", steps, 1), ("restarts", restarts, 1 if loss in UNTARGETED else 0)):
        if value < least:
            raise ValueError(f"{name}: {value} is less than {least}, which the loss {loss!r} needs")
    model, x, target = in_precision(model, x, target, precision)
    radii = radii.to(x)

    def attacked(batch_size: int) -> BallResult:
        problem = Problem(model, x, target, loss, seed, draws, "lbfgs", steps, 0, batch_size)
        d, divergence, initial = _solve(problem, x, target, radii, norm, restarts, seed, steps, batch_size)
        d, divergence, restart = _best(d, divergence, radii)
        return BallResult(
            distortion=d.unflatten(-1, x.shape[1:]),
            divergence=divergence,
            norm=norm_of(d, norm),
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
        away = torch.stack([_start(x[p], target[p], e, s, norm, seed) for s, p, e in places]).to(x)
        return torch.cat([v.unsqueeze(1) if v.ndim == 1 else v for v in _descend(problem, pair, away, radius, norm, steps)], 1)

    found = in_batches(batch, torch.arange(E * P * S, device=x.device), batch_size)
    d, value, first = found.unflatten(0, (E, P, S)).split([n, 1, 1], dim=-1)
    initial = first[:, :, 0, 0]
    return d, value[..., 0], torch.where(initial.isinf(), torch.nan, initial)


def _start(x: Tensor, target: Tensor, radius: float, number: int, norm: str, seed: int) -> Tensor:
    """(n,) start of that number: d = 0, then uniform in the ball. Drawn on the CPU in float32, the same everywhere."""
    n = x.numel()
    if number == 0:
        return torch.zeros(n)
    images = (t.cpu().numpy().tobytes() for t in (x, target))
    random = devices.generator("cpu", "ball", seed, norm, radius, number, *images)
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


def _descend(
    problem: Problem, pair: Tensor, start: Tensor, radius: Tensor, norm: str, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(best d (B, n), φ there (B,), φ at the start (B,)); a φ that is not finite counts as infinite."""
    x = problem.x[pair]
    low, high, direction = -x, 1 - x, DIRECTIONS[norm]

    def project(v: Tensor) -> Tensor:
        return PROJECTIONS[norm](v, low, high, radius)

    def evaluate(d: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = problem.value_and_grad((x + d).clamp_(0, 1), pair)
        return value.nan_to_num(torch.inf, torch.inf, torch.inf), grad.nan_to_num(0, 0, 0)

    d = before = best = project(start)
    first, grad = evaluate(d)
    value = least = least_then = first
    best_grad, length = grad, 2 * radius
    successes, changed = torch.zeros_like(pair), torch.ones_like(pair, dtype=torch.bool)
    last, ends = 0, checkpoints(steps)
    for step in range(1, steps + 1):
        # what would push a pixel out of its range is left out: it would only shorten the rest
        blocked = ((d <= low) & (grad > 0)) | ((d >= high) & (grad < 0))
        ahead = project(d - length[:, None] * direction(torch.where(blocked, 0, grad)))
        after = ahead if step == 1 else project(d + MOMENTUM * (ahead - d) + (1 - MOMENTUM) * (d - before))
        before, d, old = d, after, value
        value, grad = evaluate(d)
        successes = successes + (value < old)
        better = value < least
        best, best_grad = torch.where(better[:, None], d, best), torch.where(better[:, None], grad, best_grad)
        least = torch.where(better, value, least)
        if step in ends:
            halve = (successes < SUCCESSES * (step - last)) | (~changed & (least == least_then))
            length, back = torch.where(halve, length / 2, length), halve[:, None]
            d, before = torch.where(back, best, d), torch.where(back, best, before)
            grad, value = torch.where(back, best_grad, grad), torch.where(halve, least, value)
            successes, changed, least_then, last = torch.zeros_like(pair), halve, least, step
    return best, least, first


def checkpoints(steps: int) -> list[int]:
    """Steps after which the step length is judged: the first period is 22 % of all, each next 3 % less, at least 6 %."""
    at, period, found = 22, 22, []
    while at < 100:
        found.append(ceil(at * steps / 100))
        period = max(period - 3, 6)
        at += period
    return found


def project_linf(v: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """The nearest d to each ``v`` (B, n) with |d| ≤ radius (B,) and low ≤ d ≤ high, which hold 0."""
    return v.clamp(-radius[:, None], radius[:, None]).clamp(low, high)


def project_l2(v: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """The nearest d to each ``v`` (B, n) with ‖d‖₂ ≤ radius (B,) and low ≤ d ≤ high, which hold 0.

    It is clip(s v, low, high) for the largest s ≤ 1 that the ball allows. Its squared norm, Σ min(t v², bound²), is concave and
    piecewise linear in t = s², so Newton's steps from t = 0 rise to the solution and end there: in float64, each row until no
    more of its entries meet their bound.
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


def unit(grad: Tensor) -> Tensor:
    """Gradients (B, n) of length one, in float64 so that small ones count; 0 stays 0."""
    size = torch.linalg.vector_norm(grad, dim=1, keepdim=True, dtype=torch.float64)
    return (grad / size.clamp(min=1e-300)).to(grad)


def norm_of(d: Tensor, norm: str) -> Tensor:
    """(…) ‖d‖ of ``d`` (…, n), rounded once."""
    return torch.linalg.vector_norm(d.double(), {"l2": 2, "linf": torch.inf}[norm], dim=-1).to(d)


PROJECTIONS = {"l2": project_l2, "linf": project_linf}
DIRECTIONS = {"l2": unit, "linf": torch.sign}
