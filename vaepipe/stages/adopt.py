"""Stage: adopt a model that was trained elsewhere.

python -m vaepipe.stages.adopt --spec JSON --data data.h5 --weights checkpoint --out model.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from vaepipe.datasets.prepared import read_digest, read_split
from vaepipe.models import external
from vaepipe.models.checkpoint_file import read_checkpoint
from vaepipe.models.user_code import source_digest
from vaepipe.storage.digests import file_digest
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.provenance import record
from vaepipe.storage.weights import write_weights
from vaepipe.study.digests import adopt_code
from vaepipe.study.specs import ExternalSpec


def adopt(spec: ExternalSpec, data: Path, weights: Path, out: Path) -> None:
    """Check the model of the user's entry point and write its weights in this package's format.

    Args:
        data: a file of `vaepipe.stages.prepare`, whose held-out images the model must accept.
        weights: the user's checkpoint.
        out: weights to write.

    Raises:
        DataError: the model or its weights cannot be used; one line that says why.
    """
    settings = spec.external
    shape = read_split(data, "test").x.shape[1:]
    if shape != settings.shape:
        key, actual = f"external.{spec.family}.shape", f"images of {spec.dataset} are {list(shape)}"
        raise DataError(f"{key}: {list(settings.shape)}; {actual}")
    tensors = read_checkpoint(weights, settings.key)
    if infinite := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise DataError(f"{weights}: {infinite[0]} holds values that are not finite")
    model = external.build(settings, tensors, shape)
    meta = {
        **record(),
        "spec": spec.to_json(),
        "shape": json.dumps(list(shape)),
        "code": adopt_code(spec),
        "data": read_digest(data),
        "entry": source_digest(settings.entry),
        "weights": file_digest(weights),
    }
    write_weights(out, tensors, meta)
    count = sum(tensor.numel() for tensor in tensors.values())
    print(f"{settings.entry}: {count} weights, layers of {model.latent_sizes} dimensions")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.adopt", description="Adopt a model that was trained elsewhere."
    )
    parser.add_argument("--spec", required=True, help="JSON: the cell and the config's section external")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument(
        "--weights", required=True, type=Path, help="checkpoint (.safetensors, or written by torch.save)"
    )
    parser.add_argument("--out", required=True, type=Path, help="weights to write (.safetensors)")
    args = parser.parse_args(argv)
    adopt(ExternalSpec.from_json(args.spec), args.data, args.weights, args.out)


if __name__ == "__main__":
    run_stage(main)
