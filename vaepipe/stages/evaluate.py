"""Stage: measure one trained model on the held-out split.

python -m vaepipe.stages.evaluate --spec JSON --data data.h5 --model model.safetensors --out evaluation.h5
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
from pathlib import Path

import numpy as np
import torch

from vaepipe import metrics
from vaepipe.compute.device import setup_device
from vaepipe.compute.randomness import seeded_generator
from vaepipe.datasets.prepared import read_digest, read_split
from vaepipe.models.build import as_float, load
from vaepipe.models.objectives import Terms, log_weights, terms
from vaepipe.storage import provenance
from vaepipe.storage.errors import run_stage
from vaepipe.storage.h5 import write_h5
from vaepipe.storage.weights import read_weights

BATCH = 1024

DESCRIPTIONS = {
    "log_likelihood": "log p(x|z), z ~ q(z|x), nats per image (N,)",
    "kl": "KL summed over dimensions and layers, nats per image (N,)",
    "bound": "importance-weighted bound, nats per image (N,)",
    "reconstruction_error": "2-norm of x - E[x|z], z ~ q(z|x), over all pixels (N,)",
    "sigma_norm": "2-norm of the top layer's posterior standard deviations (N,)",
    "mean_norm": "2-norm of the top layer's posterior means (N,)",
    "kl_layers": "KL of each layer, the bottom one first, nats per image: mean, standard error over images (2, L)",
    "mean": "top layer's posterior means of the first images (K, d_z)",
    "log_std": "logarithms of the top layer's posterior standard deviations of the first images (K, d_z)",
    "sample": "top layer's z ~ q(z|x) of the first images (K, d_z)",
    "reconstruction": "mean of p(x|z) at that sample (K, ...)",
    "x": "the first images or points (K, ...)",
    "mutual_information": "I(z; x) of the top layer over the held-out images, nats: value, standard error (2,)",
    "total_correlation": "KL(q(z) || prod q(z_k)) of the top layer over the held-out images, nats: value, standard error (2,)",
    "dimension_kl": "sum of KL(q(z_k) || p(z_k)) of the top layer over the held-out images, nats: value, standard error (2,)",
    "overlap": "mean Bhattacharyya coefficient of two images' posteriors, top layer: value, standard error (2,)",
    "active_units": "dimensions of the top layer whose means vary by more than 0.01: value, standard error over images (2,)",
    "mig": "mutual information gap, top layer; NaN where no factors are known: value, standard error (2,)",
}


@torch.no_grad()
def measure(
    model, x: torch.Tensor, seed: int, spec: dict, factors: torch.Tensor | None = None
) -> tuple[dict[str, np.ndarray], str]:
    """What a model says of held-out images, `DESCRIPTIONS` by name, and the state of its latent space.

    Args:
        x: (N, …) uint8 images or float points.
        seed: of the posterior samples.
        spec: the config's section ``evaluate``.
        factors: (N, F) classes of the generating factors, where they are known.
    """
    columns: dict[str, list[torch.Tensor]] = {}
    for start in range(0, len(x), BATCH):
        batch = as_float(x[start : start + BATCH])
        random = seeded_generator(x.device, "evaluate", seed, start)
        shape = (len(batch), sum(model.latent_sizes))
        t = terms(model, batch, torch.randn(shape, generator=random, device=x.device))
        more = torch.randn(spec["importance_samples"], *shape, generator=random, device=x.device)
        for name, value in _per_image(model, batch, t, more).items():
            columns.setdefault(name, []).append(value)
    found = {name: torch.cat(parts) for name, parts in columns.items()}
    top = [found[name] for name in ("mean", "log_std", "sample")]
    state = metrics.name_state(*top[:2])
    found |= {name: torch.tensor(value) for name, value in _aggregate(*top, factors, seed, spec["aggregate_samples"]).items()}
    kept = ("mean", "log_std", "sample", "reconstruction")
    found |= {name: found[name][: spec["keep"]] for name in kept}
    layers = found["kl_layers"]
    found |= {"kl_layers": torch.stack([layers.mean(0), layers.std(0) / math.sqrt(len(layers))]), "x": x[: spec["keep"]]}
    return {name: value.cpu().numpy() for name, value in found.items()}, state


def _per_image(model, x: torch.Tensor, t: Terms, noise: torch.Tensor) -> dict[str, torch.Tensor]:
    picture, top = model.decode(*t.samples).mean, t.posteriors[-1]
    # one sample of all images at a time, so that memory does not grow with their number
    weights = torch.stack([log_weights(model, x, eps) for eps in noise])
    return {
        "log_likelihood": t.log_likelihood,
        "kl": t.kl,
        "bound": metrics.importance_weighted(weights),
        "reconstruction_error": (x - picture).flatten(1).norm(dim=1),
        "kl_layers": torch.stack([kl.sum(1) for kl in t.kl_terms], 1),
        "sigma_norm": top.log_std.exp().norm(dim=1),
        "mean_norm": top.mean.norm(dim=1),
        "mean": top.mean,
        "log_std": top.log_std,
        "sample": t.samples[-1],
        "reconstruction": picture,
    }


def _aggregate(mean, log_std, sample, factors, seed: int, samples: int) -> dict[str, list[float]]:
    """What is measured of the top layer's aggregate posterior; NaN where posteriors have no width."""
    unknown = [math.nan, math.nan]
    found = dict.fromkeys(("mutual_information", "total_correlation", "dimension_kl", "overlap", "mig"), unknown)
    found["active_units"] = [*metrics.count_active(mean)]
    if log_std.isfinite().all():
        rows = torch.randperm(len(mean), generator=seeded_generator("cpu", "aggregate", seed))[:samples].to(mean.device)
        split = metrics.decompose(mean, log_std, sample[rows], rows)
        found |= {"mutual_information": [*split.mutual_information], "total_correlation": [*split.total_correlation]}
        found |= {"dimension_kl": [*split.dimension_wise_kl], "overlap": [*metrics.pairwise_overlap(mean, log_std).coefficient]}
        if factors is not None:
            found["mig"] = [*metrics.mutual_information_gap(mean, log_std, sample, factors)[:2]]
    return found


def evaluate(spec: dict, data: Path, model_path: Path, out: Path, device: torch.device) -> None:
    """Measure the model of ``model_path`` on the held-out split of ``data`` and write what `measure` gives."""
    model, model_spec = load(model_path, device)
    test = read_split(data, "test")[slice(spec["max_images"])]
    factors = None if test.factors is None else torch.from_numpy(test.factors).to(device)
    arrays, state = measure(model, torch.from_numpy(test.x).to(device), model_spec["seed"], spec, factors)
    attrs = {
        "spec": spec,
        "model": model_spec,
        "weights": provenance.file_digest(model_path),
        "state": state,
        "code": provenance.code_digest("stages.evaluate"),
        "data": read_digest(data),
    }
    write_h5(out, "evaluation", {name: (array, DESCRIPTIONS[name]) for name, array in arrays.items()}, attrs)
    _settle(model_path)
    elbo = (arrays["log_likelihood"] - arrays["kl"]).mean()
    print(f"{len(arrays['kl'])} held-out images: β = 1 ELBO {elbo:.2f} nats per image, latent space {state}")


def _settle(model_path: Path) -> None:
    """Delete the checkpoint of the training that made the weights: the workflow has seen its end, else it were not here."""
    meta = read_weights(model_path)[1]
    spec = {key: value for key, value in json.loads(meta["spec"]).items() if key != "shape"}
    with contextlib.suppress(OSError, KeyError):  # a folder that is only read; weights from elsewhere
        provenance.checkpoint(model_path, spec, meta["data"], meta["code"]).unlink()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.evaluate", description="Measure one trained model.")
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: the config's section evaluate")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="trained weights (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    evaluate(args.spec, args.data, args.model, args.out, setup_device(args.threads))


if __name__ == "__main__":
    run_stage(main)
