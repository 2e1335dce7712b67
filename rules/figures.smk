# INPUT   results/tables/*, and the arrays of a few models
# OUTPUT  results/figures/*.{pdf,png,csv,md,txt}, results/headline.txt, results/claims.txt, results/tables/claims.{csv,md}
localrules:
    plot,
    plot_swissroll,
    plot_models,
    plot_montage,
    headline,
    claims,


rule figures:
    """Draw all figures."""
    input:
        FIGURE_FILES,


rule plot:
    """Draw a figure that needs the tables only."""
    input:
        models=TABLES["models"],
        images=TABLES["images"],
        dimensions=TABLES["dimensions"],
        attacks=TABLES["attacks"],
        ball=TABLES["ball"],
        robustness=TABLES["robustness"],
        sums=TABLES["sums"],
        config=ancient(CONFIG),
    output:
        **figure_outputs("plot", "{figure}"),
    log:
        STAGES["plot"].log,
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=30),
    params:
        spec=figure_spec(),
        code=lambda wildcards: digests.figure_code(wildcards.figure, study),
    message:
        "plot {wildcards.figure}"
    shell:
        "python -m vaepipe.stages.plot {wildcards.figure:q} --spec {params.spec:q} --models {input.models:q}"
        " --images {input.images:q} --dimensions {input.dimensions:q} --attacks {input.attacks:q} --ball {input.ball:q}"
        " --robustness {input.robustness:q} --config {input.config:q} --out {output:q} > {log:q} 2>&1"


rule plot_swissroll:
    """Draw the swiss roll: aggregate posteriors and reconstructions."""
    input:
        arrays=SWISSROLL_EVALUATIONS,
        config=ancient(CONFIG),
    output:
        **figure_outputs("plot_swissroll", "swissroll"),
    log:
        STAGES["plot_swissroll"].log,
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=30),
    params:
        spec=figure_spec(SWISSROLL, {cell.dataset for cell in SWISSROLL}),
        code=digests.figure_code("swissroll", study, drawings.swissroll_dataset(study)),
    message:
        "plot the swiss roll"
    shell:
        "python -m vaepipe.stages.plot swissroll --spec {params.spec:q} --arrays {input.arrays:q}"
        " --config {input.config:q} --out {output:q} > {log:q} 2>&1"


rule plot_models:
    """Draw trainings, reconstructions, samples or traversals of the models of one data set."""
    input:
        arrays=model_files,
        config=ancient(CONFIG),
    output:
        **figure_outputs("plot_models", "{pictures}/{dataset}"),
    log:
        STAGES["plot_models"].log,
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=30),
    params:
        spec=pictures_spec,
        code=lambda wildcards: digests.figure_code(wildcards.pictures, study, wildcards.dataset),
    message:
        "plot {wildcards.pictures} of {wildcards.dataset}"
    shell:
        "python -m vaepipe.stages.plot {wildcards.pictures:q} --spec {params.spec:q} --arrays {input.arrays:q}"
        " --config {input.config:q} --out {output:q} > {log:q} 2>&1"


rule plot_montage:
    """Draw attacks on one data set in pictures."""
    input:
        arrays=montage_files("attack"),
        measures=montage_files("measure"),
        balls=montage_files("ball"),
        config=ancient(CONFIG),
    output:
        **figure_outputs("plot_montage", "montage/{dataset}"),
    log:
        STAGES["plot_montage"].log,
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=30),
    params:
        spec=montage_spec,
        code=lambda wildcards: digests.figure_code("montage", study, wildcards.dataset),
    message:
        "plot attacks on {wildcards.dataset}"
    shell:
        "python -m vaepipe.stages.plot montage --spec {params.spec:q} --arrays {input.arrays:q} --measures {input.measures:q}"
        " --balls {input.balls:q} --config {input.config:q} --out {output:q} > {log:q} 2>&1"


rule headline:
    """Sum up the study in a few lines of text."""
    input:
        models=TABLES["models"],
        attacks=TABLES["attacks"],
        sums=TABLES["sums"],
        robustness=TABLES["robustness"],
    output:
        **STAGES["headline"].outputs,
    log:
        STAGES["headline"].log,
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=30),
    params:
        spec=figure_spec(),
        code=digests.figure_code("headline", study),
    message:
        "sum up"
    shell:
        "python -m vaepipe.stages.plot headline --spec {params.spec:q} --models {input.models:q}"
        " --attacks {input.attacks:q} --robustness {input.robustness:q} --out {output:q} > {log:q} 2>&1"


rule claims:
    """Judge the claims of the posts by this study's numbers."""
    input:
        models=TABLES["models"],
        images=TABLES["images"],
        attacks=TABLES["attacks"],
        arrays=SWISSROLL_EVALUATIONS,
    output:
        **STAGES["claims"].outputs,
    log:
        STAGES["claims"].log,
    priority: 1  # it takes longer than a figure, so that it begins before them
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=30),
    params:
        spec=figure_spec(SWISSROLL),
        code=digests.claims_code(study),
    message:
        "judge the claims"
    shell:
        "python -m vaepipe.stages.claims --spec {params.spec:q} --models {input.models:q} --images {input.images:q}"
        " --attacks {input.attacks:q} --arrays {input.arrays:q} --out {output:q} > {log:q} 2>&1"
