"""The versions and the git revision that made a file."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from functools import cache
from pathlib import Path

from vaepipe.storage.code_digest import code_digest  # noqa: F401  old place, goes
from vaepipe.storage.digests import file_digest, folder_digest, spec_digest  # noqa: F401  old place, goes

REPOSITORY = Path(__file__).parent.parent.parent
LIBRARIES = ("numpy", "torch", "h5py", "scikit-learn", "snakemake")


def checkpoint(out: Path, spec: dict, data: str, code: str) -> Path:
    """Where a training keeps its state: old place, goes; see `vaepipe.models.checkpoints`."""
    return out.with_name(f".{out.stem}.resume-{spec_digest([spec, data, code])}.safetensors")


def record() -> dict[str, str]:
    """Return "versions", the installed `LIBRARIES` as JSON, and "git", the revision of the repository or
    "unknown"."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": json.dumps(versions), "git": _git_revision()}


@cache
def _git_revision() -> str:
    try:
        command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
