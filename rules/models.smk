# INPUT   results/data/<dataset>.h5
# OUTPUT  results/models/<cell>/{model.safetensors,history.csv,snapshots.safetensors,evaluation.h5}
rule models:
    """Train and evaluate every model of the grid."""
    input:
        outputs_of("evaluate"),


rule train:
    """Train one model: data set, family, β, d_z, seed. An interrupted training continues from its checkpoint."""
    input:
        data=ancient(DATA),
    output:
        **STAGES["train"].outputs,
    log:
        STAGES["train"].log,
    benchmark:
        STAGES["train"].benchmark
    wildcard_constraints:
        family=constraint(job.cell.family for job in jobs.of_stage(ALL_JOBS, "train")),
        seed=constraint(job.cell.seed for job in jobs.of_stage(ALL_JOBS, "train")),
    conda:
        "../envs/vaepipe.yaml"
    threads: threads_of("train")
    resources:
        **on_gpu(minutes=240),
    params:
        data=data_digest,
        spec=model_spec,
        code=model_code(digests.train_code),
    message:
        f"train {ABOUT}"
    shell:
        "python -m vaepipe.stages.train --spec {params.spec:q} --data {input.data:q} --out {output.model:q}"
        " --history {output.history:q} --snapshots {output.snapshots:q} --threads {threads} > {log:q} 2>&1"


rule snapshot:
    """Take the weights after some steps out of the file of a training."""
    input:
        snapshots_file,
    output:
        **STAGES["snapshot"].outputs,
    log:
        STAGES["snapshot"].log,
    benchmark:
        STAGES["snapshot"].benchmark
    wildcard_constraints:
        seed=constraint(job.cell.wildcards["seed"] for job in jobs.of_stage(ALL_JOBS, "snapshot")),
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=10),
    params:
        spec=model_spec,
        code=digests.snapshot_code(),
    message:
        f"snapshot {ABOUT}"
    shell:
        "python -m vaepipe.stages.snapshot --spec {params.spec:q} --snapshots {input:q} --out {output:q} > {log:q} 2>&1"


rule adopt:
    """Check the weights of a model that was trained elsewhere and write them in this package's format."""
    input:
        data=ancient(DATA),
        files=external_files,
    output:
        **STAGES["adopt"].outputs,
    log:
        STAGES["adopt"].log,
    benchmark:
        STAGES["adopt"].benchmark
    wildcard_constraints:
        family=constraint(study.external),
    conda:
        "../envs/vaepipe.yaml"
    resources:
        **on_cpu(minutes=30, megabytes=8000),
    params:
        data=data_digest,
        spec=model_spec,
        code=model_code(digests.adopt_code),
    message:
        "adopt {wildcards.family}, a model trained elsewhere, for {wildcards.dataset}"
    shell:
        "python -m vaepipe.stages.adopt --spec {params.spec:q} --data {input.data:q} --weights {input.files[0]:q} --out {output:q}"
        " > {log:q} 2>&1"


rule evaluate:
    """Measure one model on the held-out split: ELBO, its terms, posterior statistics."""
    input:
        data=ancient(DATA),
        model=MODEL,
    output:
        **STAGES["evaluate"].outputs,
    log:
        STAGES["evaluate"].log,
    benchmark:
        STAGES["evaluate"].benchmark
    conda:
        "../envs/vaepipe.yaml"
    threads: threads_of("train")
    resources:
        **on_gpu(minutes=60),
    params:
        data=data_digest,
        spec=evaluate_spec,
        code=model_code(digests.evaluate_code),
    message:
        f"evaluate {ABOUT}"
    shell:
        "python -m vaepipe.stages.evaluate --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"
