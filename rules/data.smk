# INPUT   official files (downloaded or given by path) or a generator
# OUTPUT  results/data/<dataset>.h5
localrules:
    prepare,


rule data:
    """Prepare all data sets of the study."""
    input:
        outputs_of("prepare"),


# a checkpoint: what depends on it is planned again when it ends, and runs only if the data differ from before
checkpoint prepare:
    """Write one data set as one HDF5 file."""
    output:
        **STAGES["prepare"].outputs,
    log:
        STAGES["prepare"].log,
    benchmark:
        STAGES["prepare"].benchmark
    wildcard_constraints:
        dataset=constraint(name for name in study.names if name not in KEPT),
    conda:
        "../envs/vaepipe.yaml"
    threads: 16  # or as many as there are; workflow.cores is not known when a report is made
    resources:
        **on_cpu(minutes=120, megabytes=2000),
        path=own_path,  # not a parameter, which would make moved data again
        pairs=wanted_pairs,  # a check that does not change the file: no reason to make it again
    params:
        spec=prepare_spec,
        code=prepare_code,
        source=data_source,
    message:
        "prepare {wildcards.dataset}"
    shell:
        "python -m vaepipe.stages.prepare --spec {params.spec:q} --path {resources.path:q} --out {output:q}"
        " --threads {threads} --pairs {resources.pairs:q} > {log:q} 2>&1"
