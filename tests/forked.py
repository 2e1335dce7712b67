"""Snakemake in processes forked from one that has imported it, as its imports take longer than a plan."""

import multiprocessing
import os
import sys
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli", "snakemake_executor_plugin_slurm"])


def snakemake(folder: Path, arguments: list[str], environment: dict[str, str], said: Path) -> int:
    """Its exit code; what it says goes to a file."""
    process = FORKS.Process(target=_main, args=(folder, arguments, environment, said))
    process.start()
    process.join()
    return process.exitcode


def _main(folder, arguments, environment, said):
    with open(said, "w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # A fork has the search path of the tests, on which the package of this repository lies. `python -m` puts
    # the working directory first, so that a copied repository finds its own package before an installed one.
    sys.path[:] = [os.getcwd(), *(path for path in sys.path if not Path(path, "vaepipe").exists())]
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main()
