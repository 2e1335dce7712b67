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
        " --out {output:q} > {log:q} 2>&1"


rule report_pages:
    """Make the report's pages: claims, the numbers of the figures, configuration, versions and run times."""
    input:
        outputs_of("evaluate", "attack", "ball", "measure"),
        claims=STAGES["claims"].outputs["csv"],
        numbers=[f"results/figures/{name}.csv" for name in FIGURE_NAMES],
        config=CONFIG,
    output:
        report(
            "results/report/claims.html",
            caption="report/claims.rst",
            category="1 Claims",
            labels={"page": "claims"},
        ),
        "results/report/verdicts.html",
        report(
            "results/report/configuration.html",
            caption="report/configuration.rst",
            category="9 Study",
            labels={"page": "configuration"},
        ),
        report(
            "results/report/versions.html",
            caption="report/versions.rst",
            category="9 Study",
            labels={"page": "versions"},
        ),
        report(
            "results/report/times.html",
            caption="report/times.rst",
            category="9 Study",
            labels={"page": "run times"},
        ),
        [
            report(
                f"results/report/figures/{name}.html",
                caption="report/numbers.rst",
                **in_report(name, "table"),
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
        " --figures {params.figures:q} --out results/report > {log:q} 2>&1"
