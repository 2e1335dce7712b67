# The study as the rules see it: validated configuration, wildcards, functions that rules call. No rules here.
import json
import os
import shlex
import sys
from pathlib import Path

from vaepipe.figures import registry as figure_registry
from vaepipe.study.config import ConfigError, Study
from vaepipe.datasets.registry import DATASETS
from vaepipe.compute.device import count_visible_gpus
from vaepipe.study.grid import ATTACK, BALL, BLOCK, CELL, CHECK, MODEL, constraint, token
from vaepipe.storage.provenance import code_digest, file_digest, folder_digest, spec_digest

try:
    study = Study(config)
except ConfigError as error:
    raise SystemExit(f"config: {error}")
# Snakemake keeps its locks and records there, and says a whole traceback where it cannot
STATE = Path(".snakemake") if Path(".snakemake").exists() else Path()
if not os.access(STATE, os.W_OK):
    raise SystemExit(f"error: {STATE.resolve()}: cannot be written by you; choose a folder of your own with --directory")
config.update(study.effective())  # what the captions of the report quote

# the interpreter that runs snakemake runs the jobs, unless a conda environment is asked for, and finds the package
# from any --directory; the prefix serves conda, which drops the variable
PACKAGES = os.pathsep.join(filter(None, [str(workflow.basedir), os.environ.get("PYTHONPATH")]))
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
    PYTHONPATH=PACKAGES,
    VAEPIPE_DEVICE=study.device,
    VAEPIPE_GPU_JOBS_PER_DEVICE=str(study.gpu_jobs_per_device),
    **({"VAEPIPE_DATA_DIR": os.path.abspath(study.data_dir)} if study.data_dir else {}),
)
shell.prefix(f"export PYTHONPATH={shlex.quote(PACKAGES)}; ")

# what a job asks a cluster for, and its share of a GPU of this machine, whose sum profiles/default bounds
GPU = {"cpu": 0, "cuda": 1, "auto": min(1, count_visible_gpus())}[study.device]
GPU_PERCENT = GPU * (100 // study.gpu_jobs_per_device)


wildcard_constraints:
    dataset=constraint(study.names),
    family=constraint(cell.family for cell in study.cells),
    beta=constraint(token(cell.beta) for cell in study.cells),
    d_z=constraint(cell.d_z for cell in study.cells),
    seed=constraint(cell.seed for cell in study.cells),
    loss=constraint(loss for _, loss in study.attacks() + study.balls()),
    block=constraint(block for name in study.names for block in study.blocks(name)),
    figure=constraint(figure_registry.FIGURES),


def as_json(spec):
    return json.dumps(spec, sort_keys=True)


def option(section, key):
    """A function of the wildcards: one key of the data set's section."""
    return lambda wildcards, **_: study.specs[wildcards.dataset][section][key]


def growing(amount):
    """A resource that a job gets more of each time it is tried again."""
    return lambda wildcards, attempt: amount * attempt


def own_files(wildcards):
    """The file that the user gave for a data set, so that a new one there makes it anew."""
    path = study.specs[wildcards.dataset]["prepare"]["path"]
    return [path] if path and Path(path).is_file() else []


def own_folder(wildcards):
    """Digest of names, sizes and dates of the files in the folder that the user gave: there may be hundreds of thousands."""
    path = study.specs[wildcards.dataset]["prepare"]["path"]
    return folder_digest(path) if path and Path(path).is_dir() else ""


def prepare_spec(wildcards):
    return as_json(study.prepare_spec(wildcards.dataset))


def prepare_code(wildcards):
    kind = study.specs[wildcards.dataset]["prepare"]["kind"]
    return code_digest("stages.prepare", f"datasets.{DATASETS[kind].module}")


def train_spec(wildcards):
    return as_json(study.model_spec(study.cell(wildcards)))


def external_files(wildcards):
    """Weights and, where it is a file, code of a model trained elsewhere, so that new ones there are taken in."""
    its = study.external[wildcards.family]
    place = its["entry"].rpartition(":")[0]
    return [its["weights"], *([place] if place.endswith(".py") else [])]


def evaluate_spec(wildcards):
    return as_json(study.specs[wildcards.dataset]["evaluate"])


def attack_spec(wildcards):
    names = dict(wildcards)
    loss, block = names.pop("loss"), names.pop("block", None)
    return as_json(study.attack_spec(study.cell(names), loss, block))


def ball_spec(wildcards):
    names = dict(wildcards)
    loss = names.pop("loss")
    return as_json(study.ball_spec(study.cell(names), loss))


def check_spec(wildcards):
    names = dict(wildcards)
    del names["loss"]
    return as_json(study.check_spec(study.cell(names)))


def source_attack(wildcards):
    """The file whose distortions are tried on a model, if there is one."""
    names = dict(wildcards)
    loss = names.pop("loss")
    source = study.source(study.cell(names), loss)
    return source.attack(loss) if source else []


def check_files():
    return [cell.check(loss) for cell, loss in study.attacks() if study.checked(cell.dataset)]


def evaluations(cells):
    return [cell.model("evaluation.h5") for cell in cells]


def attack_files():
    return [cell.attack(loss) for cell, loss in study.attacks()]


def ball_files():
    return [cell.ball(loss) for cell, loss in study.balls()]


def attack_blocks(wildcards):
    """The files of an attack's blocks of λ; none where one job does all of it."""
    cell = study.cell(wildcards)
    return [cell.block(wildcards.loss, block) for block in study.blocks(wildcards.dataset)]


def figure_cells(figure, dataset):
    """The cells whose arrays a figure shows."""
    its = [cell for cell in study.cells if cell.dataset == dataset]
    return figure_registry.cells_for(figure, dataset, its, study.plot)


def montage_attacks(dataset):
    """(cell, loss) of the attacks behind a data set's montage: by each model's first loss."""
    return [(cell, loss) for cell in figure_cells("montage", dataset) for loss in study.losses(cell)[:1]]


def montage_checks(wildcards):
    """The files that say whether these attacks are too weak: not a table, which would wait for all models."""
    its = montage_attacks(wildcards.dataset)
    checks = [cell.check(loss) for cell, loss in its if study.checked(wildcards.dataset)]
    return checks + [cell.ball(loss) for cell, loss in its if (cell, loss) in study.balls()]


def montage_spec(wildcards):
    its, spec = montage_attacks(wildcards.dataset), study.collect_spec()[wildcards.dataset]
    return figure_spec([cell for cell, _ in its], checked={key: spec[key] for key in ("checked", "ball")})


def figure_spec(cells=(), **more):
    return as_json({"plot": study.plot, "cells": [vars(cell) for cell in cells], **more})


def figure_code(figure):
    return code_digest("stages.plot", f"figures.{figure_registry.FIGURES[figure].module}")


def attacked():
    """Data sets with attacks."""
    return list(dict.fromkeys(cell.dataset for cell, _ in study.attacks()))


def drawn(tables):
    """Whether the study has data for a figure that reads these tables."""
    return tables and ("attacks" not in tables or attacked()) and ("ball" not in tables or study.balls())


def figure_names():
    """All figures that the study has data for."""
    pictures = {k: e for k, e in figure_registry.FIGURES.items() if ".png" in e.suffixes}
    names = [name for name, entry in pictures.items() if drawn(entry.tables)]
    names += ["swissroll"] if figure_cells("swissroll", "swissroll") else []
    return names + [f"montage/{dataset}" for dataset in attacked()]


def figure_files():
    return [f"results/figures/{name}.{end}" for name in figure_names() for end in ("pdf", "png", "csv")]


def in_report(figure, show):
    """Where the report has a figure, and what its switch shows there: its picture or its table of numbers."""
    name, _, dataset = figure.partition("/")
    dataset = dataset or ("swissroll" if name == "swissroll" else "")
    category = f"3 {dataset}" if dataset else "2 All data sets"
    return {"category": category, "labels": {"figure": name, "show": show}}


def page_files():
    """All pages that the study has data for."""
    names = ["report/claims", "report/configuration", "report/versions", "report/times", *(["explorer"] if attacked() else [])]
    return [f"results/{name}.html" for name in names]


def page_code(stage):
    """Digest of the code of a stage that makes pages, and of the templates."""
    templates = (Path(workflow.basedir) / "vaepipe" / "pages").glob("*.[!p]*")
    return spec_digest([code_digest(stage), *(file_digest(path) for path in sorted(templates))])


SUMMARY = [Path("results/headline.txt"), Path("results/claims.txt")]
SUMMARY_BEFORE = [path.stat().st_mtime if path.exists() else None for path in SUMMARY]


def print_summary():
    """At the end of a run that made it."""
    if [path.stat().st_mtime if path.exists() else None for path in SUMMARY] != SUMMARY_BEFORE:
        for path in SUMMARY:
            if path.exists():
                print(path.read_text(encoding="utf-8"))
        print(f"Figures: {SUMMARY[0].parent.resolve() / 'figures'}")
