# The study as the rules see it: validated configuration, wildcards, functions that rules call. No rules here.
import json
import os
import sys
from pathlib import Path

from vaepipe import figures as figure_registry
from vaepipe.config import ConfigError, Study
from vaepipe.datasets import DATASETS
from vaepipe.device import visible_gpus
from vaepipe.grid import ATTACK, CELL, MODEL, constraint, token
from vaepipe.provenance import code_digest

try:
    study = Study(config)
except ConfigError as error:
    raise SystemExit(f"config: {error}")

# the interpreter that runs snakemake runs the jobs, unless a conda environment is asked for, and finds the package
# from any --directory
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
    PYTHONPATH=os.pathsep.join(filter(None, [workflow.basedir, os.environ.get("PYTHONPATH")])),
    VAEPIPE_DEVICE=study.device,
)

GPU = {"cpu": 0, "cuda": 1, "auto": min(1, visible_gpus())}[study.device]


wildcard_constraints:
    dataset=constraint(study.names),
    family=constraint(cell.family for cell in study.cells),
    beta=constraint(token(cell.beta) for cell in study.cells),
    d_z=constraint(cell.d_z for cell in study.cells),
    seed=constraint(cell.seed for cell in study.cells),
    loss=constraint(loss for _, loss, _ in study.attacks()),
    block=constraint(block for _, _, block in study.attacks()),
    figure=constraint(figure_registry.FIGURES),


def as_json(spec):
    return json.dumps(spec, sort_keys=True)


def option(section, key):
    """A function of the wildcards: one key of the data set's section."""
    return lambda wildcards, **_: study.specs[wildcards.dataset][section][key]


def prepare_spec(wildcards):
    name = wildcards.dataset
    return as_json({"dataset": name, "path": study.specs[name]["path"]})


def prepare_code(wildcards):
    return code_digest("prepare", f"datasets.{DATASETS[wildcards.dataset].module}")


def train_spec(wildcards):
    return as_json(study.model_spec(study.cell(wildcards)))


def evaluate_spec(wildcards):
    return as_json(study.specs[wildcards.dataset]["evaluate"])


def attack_spec(wildcards):
    cell = study.cell(wildcards)
    return as_json(study.attack_spec(cell, wildcards.loss, wildcards.block))


def evaluations(cells):
    return [cell.model("evaluation.h5") for cell in cells]


def attack_files(wildcards=None, cells=None):
    """Attacks on the given cells, of all losses and blocks; on all cells by default."""
    wanted = study.attacks()
    return [c.attack(l, b) for c, l, b in wanted if cells is None or c in cells]


def figure_cells(figure, dataset):
    """The cells whose arrays a figure shows."""
    of_set = [cell for cell in study.cells if cell.dataset == dataset]
    options = study.specs[dataset]["plot"]
    return figure_registry.cells_for(figure, dataset, of_set, options)


def first_attacks(dataset):
    """The attack files behind a data set's montage: the first loss, every block of λ."""
    loss = study.specs[dataset]["attack"]["losses"][0]
    cells = figure_cells("montage", dataset)
    return [cell.attack(loss, block) for cell in cells for block in study.blocks(dataset)]


def figure_spec(figure, dataset=None, per_cell=1):
    cells = figure_cells(figure, dataset) if dataset else []
    options = study.specs[dataset]["plot"] if dataset else study.plot
    shown = [vars(cell) for cell in cells for _ in range(per_cell)]
    return as_json({"plot": options, "cells": shown})


def figure_code(figure):
    return code_digest("plot", f"figures.{figure_registry.FIGURES[figure].module}")


def attacked():
    """Data sets with attacks."""
    return list(dict.fromkeys(cell.dataset for cell, _, _ in study.attacks()))


def figure_files(wildcards=None):
    """All pictures that the study has data for."""
    names = ["likelihood", "elbo", "sigma_density"]
    names += ["adversarial_loss"] if attacked() else []
    names += ["swissroll"] if "swissroll" in study.names else []
    names += [f"montage/{dataset}" for dataset in attacked()]
    return [f"results/figures/{name}.{end}" for name in names for end in ("pdf", "png")]


def print_headline():
    path = Path("results/headline.txt")
    if path.exists():
        print(path.read_text(encoding="utf-8"))
    print(f"Figures: {path.parent.resolve() / 'figures'}")
