"""Where a training keeps its state between epochs, and when the file goes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from vaepipe.storage.digests import spec_digest


def checkpoint_path(out: Path, spec: object, data: str, code: str) -> Path:
    """The hidden file beside the weights ``out`` with the state of a training from this spec, data and code.

    The workflow does not know the file: it deletes the outputs that it knows before it starts a job.

    Args:
        spec: what JSON can hold.
        data: digest of the images.
        code: digest of the code.
    """
    return out.with_name(f".{out.stem}.resume-{spec_digest([spec, data, code])}.safetensors")


def delete_finished_checkpoint(weights: Path, meta: Mapping[str, str]) -> None:
    """Delete the checkpoint of the training that wrote ``weights`` with the metadata ``meta``.

    Weights that were trained elsewhere have none. In a folder that cannot be written the checkpoint stays.
    """
    with contextlib.suppress(OSError, KeyError):
        checkpoint_path(weights, json.loads(meta["spec"]), meta["data"], meta["code"]).unlink()
