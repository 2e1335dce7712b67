"""Stage: measure one trained model on the held-out split.

python -m vaepipe.evaluate --spec JSON --data data.h5 --model model.safetensors --out evaluation.h5
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from vaepipe import device as devices
from vaepipe import provenance, store
from vaepipe.datasets.files import read_digest, read_split
from vaepipe.models import as_float, load
from vaepipe.objectives import terms

BATCH = 1024


@torch.no_grad()
def measure(model, x: torch.Tensor, seed: int, keep: int) -> dict[str, np.ndarray]:
    """What a model says of images ``x`` (N, …), uint8 or points, with one posterior sample per image.

    Returns:
        (N,) each: log_likelihood, kl (nats), sigma_norm ‖σ(x)‖₂, mean_norm ‖μ(x)‖₂; and of the first ``keep`` images
        mean, log_std, sample (K, d_z) and reconstruction (K, …), the likelihood's mean at the sample.
    """
    columns: dict[str, list] = {}
    for start in range(0, len(x), BATCH):
        batch = as_float(x[start : start + BATCH])
        random = devices.generator(x.device, "evaluate", seed, start)
        t = terms(model, batch, torch.randn(len(batch), model.d_z, generator=random, device=x.device))
        found = {
            "log_likelihood": t.log_likelihood,
            "kl": t.kl,
            "sigma_norm": t.posterior.log_std.exp().norm(dim=1),
            "mean_norm": t.posterior.mean.norm(dim=1),
        }
        if start < keep:
            kept = {
                "mean": t.posterior.mean,
                "log_std": t.posterior.log_std,
                "sample": t.z,
                "reconstruction": model.decode(t.z).mean,
            }
            found |= {name: value[: keep - start] for name, value in kept.items()}
        for name, value in found.items():
            columns.setdefault(name, []).append(value.cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in columns.items()}


DESCRIPTIONS = {
    "log_likelihood": "log p(x|z), z ~ q(z|x), nats per image (N,)",
    "kl": "KL(q(z|x) || p(z)), nats per image (N,)",
    "sigma_norm": "2-norm of the posterior's standard deviations (N,)",
    "mean_norm": "2-norm of the posterior's means (N,)",
    "mean": "posterior means of the first images (K, d_z)",
    "log_std": "logarithms of the posterior's standard deviations of the first images (K, d_z)",
    "sample": "z ~ q(z|x) of the first images (K, d_z)",
    "reconstruction": "mean of p(x|z) at that sample (K, ...)",
    "x": "the first images or points (K, ...)",
}


def evaluate(spec: dict, data: Path, model_path: Path, out: Path, device: torch.device) -> None:
    """Measure the model of ``model_path`` on the held-out split of ``data`` and write what `measure` gives."""
    model, model_spec = load(model_path, device)
    x = torch.from_numpy(read_split(data, "test").x[: spec["max_images"]])
    arrays = measure(model, x.to(device), model_spec["seed"], spec["keep"]) | {"x": x[: spec["keep"]].numpy()}
    attrs = {"spec": spec, "model": model_spec, "code": provenance.code_digest("evaluate"), "data": read_digest(data)}
    store.write_h5(out, "evaluation", {name: (array, DESCRIPTIONS[name]) for name, array in arrays.items()}, attrs)
    elbo = arrays["log_likelihood"] - arrays["kl"]
    print(f"{len(elbo)} held-out images: β = 1 ELBO {elbo.mean():.2f} nats per image, KL {arrays['kl'].mean():.2f}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.evaluate", description="Measure one trained model.")
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: max_images, keep")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="trained weights (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    evaluate(args.spec, args.data, args.model, args.out, devices.setup(args.threads))


if __name__ == "__main__":
    store.run_stage(main)
