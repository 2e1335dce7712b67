"""Stage: evaluate one trained model on the held-out images.

python -m vaepipe.stages.evaluate --spec JSON --data data.h5 --model model.safetensors --out evaluation.h5
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from vaepipe.compute.device import setup_device
from vaepipe.datasets.prepared import read_digest, read_split
from vaepipe.metrics.evaluation import evaluate_model
from vaepipe.metrics.registry import LATENT_METRICS
from vaepipe.models.checkpoints import delete_finished_checkpoint
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage.digests import file_digest
from vaepipe.storage.errors import run_stage
from vaepipe.storage.h5 import write_h5
from vaepipe.storage.weights import read_weights
from vaepipe.study.digests import evaluate_code
from vaepipe.study.specs import EvaluateSpec


def evaluate(spec: EvaluateSpec, data: Path, weights: Path, out: Path, device: torch.device) -> None:
    """Evaluate the model of ``weights`` on the held-out images of ``data``; write ``out``.

    The checkpoint of the training that wrote the weights is deleted: the workflow has seen the training end.
    """
    model, model_spec = read_trained_model(weights, device)
    meta = read_weights(weights)[1]
    test = read_split(data, "test")[slice(spec.max_images)]
    evaluation = evaluate_model(
        model,
        torch.from_numpy(test.x).to(device),
        model_spec.seed,
        LATENT_METRICS,
        factors=None if test.factors is None else torch.from_numpy(test.factors).to(device),
        keep=spec.keep,
        importance_samples=spec.importance_samples,
        aggregate_samples=spec.aggregate_samples,
    )
    attributes = {
        "spec": spec.model_dump(mode="json"),
        "model": model_spec.model_dump(mode="json"),
        "weights": file_digest(weights),
        "steps": meta.get("steps", ""),
        "state": evaluation.state,
        "code": evaluate_code(model_spec),
        "data": read_digest(data),
    }
    write_h5(out, "evaluation", evaluation.arrays, attributes)
    delete_finished_checkpoint(weights, meta)
    (log_likelihood, _), (kl, _) = evaluation.arrays["log_likelihood"], evaluation.arrays["kl"]
    elbo = (log_likelihood - kl).mean()
    print(f"{len(kl)} held-out images: β = 1 ELBO {elbo:.2f} nats per image, latent space {evaluation.state}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.evaluate",
        description="Evaluate one trained model on the held-out images.",
    )
    parser.add_argument("--spec", required=True, help="JSON: the config's section evaluate")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--model", required=True, type=Path, help="trained weights (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.h5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(argv)
    evaluate(EvaluateSpec.from_json(args.spec), args.data, args.model, args.out, setup_device(args.threads))


if __name__ == "__main__":
    run_stage(main)
