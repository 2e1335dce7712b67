"""What a workflow left behind, for the report of a test that failed."""

from pathlib import Path

LINES, FILES = 40, 6
PLACES = (".snakemake/log", ".snakemake/slurm_logs", "logs", "said")


def tails(folder: Path) -> str:
    """The ends of the newest logs of a folder in which Snakemake, its jobs or Slurm ran."""
    found = [*folder.glob("*.log")] + [path for place in PLACES for path in logs(folder / place)]
    newest = sorted(found, key=lambda path: path.stat().st_mtime)[-FILES:]
    return "\n".join(f"--- {path}\n{tail(path)}" for path in newest) or f"no logs in {folder}"


def logs(place: Path) -> list[Path]:
    return [path for path in (place, *place.rglob("*")) if path.is_file()]


def tail(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:])
