PYTHON ?= python3
BIN := .venv/bin
STUDY := $(if $(CONFIG),--configfile $(CONFIG))
# a mistake in one line, before Snakemake reads the files; Snakemake repeats the keys that have no effect
CHECK = $(BIN)/vaepipe check $(STUDY) > /dev/null

.DEFAULT_GOAL := install
.PHONY: install help run report plan status slurm test lint types lock docs reference

install: .venv/installed help  ## vaepipe and all it needs, in .venv; TORCH=cpu: PyTorch without CUDA

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo "run, report, plan, status and slurm take CONFIG=configs/paper.yaml, or several files, for another study"

run: .venv/installed  ## the default study: data, models, attacks, tables, figures, explorer
	@$(CHECK)
	$(BIN)/snakemake --cores all --logger vaepipe $(STUDY)

report: run  ## results/report.html: every figure with its caption, in one file
	$(BIN)/snakemake --report results/report.html --report-stylesheet vaepipe/pages/report.css $(STUDY)

plan: .venv/installed  ## what the study costs; nothing is started
	$(BIN)/vaepipe plan $(STUDY)

status: .venv/installed  ## how far the study is: done, running and failed jobs, time left
	$(BIN)/vaepipe status $(STUDY)

slurm: .venv/installed  ## the study on a Slurm cluster, from its login node
	@$(CHECK)
	$(BIN)/snakemake --profile profiles/slurm --logger vaepipe $(STUDY)

test: .venv/installed  ## the tests; TESTS='-m "not slow"' runs those that are quick, TESTS=tests/attacks a room
	$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

lint: .venv/installed types  ## style, types and the arrows between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports --no-cache

types: .venv/installed
	$(BIN)/mypy

lock:  ## requirements.txt anew, after pyproject.toml changed
	scripts/lock

docs: .venv/installed  ## the documentation as a site, in site/, with the figures of results/ as its gallery
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

reference: .venv/installed  ## docs/configuration.md and the configuration's schema, from the settings
	$(BIN)/vaepipe reference

.venv/installed: requirements.txt pyproject.toml
	@PYTHON=$(PYTHON) TORCH=$(TORCH) scripts/install
	@touch $@
