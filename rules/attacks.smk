# INPUT   results/data/<dataset>.h5, results/models/<cell>/model.safetensors
# OUTPUT  results/{attacks,balls}/<cell>/<loss>.h5: what the solvers found; if λ is divided, <loss>/<block of λ>.h5 before it
#         results/measures/<cell>/<loss>.h5: what is measured of it
rule attacks:
    """Attack every model of every image data set."""
    input:
        outputs_of("attack", "ball"),


rule measures:
    """Measure every attack."""
    input:
        outputs_of("measure"),


rule attack:
    """Solve the attacks on one model by one loss for all pairs and λ, or join its blocks of λ."""
    input:
        data=ancient(DATA),
        model=MODEL,
        blocks=attack_blocks,
    output:
        **STAGES["attack"].outputs,
    log:
        STAGES["attack"].log,
    benchmark:
        STAGES["attack"].benchmark
    conda:
        "../envs/vaepipe.yaml"
    threads: threads_of("attack")
    resources:
        **on_gpu(minutes=240),
    params:
        data=data_digest,
        spec=attack_spec,
        code=loss_code(digests.attack_code),
    message:
        f"attack {ABOUT}: {{wildcards.loss}}"
    shell:
        "python -m vaepipe.stages.attack --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --blocks {input.blocks:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule attack_block:
    """Solve the attacks on one model by one loss for one block of λ, each λ and pair by itself."""
    input:
        data=ancient(DATA),
        model=MODEL,
    output:
        **STAGES["attack_block"].outputs,
    log:
        STAGES["attack_block"].log,
    benchmark:
        STAGES["attack_block"].benchmark
    conda:
        "../envs/vaepipe.yaml"
    threads: threads_of("attack")
    resources:
        **on_gpu(minutes=240),
    params:
        data=data_digest,
        spec=attack_spec,
        code=loss_code(digests.attack_code),
    message:
        f"attack {ABOUT}: {{wildcards.loss}}, {{wildcards.block}}"
    shell:
        "python -m vaepipe.stages.attack --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --own --out {output:q} --threads {threads} > {log:q} 2>&1"


rule ball:
    """Attack one model by one loss with distortions of bounded size, in all norms and radii."""
    input:
        data=ancient(DATA),
        model=MODEL,
    output:
        **STAGES["ball"].outputs,
    log:
        STAGES["ball"].log,
    benchmark:
        STAGES["ball"].benchmark
    conda:
        "../envs/vaepipe.yaml"
    threads: threads_of("attack")
    resources:
        **on_gpu(minutes=240),
    params:
        data=data_digest,
        spec=ball_spec,
        code=loss_code(digests.ball_code),
    message:
        f"attack within balls {ABOUT}: {{wildcards.loss}}"
    shell:
        "python -m vaepipe.stages.ball --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"


rule measure:
    """Measure what the attacks on one model by one loss do, and whether they are strong enough to be believed."""
    input:
        data=ancient(DATA),
        model=MODEL,
        attack=measured_files("attack"),
        ball=measured_files("ball"),
        source=source_attack,
    output:
        **STAGES["measure"].outputs,
    log:
        STAGES["measure"].log,
    benchmark:
        STAGES["measure"].benchmark
    conda:
        "../envs/vaepipe.yaml"
    threads: threads_of("attack")
    resources:
        **on_gpu(minutes=120),
    params:
        data=data_digest,
        spec=measure_spec,
        code=measured_code,
    message:
        f"measure attacks on {ABOUT}: {{wildcards.loss}}"
    shell:
        "python -m vaepipe.stages.measure --spec {params.spec:q} --data {input.data:q} --model {input.model:q}"
        " --attack {input.attack:q} --ball {input.ball:q} --source {input.source:q} --out {output:q}"
        " --threads {threads} > {log:q} 2>&1"
