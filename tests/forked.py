"""Processes that are forked from one that has imported what they need, as their imports take longer than
their work."""

import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
FORKS = multiprocessing.get_context("forkserver")
OTHERS = ["snakemake.report.html_reporter", "smart_open", "jsonschema", "pydantic", "requests"]
FORKS.set_forkserver_preload(["snakemake.cli", "snakemake_executor_plugin_slurm", *OTHERS])


def snakemake(
    folder: Path, arguments: list[str], environment: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """The finished process."""
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        process = FORKS.Process(target=_main, args=(folder, arguments, environment, (out.name, err.name)))
        process.start()
        process.join(timeout)
        assert process.exitcode is not None, f"{arguments} hangs: {out.read()}{err.read()}"
        return subprocess.CompletedProcess(arguments, process.exitcode, out.read(), err.read())


def _main(folder, arguments, environment, said):
    gc.freeze()  # the collector need not look at what was imported
    for number, name in enumerate(said, 1):
        with open(name, "w") as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # as with `python -m`: a copied repository finds its own package, before an installed one
    sys.path[:] = [os.getcwd(), *(path for path in sys.path if not Path(path).is_relative_to(TESTS))]
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main()


def start(work, said: Path) -> int:
    """Process id of a fork of this process that works as a stage does; what it says goes to a file."""
    from vaepipe.storage.errors import run_stage  # here: Snakemake's forks import another package

    if (child := os.fork()) != 0:
        return child
    code = 70
    try:
        sys.stdout = sys.stderr = open(said, "w", buffering=1)  # noqa: SIM115  until the process ends
        run_stage(work)
        code = 0
    except SystemExit as stop:
        print(stop.code, file=sys.stderr)
        code = 1 if isinstance(stop.code, str) else int(stop.code or 0)
    except BaseException as error:
        print(f"Traceback {error!r}", file=sys.stderr)
    finally:
        os._exit(code)


def end(child: int) -> int:
    """The exit code of a fork, when it has ended; negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
