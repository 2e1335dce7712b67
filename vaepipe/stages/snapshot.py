"""Stage: the weights after some steps of a training, as a model of their own.

python -m vaepipe.stages.snapshot --spec JSON --snapshots snapshots.safetensors --out model.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vaepipe.models.snapshots import of_snapshot, snapshot_steps
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.weights import read_weights, write_weights
from vaepipe.study.specs import ModelSpec


def extract(spec: ModelSpec, snapshots: Path, out: Path) -> None:
    """Write the weights after ``spec.snapshot`` steps.

    Args:
        snapshots: a file of `vaepipe.stages.train`.

    Raises:
        DataError: the file is damaged or has no such snapshot.
    """
    tensors, meta = read_weights(snapshots)
    weights = of_snapshot(tensors, spec.snapshot)
    if not weights:
        held = ", ".join(map(str, snapshot_steps(tensors))) or "none"
        raise DataError(f"{snapshots}: no snapshot after {spec.snapshot} steps; it has {held}")
    write_weights(out, weights, meta | {"spec": spec.to_json(), "steps": str(spec.snapshot)})


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.snapshot", description="Take one snapshot out of a training's file."
    )
    parser.add_argument("--spec", required=True, help="JSON: the cell and the sections model and train")
    parser.add_argument("--snapshots", required=True, type=Path, help="kept weights (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="weights to write (.safetensors)")
    args = parser.parse_args(argv)
    extract(ModelSpec.from_json(args.spec), args.snapshots, args.out)


if __name__ == "__main__":
    run_stage(main)
