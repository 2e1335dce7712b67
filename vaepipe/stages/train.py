"""Stage: train one model of the grid.

    python -m vaepipe.stages.train --spec JSON --data data.h5 --out model.safetensors --history history.csv
        --snapshots snapshots.safetensors

Interrupted at any moment, the stage continues from its last checkpoint when it runs again, and ends with the
same weights, bit for bit, on the same machine.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

import torch

from vaepipe.compute.device import setup_device
from vaepipe.datasets.prepared import read_digest
from vaepipe.datasets.resident import Resident
from vaepipe.models.checkpoints import checkpoint_path
from vaepipe.models.snapshots import snapshot_tensors
from vaepipe.models.training import HELD_OUT, Trainer
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.locks import LOCKS_UNSUPPORTED
from vaepipe.storage.provenance import record
from vaepipe.storage.tables import write_rows
from vaepipe.storage.weights import read_weights, write_weights
from vaepipe.study.digests import train_code
from vaepipe.study.specs import ModelSpec


def train(
    spec: ModelSpec,
    data: Path,
    out: Path,
    history: Path,
    checkpoint_seconds: float,
    device: torch.device,
    snapshots: Path | None = None,
) -> None:
    """Train to the last epoch, from the checkpoint if there is one, and write weights and history.

    Args:
        data: a file of `vaepipe.stages.prepare`.
        out: weights to write. The checkpoint and the lock lie beside them, hidden.
        history: table to write, one row per epoch.
        checkpoint_seconds: least time between two checkpoints.
        snapshots: file to write with the weights after each number of steps in ``train.snapshots``.
    """
    trainer = Trainer(spec, Resident.read(data, "train"), Resident.read(data, "test", HELD_OUT), device)
    code, digest = train_code(spec), read_digest(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = checkpoint_path(out, spec.model_dump(mode="json"), digest, code)
    # an orphan of a killed workflow may still be training: it ends first, with the same weights
    lock = open(out.with_name(f".{out.stem}.lock"), "w")  # noqa: SIM115  held until the process ends
    if _wait_for_lock(lock):
        _delete_unfinished_writes(out)
    meta = {
        **record(),
        "spec": spec.to_json(),
        "shape": json.dumps(list(trainer.x.shape)),
        "precision": trainer.precision,
        "code": code,
        "data": digest,
        "steps": str(trainer.total),
    }
    if all(path is None or path.exists() for path in (history, snapshots)) and _was_made_from(out, meta):
        return print(f"{out} is there already: the process that had the lock made it", flush=True)
    if checkpoint.exists():
        try:
            trainer.restore(*read_weights(checkpoint))
            print(f"continuing after epoch {len(trainer.history)} from {checkpoint}", flush=True)
        except DataError as error:
            print(f"starting again: {error}", flush=True)
    state = _train_epochs(trainer, out, checkpoint, checkpoint_seconds)
    # A workflow that was killed does not see this end: it deletes the outputs, and the next run makes them
    # from this checkpoint. The evaluation, which follows an end that was seen, deletes the checkpoint.
    write_weights(checkpoint, *state)
    write_rows(history, trainer.history)
    if snapshots is not None:
        write_weights(snapshots, snapshot_tensors(trainer.snapshots), meta)
    write_weights(out, trainer.model.state_dict(), meta)


def _train_epochs(
    trainer: Trainer, out: Path, checkpoint: Path, checkpoint_seconds: float
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Train to the last epoch and return the state after it.

    Raises:
        DataError: the training diverged. The checkpoint after the last good epoch is kept, as after a signal.
    """
    state, saved = trainer.state(), time.monotonic()
    start, first = saved, len(trainer.history)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_on_signal)
    try:
        while len(trainer.history) < trainer.epochs:
            row = trainer.epoch()
            state = trainer.state()
            if time.monotonic() - saved >= checkpoint_seconds:
                write_weights(checkpoint, *state)
                saved = time.monotonic()
            _print_progress(row, trainer.epochs, time.monotonic() - start, first)
    except (DataError, SystemExit) as error:
        write_weights(checkpoint, *state)
        kept = f"the checkpoint after epoch {len(json.loads(state[1]['history']))} is kept at {checkpoint}"
        if isinstance(error, SystemExit):
            sys.exit(f"stopped; {kept}")
        raise DataError(f"{out}: {error}; {kept}") from error
    return state


def _wait_for_lock(lock: IO) -> bool:
    """Wait for the lock and return True, or False if the file system has no locks.

    Without locks two processes may both train, to the same weights; each renames whole files of its own.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return True
    except OSError as error:
        if error.errno not in LOCKS_UNSUPPORTED:
            raise
        reason = f"{error.strerror}: this file system has no locks, another process here would train too"
        print(f"{lock.name}: {reason}", flush=True)
        return False


def _delete_unfinished_writes(out: Path) -> None:
    """Delete the temporary files of jobs that were killed while they wrote; the lock says that no other job
    writes."""
    for temporary in out.parent.glob(f"*.{out.stem}.*tmp*"):
        temporary.unlink()


def _was_made_from(out: Path, meta: dict[str, str]) -> bool:
    """Whether the weights are there, undamaged, and from the same spec, data, code and versions."""
    try:
        stored = read_weights(out)[1]
    except DataError:
        return False
    return stored | {"git": ""} == meta | {"git": ""}


def _exit_on_signal(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _print_progress(row: dict[str, float], epochs: int, seconds: float, first: int) -> None:
    """One line per epoch; ``seconds`` have passed since the end of epoch ``first``."""
    left = seconds / (row["epoch"] - first) * (epochs - row["epoch"])
    names = ("loss", "log_likelihood", "kl", "held_out_elbo")
    values = ", ".join(f"{name.replace('_', ' ')} {row[name]:.2f}" for name in names)
    print(f"epoch {row['epoch']}/{epochs}: {values} (nats per image); {left:.0f} s left", flush=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.train", description="Train one model of the grid."
    )
    parser.add_argument("--spec", required=True, help="JSON: seed, family, beta, d_z, model, train")
    parser.add_argument("--data", required=True, type=Path, help="prepared data set (.h5)")
    parser.add_argument("--out", required=True, type=Path, help="weights to write (.safetensors)")
    parser.add_argument(
        "--history", required=True, type=Path, help="table to write, one row per epoch (.csv)"
    )
    parser.add_argument("--snapshots", type=Path, help="file of the kept weights to write (.safetensors)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=10, help="least time between checkpoints (default 10)"
    )
    args = parser.parse_args(argv)
    spec, device = ModelSpec.from_json(args.spec), setup_device(args.threads)
    train(spec, args.data, args.out, args.history, args.checkpoint_seconds, device, args.snapshots)


if __name__ == "__main__":
    run_stage(main)
