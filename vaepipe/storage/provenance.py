"""The versions and the git revision that made a file."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
LIBRARIES = ("numpy", "torch", "h5py", "scikit-learn", "snakemake")


def record() -> dict[str, str]:
    """Return "versions", those of `LIBRARIES` as JSON, and "git", the revision of the repository or
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
