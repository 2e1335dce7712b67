# INPUT   every evaluation, attack, check and ball file
# OUTPUT  results/tables/{models.csv,images.parquet,attacks.parquet,robustness.csv,ball.csv,pairs.csv,columns.csv}, results/config.json
localrules:
    config,


rule tables:
    """Tidy tables of the whole study."""
    input:
        "results/tables/models.csv",
        "results/tables/images.parquet",
        "results/tables/attacks.parquet",
        "results/tables/robustness.csv",
        "results/tables/ball.csv",
        "results/tables/pairs.csv",
        "results/tables/columns.csv",
        "results/tables/SHA256SUMS",


rule collect:
    """All numbers of all jobs, one row per model, per image and per attack."""
    input:
        evaluations=evaluations(study.cells),
        attacks=attack_files(),
        checks=check_files(),
        balls=ball_files(),
    output:
        models="results/tables/models.csv",
        images="results/tables/images.parquet",
        attacks="results/tables/attacks.parquet",
        robustness="results/tables/robustness.csv",
        ball="results/tables/ball.csv",
        pairs="results/tables/pairs.csv",
        columns="results/tables/columns.csv",
        sums="results/tables/SHA256SUMS",
    log:
        "logs/tables/collect.log",
    benchmark:
        "benchmarks/tables/collect.jsonl"
    conda:
        "../envs/vaepipe.yaml"
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        spec=as_json(study.collect_spec()),
        code=code_digest("stages.collect"),
    message:
        "collect the tables"
    shell:
        "python -m vaepipe.stages.collect --spec {params.spec:q} --models {output.models:q} --images {output.images:q}"
        " --attacks {output.attacks:q} --robustness {output.robustness:q} --ball {output.ball:q} --pairs {output.pairs:q} --columns {output.columns:q}"
        " --sums {output.sums:q} --threads {threads} > {log:q} 2>&1"


rule config:
    """The configuration with every default written out."""
    output:
        "results/config.json",
    log:
        "logs/config.log",
    conda:
        "../envs/vaepipe.yaml"
    params:
        config=json.dumps(study.effective(), indent=2),
    message:
        "write the effective configuration"
    shell:
        "printf '%s\\n' {params.config:q} > {output:q} 2> {log:q}"
