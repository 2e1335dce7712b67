# INPUT   results/tables/*, and the arrays of a few models
# OUTPUT  results/figures/*.{pdf,png,csv}, results/headline.txt, results/claims.txt, results/tables/claims.{csv,md}
localrules:
    plot,
    plot_swissroll,
    plot_montage,
    headline,
    claims,


rule figures:
    """All figures."""
    input:
        figure_files(),


rule plot:
    """A figure that is drawn from the tables alone."""
    input:
        models="results/tables/models.csv",
        images="results/tables/images.parquet",
        attacks="results/tables/attacks.parquet",
        ball="results/tables/ball.csv",
        sums="results/tables/SHA256SUMS",
    output:
        multiext("results/figures/{figure}", ".pdf", ".csv"),
        report("results/figures/{figure}.png", caption="report/figures.rst", **in_report("{figure}", "picture")),
    log:
        "logs/figures/{figure}.log",
    conda:
        "../envs/vaepipe.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        spec=figure_spec(),
        code=lambda wildcards: figure_code(wildcards.figure),
    message:
        "plot {wildcards.figure}"
    shell:
        "python -m vaepipe.stages.plot {wildcards.figure:q} --spec {params.spec:q} --models {input.models:q}"
        " --images {input.images:q} --attacks {input.attacks:q} --ball {input.ball:q} --out {output:q} > {log:q} 2>&1"


rule plot_swissroll:
    """The swiss roll: q(z) and reconstructions."""
    input:
        arrays=evaluations(figure_cells("swissroll", "swissroll")),
    output:
        multiext("results/figures/swissroll", ".pdf", ".csv"),
        report("results/figures/swissroll.png", caption="report/swissroll.rst", **in_report("swissroll", "picture")),
    log:
        "logs/figures/swissroll.log",
    conda:
        "../envs/vaepipe.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        spec=figure_spec(figure_cells("swissroll", "swissroll")),
        code=figure_code("swissroll"),
    message:
        "plot the swiss roll"
    shell:
        "python -m vaepipe.stages.plot swissroll --spec {params.spec:q} --arrays {input.arrays:q} --out {output:q} > {log:q} 2>&1"


rule plot_montage:
    """Pictures of attacks on one data set."""
    input:
        arrays=lambda wildcards: [cell.attack(loss) for cell, loss in montage_attacks(wildcards.dataset)],
        checks=montage_checks,
    output:
        multiext("results/figures/montage/{dataset}", ".pdf", ".csv"),
        report("results/figures/montage/{dataset}.png", caption="report/montage.rst", **in_report("montage/{dataset}", "picture")),
    log:
        "logs/figures/montage/{dataset}.log",
    conda:
        "../envs/vaepipe.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        spec=montage_spec,
        code=figure_code("montage"),
    message:
        "plot attacks on {wildcards.dataset}"
    shell:
        "python -m vaepipe.stages.plot montage --spec {params.spec:q} --arrays {input.arrays:q} --out {output:q} > {log:q} 2>&1"


rule headline:
    """The study in a few lines of text."""
    input:
        models="results/tables/models.csv",
        attacks="results/tables/attacks.parquet",
        sums="results/tables/SHA256SUMS",
        robustness="results/tables/robustness.csv",
    output:
        "results/headline.txt",
    log:
        "logs/headline.log",
    conda:
        "../envs/vaepipe.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        spec=figure_spec(),
        code=figure_code("headline"),
    message:
        "sum up"
    shell:
        "python -m vaepipe.stages.plot headline --spec {params.spec:q} --models {input.models:q}"
        " --attacks {input.attacks:q} --robustness {input.robustness:q} --out {output:q} > {log:q} 2>&1"


rule claims:
    """What the posts claim, and what this study says."""
    input:
        models="results/tables/models.csv",
        images="results/tables/images.parquet",
        attacks="results/tables/attacks.parquet",
        arrays=evaluations(figure_cells("swissroll", "swissroll")),
    output:
        csv="results/tables/claims.csv",
        md="results/tables/claims.md",
        txt="results/claims.txt",
    log:
        "logs/claims.log",
    priority: 1  # it takes longer than a figure, so that it begins before them
    conda:
        "../envs/vaepipe.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=figure_spec(figure_cells("swissroll", "swissroll")),
        code=code_digest("stages.claims", "claims.latents", "claims.attacks", "claims.part2"),
    message:
        "judge the claims"
    shell:
        "python -m vaepipe.stages.claims --spec {params.spec:q} --models {input.models:q} --images {input.images:q}"
        " --attacks {input.attacks:q} --arrays {input.arrays:q} --out {output:q} > {log:q} 2>&1"
