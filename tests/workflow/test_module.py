"""vaepipe as a module of someone else's Snakefile."""

import pytest
from conftest import ROOT, snakemake

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/ecosystem.md").read_text(encoding="utf-8")


def test_a_snakefile_that_uses_vaepipe_as_a_module_gets_its_files(tmp_path):
    snakefile = PAGE.split("```python\n")[1].split("```")[0].replace("/path/to/vaepipe", str(ROOT))
    overlay = PAGE.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "Snakefile").write_text(snakefile, encoding="utf-8")
    (tmp_path / "study.yaml").write_text(overlay, encoding="utf-8")
    planned = snakemake(tmp_path, "--cores", 1, "-n", "--quiet", "rules")
    assert planned.returncode == 0, planned.stderr
    for rule in ("vaepipe_prepare", "vaepipe_train", "vaepipe_attack", "vaepipe_collect", "mean_auddc"):
        assert rule in planned.stdout + planned.stderr
    done = snakemake(tmp_path, "--cores", 1, "results/data/digits.h5")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/data/digits.h5").stat().st_size > 10_000
