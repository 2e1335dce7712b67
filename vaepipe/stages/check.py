"""Stage: is one attack on one model to be believed, and what does it do to a classifier and to a defence?

python -m vaepipe.stages.check --spec JSON --data data.h5 --model model.safetensors --attack A.h5 [--source B.h5] --out check.h5
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaepipe.analysis import robustness
from vaepipe.attacks.loss import Setting, find_loss
from vaepipe.attacks.objective import pair_noise, posteriors
from vaepipe.compute.device import setup_device
from vaepipe.compute.randomness import seeded_generator
from vaepipe.datasets.prepared import read_digest, read_split
from vaepipe.models.build import as_float, load
from vaepipe.storage import provenance
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5, write_h5
from vaepipe.trust.defence import Defended
from vaepipe.trust.masking import descend, noise
from vaepipe.trust.probe import Probe

BATCH = 1024
DESCRIPTIONS = {
    "lambdas": "weights of the penalty (L,)",
    "budgets": "shares of ||x - x_t|| (B,)",
    "row": "number of the lambda of each pair's strongest row within the budget, -1 where none is (B,P)",
    "noise_divergence": "least divergence over draws of noise with the row's norm, nats (L,P)",
    "transfer_divergence": "divergence of this model at the source model's distortion, nats (L,P)",
    "transfer_norm": "2-norm of that distortion (L,P)",
    "restart_divergence": "least divergence by projected descent from random starts within each budget, nats (B,P)",
    "restart_norm": "2-norm of that distortion (B,P)",
    "probe_accuracy": "of the linear probe on the held-out split ()",
    "probe_class": "class that the probe gives to x+d (L,P)",
    "probe_label": "labels of x and x_t (P,2)",
    "defended_ratio": "(A - T)/(O - T) of that row behind the defence (B,P)",
    "adaptive_ratio": "the same for a distortion of at most that norm made to pass the defence (B,P)",
    "acceptance": "mean acceptance of the defence's chains ()",
}


class Attacked:
    """A model with the attacks on it, and what they minimised."""

    def __init__(self, model, spec: dict, path: Path, device: torch.device):
        self.model, self.spec = model, spec
        self.rows = read_rows(path)
        with open_h5(path, "attack") as file:
            self.x, self.target = (as_float(torch.from_numpy(file[name][:]).to(device)) for name in ("x", "target"))
            self.pairs, attack = file["pairs"][:], json.loads(file.attrs["spec"])
        self.distortion = torch.from_numpy(self.rows["distortion"]).to(self.x)  # L, P, C, H, W
        goals = posteriors(model, self.target, attack["batch_size"], find_loss(attack["loss"]))
        self.sizes = [q.mean.shape[1] for q in goals]
        draws = pair_noise(self.x, self.target, attack["draws"], sum(self.sizes), attack["pair_seed"])
        setting = Setting(model, self.x, self.target, goals, draws, attack["batch_size"])
        self._divergence = find_loss(attack["loss"]).build(setting)
        a, t, o = (self.rows[f"{name}_distance"] for name in ("adversarial", "target", "original"))
        self.ratio = robustness.ratio(a, t, o)
        self.row = robustness.strongest(self.rows["norm"], self.rows["input_distance"], self.ratio)  # B, P

    def divergence(self, u: Tensor) -> Tensor:
        """(P,) what the attack minimises beside the penalty, at one adversarial input (P, C, H, W) for each pair."""
        return self._divergence(u, torch.arange(len(u), device=u.device))

    def generator(self, *purpose) -> torch.Generator:
        return seeded_generator(self.x.device, "check", self.spec["seed"], *purpose)

    def strongest(self, budget: int) -> tuple[Tensor, Tensor]:
        """(distortion (P, C, H, W), its norm (P,)) of the strongest rows; zero where there is none."""
        row = torch.from_numpy(self.row[budget]).to(self.x.device)
        d = self.distortion[row.clamp(min=0), torch.arange(len(row))]
        d = torch.where((row >= 0).view(-1, *[1] * (d.ndim - 1)), d, 0.0)
        return d, d.flatten(1).norm(dim=1)


def read_rows(path: Path) -> dict[str, np.ndarray]:
    """Arrays (L, P, …) or (P,) of an attack file."""
    names = ["lambdas", "distortion", "norm", "divergence", "initial_divergence"]
    names += [f"{name}_distance" for name in ("adversarial", "target", "original", "input")]
    with open_h5(path, "attack") as file:
        return {name: file[name][:] for name in names}


@torch.no_grad()
def check_noise(a: Attacked) -> dict[str, np.ndarray]:
    """Random noise of each row's norm; the best of several draws."""
    norm = torch.from_numpy(a.rows["norm"]).to(a.x)
    least = []
    for row, length in enumerate(norm):
        generators = [a.generator("noise", row, draw) for draw in range(a.spec["noise"])]
        tries = [a.divergence(a.x + noise(a.x, length, generator)) for generator in generators]
        least.append(torch.stack(tries).amin(0))
    return {"noise_divergence": torch.stack(least).cpu().numpy()}


@torch.no_grad()
def check_transfer(a: Attacked, source: Path) -> dict[str, np.ndarray]:
    """The distortions that another model was fooled by, on this one."""
    rows = read_rows(source)
    found = [a.divergence(a.x + torch.from_numpy(d).to(a.x)) for d in rows["distortion"]]
    return {"transfer_divergence": torch.stack(found).cpu().numpy(), "transfer_norm": rows["norm"]}


def check_restarts(a: Attacked) -> dict[str, np.ndarray]:
    """Descent from random points within each budget; the best of the starts."""
    divergences, norms = [], []
    for b, budget in enumerate(robustness.BUDGETS):
        radius = budget * (a.x - a.target).flatten(1).norm(dim=1)
        starts = [noise(a.x, radius, a.generator("restart", b, start)) for start in range(a.spec["restarts"])]
        ends = [descend(a.divergence, a.x, start, radius, a.spec["restart_steps"]) for start in starts]
        found, best = torch.stack([value for _, value in ends]).min(0)
        divergences.append(found)
        norms.append(torch.stack([d.flatten(1).norm(dim=1) for d, _ in ends]).gather(0, best[None])[0])
    return {"restart_divergence": torch.stack(divergences).cpu().numpy(), "restart_norm": torch.stack(norms).cpu().numpy()}


@torch.no_grad()
def latents(model, x: Tensor) -> np.ndarray:
    """(N, Σ D_l) posterior means of all layers side by side."""
    parts = [torch.cat([q.mean for q in model.posterior(as_float(batch))], 1) for batch in x.split(BATCH)]
    return torch.cat(parts).cpu().numpy()


def check_probe(a: Attacked, data: Path) -> dict[str, np.ndarray]:
    """A linear classifier on the latents of the training images, on clean and on attacked ones."""
    train, test = (read_split(data, split) for split in ("train", "test"))
    if train.label is None:
        raise DataError(f"checks.probe: {data} has no labels; set it to false")
    images = [torch.from_numpy(part.x).to(a.x.device) for part in (train[: a.spec["probe_images"]], test)]
    probe = Probe(latents(a.model, images[0]), train.label[: a.spec["probe_images"]])
    classes = [probe.classes(latents(a.model, a.x + d)) for d in a.distortion]
    accuracy = np.array(probe.accuracy(latents(a.model, images[1]), test.label))
    return {"probe_accuracy": accuracy, "probe_class": np.stack(classes), "probe_label": test.label[a.pairs]}


def check_defence(a: Attacked) -> dict[str, np.ndarray]:
    """The strongest rows, and distortions made for it, through the defence; T and O are measured behind it too."""
    s = a.spec
    defended = Defended(a.model, s["mcmc_steps"], s["mcmc_step_size"], s["mcmc_leapfrogs"], s["mcmc_acceptance"])
    P = len(a.x)

    def start(purpose: str) -> Tensor:
        return torch.randn(P, sum(a.sizes), generator=a.generator("defence", purpose), device=a.x.device)

    def distance(u: Tensor, purpose: str, seed: int, **options) -> Tensor:
        chains = defended.latents(u, start(purpose), seed, **options)
        acceptance.append(chains.acceptance.detach().mean())
        return (defended.decode(chains.z, a.sizes).mean - a.target).flatten(1).norm(dim=1)

    acceptance: list[Tensor] = []
    with torch.no_grad():
        floor, original = (distance(u, "evaluate", a.spec["seed"]).cpu().numpy() for u in (a.target, a.x))
    found: dict[str, list[np.ndarray]] = {"defended_ratio": []} | ({"adaptive_ratio": []} if s["adaptive_steps"] else {})
    for budget in range(len(a.row)):
        d, radius = a.strongest(budget)
        tries = {"defended_ratio": d}
        if s["adaptive_steps"]:  # the attacker knows the defence, but neither its noise nor more than a part of its steps
            options = {"steps": s["adaptive_steps"], "differentiable": True}
            attacker = lambda u, options=options: distance(u, "attack", a.spec["seed"] + 1, **options)  # noqa: E731
            tries["adaptive_ratio"] = descend(attacker, a.x, d, radius, s["adaptive_iterations"])[0]
        for name, distortion in tries.items():
            with torch.no_grad():
                reached = distance(a.x + distortion, "evaluate", a.spec["seed"]).cpu().numpy()
            found[name].append(np.where(a.row[budget] >= 0, robustness.ratio(reached, floor, original), np.nan))
    return {name: np.stack(rows) for name, rows in found.items()} | {
        "acceptance": np.array(float(torch.stack(acceptance[:2]).mean()))
    }


def check(spec: dict, data: Path, model_path: Path, attacked: Path, source: Path | None, out: Path, device) -> None:
    """Make the checks that ``spec`` asks for (the config's section ``checks``) and write what `DESCRIPTIONS` says."""
    model, model_spec = load(model_path, device)
    a = Attacked(model, spec, attacked, device)
    arrays = {"lambdas": a.rows["lambdas"], "budgets": np.array(robustness.BUDGETS), "row": a.row}
    arrays |= check_noise(a) if spec["noise"] else {}
    arrays |= check_transfer(a, source) if source else {}
    arrays |= check_restarts(a) if spec["restarts"] else {}
    arrays |= check_probe(a, data) if spec["probe"] else {}
    arrays |= check_defence(a) if spec["mcmc_steps"] else {}
    attrs = {"model": model_spec, "spec": spec, "code": provenance.code_digest("stages.check"), "data": read_digest(data)}
    write_h5(out, "check", {name: (array, DESCRIPTIONS[name]) for name, array in arrays.items()}, attrs)
    print(f"checked: {', '.join(name for name in arrays if name not in ('lambdas', 'budgets', 'row'))}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.check", description="Check one attack on one model.")
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: the config's section checks")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="weights (.safetensors)")
    parser.add_argument("--attack", required=True, type=Path, help="the attack's file (.h5)")
    parser.add_argument("--source", nargs="?", type=Path, help="that of another model, whose distortions are tried (.h5)")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    device = setup_device(args.threads)
    check(args.spec, args.data, args.model, args.attack, args.source, args.out, device)


if __name__ == "__main__":
    run_stage(main)
