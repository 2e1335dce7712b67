"""Stage: take in a model that was trained elsewhere.

python -m vaepipe.stages.adopt --spec JSON --data data.h5 --weights checkpoint --out model.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from vaepipe.datasets.prepared import read_digest, read_split
from vaepipe.models import external
from vaepipe.storage import provenance
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.weights import write_weights


def adopt(spec: dict, data: Path, weights: Path, out: Path) -> None:
    """Check the model of ``spec``, as `vaepipe.study.config.Study.model_spec` gives it, and write its weights as our own."""
    options = spec["external"]
    shape = read_split(data, "test").x.shape[1:]
    if list(shape) != options["shape"]:
        key, found = f"external.{spec['family']}.shape", f"images of {spec['dataset']} are {list(shape)}"
        raise DataError(f"{key}: {options['shape']}; {found}")
    tensors = external.read_checkpoint(weights, options["key"])
    if bad := [name for name, t in tensors.items() if not torch.isfinite(t).all()]:
        raise DataError(f"{weights}: {bad[0]} holds values that are not finite")
    model = external.build(options, tensors, shape)
    digests = {"entry": external.source_digest(options["entry"]), "weights": provenance.file_digest(weights)}
    made_from = {"code": provenance.code_digest("stages.adopt"), "data": read_digest(data), **digests}
    meta = {"spec": json.dumps({**spec, "shape": list(shape)}), **made_from}
    write_weights(out, tensors, {**provenance.record(), **meta})
    print(f"{options['entry']}: {sum(t.numel() for t in tensors.values())} weights, layers of {model.latent_sizes} dimensions")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.adopt", description="Take in a model that was trained elsewhere."
    )
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: the cell and the config's section external")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--weights", required=True, type=Path, help="checkpoint (.safetensors, or written by torch.save)")
    parser.add_argument("--out", required=True, type=Path, help="weights to write (.safetensors)")
    args = parser.parse_args(argv)
    adopt(args.spec, args.data, args.weights, args.out)


if __name__ == "__main__":
    run_stage(main)
