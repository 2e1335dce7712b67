"""What each stage of the workflow writes: the patterns of its files, its log and its benchmark.

The rules take their patterns from `STAGES`; `vaepipe.study.jobs` fills them in.
"""

from __future__ import annotations

from dataclasses import dataclass

from vaepipe.study.cells import CELL

FIGURE_SUFFIXES = ("pdf", "csv", "png", "md", "txt")
"""The picture twice, the numbers it shows, and its caption in Markdown and in plain letters."""
HANDED_OVER = 100
"""A benchmark file with less memory than this, in MB, is that of a job that `vaepipe.compute.job_server` did.
It has the job's time, but not its memory and processor time: Snakemake watched the process that waits."""


@dataclass(frozen=True)
class Stage:
    """One rule of the workflow. All paths are patterns with wildcards, relative to the study's folder."""

    outputs: dict[str, str]
    """Name → path of each file that a job writes."""
    log: str
    benchmark: str = ""
    """Where Snakemake notes time and memory; empty for stages that cost little."""
    on_gpu: bool = False
    """Whether a job uses a GPU if there is one."""
    kind: str = ""
    """Kind of the HDF5 file that is the stage's first output; empty for other files."""


def _of_model(name: str, outputs: dict[str, str], on_gpu: bool = True, kind: str = "") -> Stage:
    """Return a stage that writes files beside a model's weights."""
    outputs = {key: f"results/models/{CELL}/{file}" for key, file in outputs.items()}
    return Stage(
        outputs, f"logs/models/{CELL}/{name}.log", f"benchmarks/models/{CELL}/{name}.jsonl", on_gpu, kind
    )


def _of_loss(folder: str, kind: str, name: str = "{loss}") -> Stage:
    """Return a stage that writes one HDF5 file for each model and loss."""
    path = f"{folder}/{CELL}/{name}"
    return Stage({kind: f"results/{path}.h5"}, f"logs/{path}.log", f"benchmarks/{path}.jsonl", True, kind)


def _of_figure(name: str) -> Stage:
    """Return a stage that draws a figure and writes its numbers."""
    return Stage(
        {end: f"results/figures/{name}.{end}" for end in FIGURE_SUFFIXES}, f"logs/figures/{name}.log"
    )


def _tables() -> dict[str, str]:
    names = dict.fromkeys(("images", "dimensions", "attacks"), "parquet")
    names |= dict.fromkeys(("models", "robustness", "ball", "pairs"), "csv")
    names |= dict.fromkeys(("labels", "purifiers", "columns"), "csv")
    return {name: f"results/tables/{name}.{end}" for name, end in names.items()} | {
        "sums": "results/tables/SHA256SUMS"
    }


REPORT_PAGES = ("index", "answer", "claims", "configuration", "versions", "times")

STAGES: dict[str, Stage] = {
    "config": Stage({"config": "results/config.json"}, "logs/config.log"),
    "prepare": Stage(
        {"data": "results/data/{dataset}.h5"},
        "logs/data/{dataset}.log",
        "benchmarks/data/{dataset}.jsonl",
        kind="data",
    ),
    "train": _of_model(
        "train",
        {"model": "model.safetensors", "history": "history.csv", "snapshots": "snapshots.safetensors"},
    ),
    "snapshot": _of_model("snapshot", {"model": "model.safetensors"}, on_gpu=False),
    "adopt": _of_model("adopt", {"model": "model.safetensors"}, on_gpu=False),
    "evaluate": _of_model("evaluate", {"evaluation": "evaluation.h5"}, kind="evaluation"),
    "attack_block": _of_loss("attacks", "attack-block", "{loss}/{block}"),
    "attack": _of_loss("attacks", "attack"),
    "ball": _of_loss("balls", "ball"),
    "measure": _of_loss("measures", "measure"),
    "collect": Stage(_tables(), "logs/tables/collect.log", "benchmarks/tables/collect.jsonl"),
    "plot": _of_figure("{figure}"),
    "plot_swissroll": _of_figure("swissroll"),
    "plot_models": _of_figure("{pictures}/{dataset}"),
    "plot_montage": _of_figure("montage/{dataset}"),
    "headline": Stage({"headline": "results/headline.txt"}, "logs/headline.log"),
    "claims": Stage(
        {"csv": "results/tables/claims.csv", "md": "results/tables/claims.md", "txt": "results/claims.txt"},
        "logs/claims.log",
    ),
    "explorer": Stage(
        {"explorer": "results/explorer.html"}, "logs/pages/explorer.log", "benchmarks/pages/explorer.jsonl"
    ),
    "report_pages": Stage(
        {name: f"results/report/{name}.html" for name in REPORT_PAGES}
        | {"overview": "results/report/models.csv"},
        "logs/pages/report.log",
    ),
}
"""All stages, in the order in which the workflow runs them."""

BEFORE_TABLES = (
    "prepare",
    "train",
    "snapshot",
    "adopt",
    "evaluate",
    "attack_block",
    "attack",
    "ball",
    "measure",
)
"""Stages whose files tables and pages are made from."""
