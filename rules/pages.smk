# INPUT   results/tables/*, results/config.json, every evaluation, attack, ball and measure file
# OUTPUT  results/explorer.html, results/report/*.html
rule pages:
    """Make the explorer, and the pages that the report adds to the figures."""
    input:
        outputs_of("report_pages", "explorer"),


rule explorer:
    """Make one page that shows every attack."""
    input:
        outputs_of("attack", "measure"),
        config=ancient(CONFIG),
        robustness=TABLES["robustness"],
        sums=TABLES["sums"],
        headline=STAGES["headline"].outputs["headline"],
    output:
        **STAGES["explorer"].outputs,
    log:
        STAGES["explorer"].log,
    benchmark:
        STAGES["explorer"].benchmark
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=60, megabytes=8000),
    params:
        jobs=jobs.digest(ALL_JOBS),
        spec=figure_spec(),
        code=digests.page_code("stages.explore", study),
    message:
        "make the explorer"
    shell:
        "python -m vaepipe.stages.explore --config {input.config:q} --jobs {params.jobs:q} --robustness {input.robustness:q}"
        " --headline {input.headline:q} --out {output:q} > {log:q} 2>&1"


rule report_pages:
    """Make the report's pages: its first page, claims, each figure with its numbers, configuration, versions, run times."""
    input:
        outputs_of("evaluate", "attack", "ball", "measure"),
        claims=STAGES["claims"].outputs["csv"],
        headline=STAGES["headline"].outputs["headline"],
        models=TABLES["models"],
        robustness=TABLES["robustness"],
        sums=TABLES["sums"],
        figures=FIGURE_FILES,
        config=CONFIG,
    output:
        "results/report/index.html",
        "results/report/answer.html",
        STAGES["report_pages"].outputs["overview"],
        report(
            "results/report/claims.html",
            caption="report/claims.rst",
            category="Claims",
            labels={"page": "claims"},
        ),
        [
            report(
                f"results/report/{name}.html",
                caption=f"report/{name}.rst",
                category="Study",
                labels={"page": title},
            )
            for name, title in (
                ("configuration", "configuration"),
                ("versions", "versions"),
                ("times", "run times"),
            )
        ],
        [
            report(
                f"results/report/figures/{name}.html",
                caption="report/figures.rst",
                **in_report(name),
            )
            for name in FIGURE_NAMES
        ],
    log:
        STAGES["report_pages"].log,
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=30),
    params:
        jobs=jobs.digest(ALL_JOBS),
        figures=FIGURE_NAMES,
        code=digests.page_code("stages.report", study),
    message:
        "make the report's pages"
    shell:
        "python -m vaepipe.stages.report --config {input.config:q} --jobs {params.jobs:q} --claims {input.claims:q}"
        " --headline {input.headline:q} --models {input.models:q} --robustness {input.robustness:q} --figures {params.figures:q} --out results/report > {log:q} 2>&1"
