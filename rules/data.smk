# INPUT   official files (downloaded or given by path) or a generator
# OUTPUT  results/data/<dataset>.h5
localrules:
    prepare,


rule data:
    """Prepare all data sets of the study."""
    input:
        expand("results/data/{dataset}.h5", dataset=study.names),


rule prepare:
    """One data set as one HDF5 file."""
    input:
        own_files,
    output:
        "results/data/{dataset}.h5",
    log:
        "logs/data/{dataset}.log",
    benchmark:
        "benchmarks/data/{dataset}.jsonl"
    conda:
        "../envs/vaepipe.yaml"
    threads: 16  # or as many as there are; workflow.cores is not known when a report is made
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        spec=prepare_spec,
        code=prepare_code,
        folder=own_folder,
    message:
        "prepare {wildcards.dataset}"
    shell:
        "python -m vaepipe.stages.prepare --spec {params.spec:q} --out {output:q} --threads {threads} > {log:q} 2>&1"
