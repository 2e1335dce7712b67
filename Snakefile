"""vaepipe: train VAEs over β × d_z, attack them, and measure how robust they are.

`config.yaml` spells the study. The path of every file names the cell of the grid that it belongs to.
"""

from pathlib import Path

from snakemake.utils import min_version

min_version("9.14.8")


configfile: Path(workflow.basedir) / "config.yaml"


report: "rules/report/study.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/models.smk"
include: "rules/attacks.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/pages.smk"


localrules:
    all,
    data,
    models,
    attacks,
    measures,
    tables,
    figures,
    pages,


rule all:
    """Make everything: tables, figures, pages and the summary."""
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.pages.input,
        outputs_of("config", "headline"),
        STAGES["claims"].outputs["txt"],


onstart:
    find_gpu()
    serve_jobs()
    start_jobs_at_any_rate()


onsuccess:
    say_ending()
