# INPUT   results/data/<dataset>.h5, results/models/<cell>/model.safetensors
# OUTPUT  results/attacks/<cell>/<loss>.h5; where λ is divided, <loss>/<block of λ>.h5 before it; results/{checks,balls}/<cell>/<loss>.h5
rule attacks:
    """Attack every model of every image data set."""
    input:
        attack_files(),
        ball_files(),


rule checks:
    """Check every attack."""
    input:
        check_files(),


rule attack:
    """One model, one loss: all pairs and λ at once, or from its blocks of λ."""
    input:
        data="results/data/{dataset}.h5",
        model=f"{MODEL}/model.safetensors",
        blocks=attack_blocks,
    output:
        ATTACK,
    log:
        f"logs/attacks/{CELL}/{{loss}}.log",
    benchmark:
        f"benchmarks/attacks/{CELL}/{{loss}}.jsonl"
    conda:
        "../envs/vaepipe.yaml"
    threads: option("attack", "threads")
    resources:
        gpu=GPU,
        gpu_percent=GPU_PERCENT,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        spec=attack_spec,
        code=code_digest("stages.attack"),
    message:
        "attack {wildcards.dataset} {wildcards.family}, β = {wildcards.beta}, d_z = {wildcards.d_z}, seed {wildcards.seed}: {wildcards.loss}"
    shell:
        "python -m vaepipe.stages.attack --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --blocks {input.blocks:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule attack_block:
    """One model, one loss, one block of λ: each row on its own."""
    input:
        data="results/data/{dataset}.h5",
        model=f"{MODEL}/model.safetensors",
    output:
        BLOCK,
    log:
        f"logs/attacks/{CELL}/{{loss}}/{{block}}.log",
    benchmark:
        f"benchmarks/attacks/{CELL}/{{loss}}/{{block}}.jsonl"
    conda:
        "../envs/vaepipe.yaml"
    threads: option("attack", "threads")
    resources:
        gpu=GPU,
        gpu_percent=GPU_PERCENT,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        spec=attack_spec,
        code=code_digest("stages.attack"),
    message:
        "attack {wildcards.dataset} {wildcards.family}, β = {wildcards.beta}, d_z = {wildcards.d_z}, seed {wildcards.seed}: {wildcards.loss}, λ {wildcards.block}"
    shell:
        "python -m vaepipe.stages.attack --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --own --out {output:q} --threads {threads} > {log:q} 2>&1"


rule check:
    """Whether one attack on one model is to be believed: noise, another model's distortions, restarts; probe and defence."""
    input:
        data="results/data/{dataset}.h5",
        model=f"{MODEL}/model.safetensors",
        attack=ATTACK,
        source=source_attack,
    output:
        CHECK,
    log:
        f"logs/checks/{CELL}/{{loss}}.log",
    benchmark:
        f"benchmarks/checks/{CELL}/{{loss}}.jsonl"
    conda:
        "../envs/vaepipe.yaml"
    threads: option("attack", "threads")
    resources:
        gpu=GPU,
        gpu_percent=GPU_PERCENT,
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        spec=check_spec,
        code=code_digest("stages.check"),
    message:
        "check {wildcards.dataset} {wildcards.family}, β = {wildcards.beta}, d_z = {wildcards.d_z}, seed {wildcards.seed}: {wildcards.loss}"
    shell:
        "python -m vaepipe.stages.check --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --attack {input.attack:q} --source {input.source:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule ball:
    """One model, one loss: distortions of bounded size, in all norms and radii."""
    input:
        data="results/data/{dataset}.h5",
        model=f"{MODEL}/model.safetensors",
    output:
        BALL,
    log:
        f"logs/balls/{CELL}/{{loss}}.log",
    benchmark:
        f"benchmarks/balls/{CELL}/{{loss}}.jsonl"
    conda:
        "../envs/vaepipe.yaml"
    threads: option("attack", "threads")
    resources:
        gpu=GPU,
        gpu_percent=GPU_PERCENT,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        spec=ball_spec,
        code=code_digest("stages.ball"),
    message:
        "attack in balls {wildcards.dataset} {wildcards.family}, β = {wildcards.beta}, d_z = {wildcards.d_z}, seed {wildcards.seed}: {wildcards.loss}"
    shell:
        "python -m vaepipe.stages.ball --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"
