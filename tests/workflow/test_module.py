"""vaepipe as a module of someone else's Snakefile."""

import os

import pytest
from conftest import ROOT, SERVED, snakemake
from printed import files

pytestmark = pytest.mark.slow

PRINTED = files("docs/ecosystem.md")


def test_a_snakefile_that_uses_vaepipe_as_a_module_gets_its_files(tmp_path):
    assert set(PRINTED) == {"Snakefile", "study.yaml"}
    for name, text in PRINTED.items():
        (tmp_path / name).write_text(text.replace("/path/to/vaepipe", str(ROOT)), encoding="utf-8")
    planned = snakemake(tmp_path, "--cores", 1, "-n", "--quiet", "rules")
    assert planned.returncode == 0, planned.stderr
    for rule in ("vaepipe_prepare", "vaepipe_train", "vaepipe_attack", "vaepipe_collect", "mean_auddc"):
        assert rule in planned.stdout + planned.stderr
    done = snakemake(tmp_path, "--cores", 1, "results/data/digits.h5", env=os.environ | SERVED)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/data/digits.h5").stat().st_size > 10_000
