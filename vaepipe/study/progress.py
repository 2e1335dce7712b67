"""Words about how far a study is: phases of the work, times, the ends of logs, and what to do at the end."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

PHASES = {
    "data": ("config", "prepare"),
    "models": ("train", "snapshot", "adopt"),
    "evaluation": ("evaluate",),
    "attacks": ("attack_block", "attack", "ball"),
    "measures": ("measure",),
    "tables": ("collect",),
    "figures": ("plot", "plot_swissroll", "plot_models", "plot_montage", "headline", "claims"),
    "pages": ("explorer", "report_pages"),
}
"""What people call the stages that belong together, in their order."""
PHASE_OF = {stage: name for name, stages in PHASES.items() for stage in stages}


def phase(stage: str) -> str:
    """Return the phase of a stage; a stage that is none of this workflow is a phase by itself."""
    return PHASE_OF.get(stage, stage)


def n_jobs(count: int) -> str:
    """Return a number of jobs in words."""
    return f"{count} job{'s' if count != 1 else ''}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units, such as ``2 h 5 min``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def tail(path: Path, count: int) -> list[str]:
    """Return the last lines of a log; one line about it where there are none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return [f"({error.strerror})"]
    omitted = [f"({len(lines) - count} lines before)"] if len(lines) > count else []
    return omitted + lines[-count:] or ["(empty)"]


def ending(results: Path, absent: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the lines that end a run: what was found, where it is, how to open it, what to do next.

    Args:
        results: the folder of results of a finished study.
        absent: figure → what the study lacks to fill it.
    """
    first, _ = first_sentence(first_paragraph(results / "headline.txt"))
    found = textwrap.shorten(first, 200, placeholder=" …")
    examples = {figure: re.findall("`(.*?)`", need) or [need] for figure, need in absent.items()}
    lacking = ", ".join(f"{figure} (needs {' and '.join(keys)})" for figure, keys in examples.items())
    return [
        f"Found:  {found}. Numbers: headline.txt",
        f"Report: {results / 'report/index.html'}; beside it explorer.html, figures, tables",
        *([f"Absent: {lacking}"] if lacking else []),
        "Open:   double-click, or xdg-open FILE; on another machine copy the folder results first",
        "Next:   your grid: make run CONFIG=my.yaml; your data and models: docs/your-data.md, your-model.md",
    ]


def first_paragraph(path: Path) -> str:
    """Return the text up to the first empty line, on one line; empty without the file."""
    if not path.exists():
        return ""
    return " ".join(path.read_text(encoding="utf-8").strip().split("\n\n")[0].split())


def first_sentence(paragraph: str) -> tuple[str, str]:
    """Return the first sentence, without its full stop, and the others."""
    first, _, others = paragraph.partition(". ")
    return first.rstrip("."), others
