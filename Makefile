# make run    the default study: data, models, attacks, tables, figures, explorer
# make report results/report.html: every figure with its caption, in one file
# make plan   what the study costs; nothing is started
# make slurm  the same on a Slurm cluster, from its login node
#             these four take CONFIG=configs/seed.yaml, or several files, for another study than the default one
# make lock   pins and hashes in requirements.txt anew, after pyproject.toml changed
# make test   the tests
PYTHON ?= python3
BIN := .venv/bin
STUDY := $(if $(CONFIG),--configfile $(CONFIG))

.PHONY: run report plan slurm test lint lock docs

run: .venv/installed
	$(BIN)/snakemake --cores all $(STUDY)

report: run
	$(BIN)/snakemake --report results/report.html $(STUDY)

plan: .venv/installed
	$(BIN)/python -m vaepipe.tools.plan $(STUDY)

slurm: .venv/installed
	$(BIN)/snakemake --profile profiles/slurm $(STUDY)

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

lock:
	scripts/lock

docs: .venv/installed
	$(BIN)/python -m vaepipe.study.config > docs/configuration.md

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vaepipe needs Python 3.11 or newer; say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.txt
	touch $@
