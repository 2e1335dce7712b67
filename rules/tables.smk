# INPUT   every evaluation, attack, ball and measure file, results/config.json
# OUTPUT  results/tables/{models.csv,images.parquet,dimensions.parquet,attacks.parquet,robustness.csv,ball.csv,pairs.csv,
#           labels.csv,purifiers.csv,columns.csv,SHA256SUMS}
#         results/config.json
localrules:
    config,


rule tables:
    """Make the tables of the whole study."""
    input:
        TABLES.values(),


rule collect:
    """Collect the numbers of all jobs as tables, one row per model, per image and per attack."""
    input:
        outputs_of("evaluate", "attack", "ball", "measure"),
        config=ancient(CONFIG),
    output:
        **TABLES,
    log:
        STAGES["collect"].log,
    benchmark:
        STAGES["collect"].benchmark
    conda:
        "../envs/vaepipe.yaml"
    threads: 4
    resources:
        **on_cpu(minutes=60),
    params:
        jobs=jobs.digest(ALL_JOBS),
        code=digests.collect_code(),
    message:
        "collect the tables"
    shell:
        "python -m vaepipe.stages.collect --config {input.config:q} --jobs {params.jobs:q} --models {output.models:q}"
        " --images {output.images:q} --dimensions {output.dimensions:q} --attacks {output.attacks:q} --ball {output.ball:q}"
        " --robustness {output.robustness:q} --pairs {output.pairs:q} --labels {output.labels:q}"
        " --purifiers {output.purifiers:q} --columns {output.columns:q} --sums {output.sums:q} --threads {threads} > {log:q} 2>&1"


rule config:
    """Write the configuration with every default written out."""
    output:
        **STAGES["config"].outputs,
    log:
        STAGES["config"].log,
    conda:
        "../envs/vaepipe.yaml"
    params:
        config=json.dumps(study.effective(), indent=2),
    message:
        "write the effective configuration"
    # the report's plot of run times has a logarithmic axis and shows nothing if a job took 0 s
    shell:
        "sleep 0.1; printf '%s\\n' {params.config:q} > {output:q} 2> {log:q}"
