# INPUT   results/data/<dataset>.h5
# OUTPUT  results/models/<cell>/{model.safetensors,history.csv,evaluation.h5}
rule models:
    """Train and evaluate every model of the grid."""
    input:
        evaluations(study.cells),


rule train:
    """One model: (data set, family, β, d_z, seed). Continues from its checkpoint when it was interrupted."""
    input:
        data="results/data/{dataset}.h5",
    output:
        model=f"{MODEL}/model.safetensors",
        history=f"{MODEL}/history.csv",
    log:
        f"logs/models/{CELL}/train.log",
    benchmark:
        f"benchmarks/models/{CELL}/train.jsonl"
    wildcard_constraints:
        family=constraint(cell.family for cell in study.cells if cell.family not in study.external),
    conda:
        "../envs/vaepipe.yaml"
    threads: option("train", "threads")
    resources:
        gpu=GPU,
        gpu_percent=GPU_PERCENT,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        spec=train_spec,
        code=code_digest("stages.train"),
    message:
        "train {wildcards.dataset} {wildcards.family}, β = {wildcards.beta}, d_z = {wildcards.d_z}, seed {wildcards.seed}"
    shell:
        "python -m vaepipe.stages.train --spec {params.spec:q} --data {input.data:q} --out {output.model:q}"
        " --history {output.history:q} --threads {threads} > {log:q} 2>&1"


rule adopt:
    """A model that was trained elsewhere: its weights, checked, as one of ours."""
    input:
        data="results/data/{dataset}.h5",
        files=external_files,
    output:
        f"{MODEL}/model.safetensors",
    log:
        f"logs/models/{CELL}/adopt.log",
    wildcard_constraints:
        family=constraint(study.external),
    conda:
        "../envs/vaepipe.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        spec=train_spec,
        code=code_digest("stages.adopt"),
    message:
        "adopt {wildcards.family}, a model trained elsewhere, for {wildcards.dataset}"
    shell:
        "python -m vaepipe.stages.adopt --spec {params.spec:q} --data {input.data:q} --weights {input.files[0]:q} --out {output:q}"
        " > {log:q} 2>&1"


rule evaluate:
    """One model on the held-out split: ELBO, its terms, posterior statistics."""
    input:
        data="results/data/{dataset}.h5",
        model=f"{MODEL}/model.safetensors",
    output:
        f"{MODEL}/evaluation.h5",
    log:
        f"logs/models/{CELL}/evaluate.log",
    benchmark:
        f"benchmarks/models/{CELL}/evaluate.jsonl"
    conda:
        "../envs/vaepipe.yaml"
    threads: option("train", "threads")
    resources:
        gpu=GPU,
        gpu_percent=GPU_PERCENT,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        spec=evaluate_spec,
        code=code_digest("stages.evaluate"),
    message:
        "evaluate {wildcards.dataset} {wildcards.family}, β = {wildcards.beta}, d_z = {wildcards.d_z}, seed {wildcards.seed}"
    shell:
        "python -m vaepipe.stages.evaluate --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"
