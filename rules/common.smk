# The study as the rules see it: the validated configuration, wildcards, and the functions that rules call. No rules here.
import json
import os
import subprocess
import sys
from pathlib import Path

from snakemake.logging import logger

from vaepipe.compute import hand_over, job_server
from vaepipe.compute.device import count_visible_gpus
from vaepipe.figures.registry import entries
from vaepipe.storage.errors import DataError
from vaepipe.storage.imported_files import imported_files
from vaepipe.study import digests, drawings, jobs
from vaepipe.study.cells import constraint, token
from vaepipe.study.files import read_config
from vaepipe.study.kept import kept_datasets
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.patterns import STAGES
from vaepipe.study.progress import ending
from vaepipe.study.source_digest import prepared_digest, source_digest
from vaepipe.study.study import Study
from vaepipe.study.unused import unused_keys

# a terminal that lacks a letter shows another one instead; jobs write UTF-8 everywhere
for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
os.environ.update(PYTHONUTF8="1", PYTHONIOENCODING="utf-8")

# Snakemake fills in braces in the paths of rules, and a colon separates the folders in PATH
for place, letters in ((str(workflow.basedir), "{}"), (os.path.dirname(sys.executable), os.pathsep)):
    if set(letters) & set(place):
        raise SystemExit(f"error: {place}: {' and '.join(letters)} cannot be in this path; rename the folder")

# the files again, strictly, and with the rule that a later file wins; a workflow that uses this one as a module gives `config`
FILES = [] if workflow.config_settings.replace_workflow_config else [Path(workflow.basedir) / "config.yaml"]
FILES += workflow.config_settings.configfiles
try:
    given = (
        config if workflow.modifier.skip_configfile else read_config(FILES, workflow.config_settings.config)
    )
    study = Study(given)
    KEPT = kept_datasets(study)
except (ConfigError, DataError) as error:
    raise SystemExit(f"config: {error}")
if workflow.is_main_process:
    for line in [*KEPT.values(), *unused_keys(given, study)]:
        print(f"config: {line}", file=sys.stderr)
# Snakemake keeps its locks and records there and prints a traceback if it cannot write
STATE = Path(".snakemake") if Path(".snakemake").exists() else Path()
if not os.access(STATE, os.W_OK):
    raise SystemExit(
        f"error: {STATE.resolve()}: cannot be written by you; choose a folder of your own with --directory"
    )
config.clear()
config.update(study.effective())  # the report shows it

# jobs run with the interpreter that runs snakemake, unless a conda environment is asked for; envs/vaepipe.post-deploy.sh
# installs the package there from VAEPIPE_SOURCE
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
    VAEPIPE_SOURCE=str(workflow.basedir),
    VAEPIPE_DEVICE=study.device,
    VAEPIPE_GPU_JOBS_PER_DEVICE=str(study.gpu_jobs_per_device),
    **({"VAEPIPE_DATA_DIR": os.path.abspath(study.data_dir)} if study.data_dir else {}),
)
ALL_JOBS = jobs.jobs(study)
DATA = STAGES["prepare"].outputs["data"]
MODEL = STAGES["train"].outputs["model"]
ATTACK = STAGES["attack"].outputs["attack"]
TABLES = STAGES["collect"].outputs
CONFIG = STAGES["config"].outputs["config"]
ABOUT = "{wildcards.dataset} {wildcards.family}, β = {wildcards.beta}, d_z = {wildcards.d_z}, seed {wildcards.seed}"

# GPUs that a job asks a cluster for, and its share in percent of a GPU of this machine; profiles/default limits the sum
GPU = {"cpu": 0, "cuda": 1, "auto": min(1, count_visible_gpus())}[study.device]
GPU_PERCENT = GPU * (100 // study.gpu_jobs_per_device)


wildcard_constraints:
    dataset=constraint(study.names),
    family=constraint(cell.family for cell in study.cells),
    beta=constraint(token(cell.beta) for cell in study.cells),
    d_z=constraint(cell.d_z for cell in study.cells),
    seed=constraint(cell.wildcards["seed"] for cell in study.all_cells),
    loss=constraint(job.loss for job in jobs.of_stage(ALL_JOBS, "measure")),
    block=constraint(job.block for job in jobs.of_stage(ALL_JOBS, "attack_block")),
    pictures=constraint(
        name for name, entry in entries(study.plot).items() if entry.per_dataset and name != "montage"
    ),
    figure=constraint(entries(study.plot)),


# what jobs load, some of it only inside functions
LOADED = [
    f"vaepipe.{room}" for room in ("stages", "attacks", "claims", "figures", "metrics", "models", "pages")
]
LOADED += ["safetensors.torch", "pyarrow.pandas_compat", "pyarrow.parquet", "matplotlib.backends.backend_agg"]
LOADED += ["matplotlib.backends.backend_pdf", "plotly.offline"]
LOADED += ["torch.fx.experimental.symbolic_shapes"]  # half a second, at the first Jacobian of an attack


def find_gpu():
    """End in one line where every job would: the device is cuda, and PyTorch sees no GPU of this machine."""
    here = study.device == "cuda" and workflow.local_exec and workflow.is_main_process and not workflow.touch
    if here and any("gpu" in job.rule.resources or job.is_checkpoint for job in workflow.dag.needrun_jobs()):
        program = "import sys, torch; sys.exit(not torch.cuda.is_available())"
        if subprocess.run([sys.executable, "-c", program]).returncode:
            raise SystemExit("config: device: 'cuda', but PyTorch sees no GPU here; set device: auto or cpu")


def serve_jobs():
    """Start a process that forks the jobs, where they run on this machine's CPU and are enough to repay its start."""
    elsewhere = workflow.deployment_settings.deployment_method or not workflow.local_exec or GPU
    jobs_to_run = sum(1 for _ in workflow.dag.needrun_jobs())
    if workflow.is_main_process and not workflow.touch and not elsewhere and jobs_to_run >= 10:
        os.environ[hand_over.ADDRESS] = job_server.start(*LOADED)


def start_jobs_at_any_rate():
    """Lift Snakemake's own limit of 100 new jobs a second on this machine, which never starts so many.

    While there is a limit, each end of a job adds a timer that looks for jobs to start once a second, until
    no job waits: after a hundred jobs it looks a hundred times a second. A limit that the user sets stays.
    """
    limiter = getattr(workflow.scheduler, "job_rate_limiter", None)  # no part of Snakemake's interface
    if workflow.local_exec and limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def growing(amount):
    """Return a resource that grows with each attempt of a job."""
    return lambda wildcards, attempt: amount * attempt


def on_cpu(minutes, megabytes=4000):
    """Return the resources of a job without a GPU."""
    return {"mem_mb": growing(megabytes), "runtime": growing(minutes)}


def on_gpu(minutes, megabytes=8000):
    """Return the resources of a job that uses a GPU if there is one."""
    return {"gpu": GPU, "gpu_percent": GPU_PERCENT, **on_cpu(minutes, megabytes)}


def threads_of(section):
    """Return a function of the wildcards: the threads of the data set's section."""
    return lambda wildcards: getattr(study.settings[wildcards.dataset], section).threads


def outputs_of(*stages):
    """Return the first output of every job of the given stages."""
    return jobs.paths(ALL_JOBS, *stages)


# --- what a job gets: settings as JSON, code digests, further inputs ---


def prepare_spec(wildcards):
    """Return the spec of a data set without its path: it does not matter where its files are."""
    return study.prepare_spec(wildcards.dataset).model_copy(update={"path": None}).to_json()


def wanted_pairs(wildcards):
    """Return, as JSON, the pairs that attacks on a data set will use: their number or their list; 0 if nothing is attacked."""
    attacked = {cell.dataset for cell, _ in study.attacks() + study.balls()}
    return json.dumps(study.settings[wildcards.dataset].attack.pairs if wildcards.dataset in attacked else 0)


def prepare_code(wildcards):
    return digests.prepare_code(study.settings[wildcards.dataset].kind)


def own_path(wildcards):
    """Return the path of the user's own files; empty if a data set has none."""
    return study.settings[wildcards.dataset].path or ""


def data_source(wildcards):
    """Return a digest of the contents of the user's own files that are read for a data set."""
    own = study.settings[wildcards.dataset]
    return source_digest(own.kind, own.path, Path(".snakemake/vaepipe-sources.json"))


def data_digest(wildcards):
    """Return the digest of a prepared data set: equal data, whatever their date and the code that made them."""
    return prepared_digest(*expand(DATA, **wildcards), Path(".snakemake/vaepipe-prepared.json"))


def external_files(wildcards):
    """Return the weights of a model trained elsewhere and, if it is a file, its code with the neighbours it imports."""
    model = study.external[wildcards.family]
    code = model.entry.rpartition(":")[0]
    return [model.weights, *(map(str, imported_files(code)) if code.endswith(".py") else [])]


def model_spec(wildcards):
    return study.model_spec(study.cell(wildcards)).to_json()


def snapshots_file(wildcards):
    return jobs.snapshots(study.cell(wildcards))


def evaluate_spec(wildcards):
    return study.evaluate_spec(study.cell(wildcards)).to_json()


def attack_spec(wildcards):
    return study.attack_spec(study.cell(wildcards), wildcards.loss, wildcards.get("block")).to_json()


def ball_spec(wildcards):
    return study.ball_spec(study.cell(wildcards), wildcards.loss).to_json()


def measure_spec(wildcards):
    return study.measure_spec(study.cell(wildcards), wildcards.loss).to_json()


def model_code(code):
    """Return a function of the wildcards: the digest of a stage that uses a model."""
    return lambda wildcards: code(study.model_spec(study.cell(wildcards)))


def loss_code(code):
    """Return a function of the wildcards: the digest of a stage that uses a model and a loss."""
    return lambda wildcards: code(study.model_spec(study.cell(wildcards)), wildcards.loss)


def measured_code(wildcards):
    """Return the digest of `measure`, with the purifiers of the data set."""
    purifiers = study.settings[wildcards.dataset].checks.purifiers
    return digests.measure_code(study.model_spec(study.cell(wildcards)), wildcards.loss, purifiers)


def attack_blocks(wildcards):
    """Return the files of an attack's blocks of λ; none if one job solves all λ."""
    cell, blocks = study.cell(wildcards), study.blocks(wildcards.dataset)
    return [jobs.output("attack_block", cell, wildcards.loss, block) for block in blocks]


def measured_files(stage):
    """Return a function of the wildcards: the file of the stage, attack or ball, that a measure job reads, if there is one."""
    known = set(outputs_of(stage))
    return lambda wildcards: [
        path for path in expand(STAGES[stage].outputs[stage], **wildcards) if path in known
    ]


def source_attack(wildcards):
    """Return the attack on another model whose distortions a measure job tries, if there is one."""
    cell, loss = study.cell(wildcards), wildcards.loss
    source = study.source(cell, loss) if loss in study.losses(cell) else None
    return jobs.output("attack", source, loss) if source else []


# --- figures and pages ---


def figure_spec(cells=(), datasets=None):
    """Return what a figure gets: the config's section plot, the models of its arrays, what a row of each data set is called."""
    return study.figure_spec(cells, datasets).to_json()


def montage_files(stage):
    """Return a function of the wildcards: the files of one stage behind a data set's montage."""
    known = set(outputs_of(stage))

    def files(wildcards):
        paths = [jobs.output(stage, *attack) for attack in drawings.montage_attacks(study, wildcards.dataset)]
        return [path for path in paths if path in known]

    return files


def montage_spec(wildcards):
    cells = [cell for cell, _ in drawings.montage_attacks(study, wildcards.dataset)]
    return figure_spec(cells, [wildcards.dataset])


def model_files(wildcards):
    """Return the files that a figure of the models of one data set reads: evaluations, or histories of trainings."""
    cells = drawings.figure_cells(study, wildcards.pictures, wildcards.dataset)
    if "history" in entries(study.plot)[wildcards.pictures].arrays:
        return [jobs.Job("train", cell.dataset, cell).outputs["history"] for cell in cells]
    return [jobs.output("evaluate", cell) for cell in cells]


def pictures_spec(wildcards):
    return figure_spec(
        drawings.figure_cells(study, wildcards.pictures, wildcards.dataset), [wildcards.dataset]
    )


SWISSROLL = drawings.swissroll_cells(study)
SWISSROLL_EVALUATIONS = [jobs.output("evaluate", cell) for cell in SWISSROLL]
FIGURE_NAMES = drawings.figure_names(study)
FIGURE_FILES = [
    path
    for job in jobs.of_stage(ALL_JOBS, "plot", "plot_swissroll", "plot_models", "plot_montage")
    for path in job.outputs.values()
]


def in_report(figure):
    """Return the place of a figure's page in the report."""
    name, _, dataset = figure.partition("/")
    dataset = dataset or (drawings.swissroll_dataset(study) if name == "swissroll" else "")
    category = f"Figures of {dataset}" if dataset else "Figures"
    return {"category": category, "labels": {"figure": name.replace("_", " ")}}


def figure_outputs(stage, name):
    """Return the outputs of a stage that draws a figure."""
    outputs = dict(STAGES[stage].outputs)
    if study.plot.svg:
        outputs["svg"] = f"results/figures/{name}.svg"
    return outputs


def say_ending():
    """Say at the end of a run what was found, where it is and what to do next."""
    if workflow.is_main_process and Path("results/headline.txt").exists():
        lines = ending(Path("results").resolve(), drawings.absent_figures(study))
        logger.info("\n" + "\n".join(lines))
