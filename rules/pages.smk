# INPUT   results/tables/*, results/config.json, every attack file
# OUTPUT  results/explorer.html, results/report/*.html
rule pages:
    """The explorer, and the pages that the report adds to the figures."""
    input:
        page_files(),


rule explorer:
    """One page in which every attack can be looked at."""
    input:
        attacks=attack_files(),
        robustness="results/tables/robustness.csv",
        sums="results/tables/SHA256SUMS",
    output:
        "results/explorer.html",
    log:
        "logs/pages/explorer.log",
    benchmark:
        "benchmarks/pages/explorer.jsonl"
    conda:
        "../envs/vaepipe.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        spec=as_json({"study": study.collect_spec(), "plot": study.plot}),
        code=page_code("stages.explore"),
    message:
        "make the explorer"
    shell:
        "python -m vaepipe.stages.explore --spec {params.spec:q} --robustness {input.robustness:q} --out {output:q} > {log:q} 2>&1"


rule report_pages:
    """Claims, the numbers of the figures, configuration, versions and run times as pages of the report."""
    input:
        claims="results/tables/claims.csv",
        numbers=[f"results/figures/{name}.csv" for name in figure_names()],
        config="results/config.json",
        evaluations=evaluations(study.cells),
        attacks=attack_files(),
        balls=ball_files(),
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
            report(f"results/report/figures/{name}.html", caption="report/numbers.rst", **in_report(name, "table"))
            for name in figure_names()
        ],
    log:
        "logs/pages/report.log",
    conda:
        "../envs/vaepipe.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=as_json(study.collect_spec()),
        figures=figure_names(),
        code=page_code("stages.report"),
    message:
        "make the report's pages"
    shell:
        "python -m vaepipe.stages.report --spec {params.spec:q} --config {input.config:q} --claims {input.claims:q}"
        " --figures {params.figures:q} --out results/report > {log:q} 2>&1"
