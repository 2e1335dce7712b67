"""How far a study is, also on a cluster or in another terminal: done, running, failed jobs, time left.

    vaepipe status --configfile configs/paper.yaml --directory my-study

Everything is read from the study's folder: files of finished jobs, benchmarks, and Snakemake's last log.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from vaepipe.storage.errors import run_stage
from vaepipe.study.drawings import absent_figures
from vaepipe.study.jobs import Job, jobs
from vaepipe.study.progress import PHASES, duration, ending, phase, tail
from vaepipe.study.study import Study
from vaepipe.tools.check import add_options, read_study
from vaepipe.tools.plan import done, plan_stages

LOG_LINES = 5
"""Lines of a failed job's log that are shown."""
MOST = 8
"""Running jobs, and failed jobs, that are listed."""


@dataclass(frozen=True)
class LastRun:
    """What Snakemake's log of the last run says."""

    log: str = ""
    started: tuple[str, ...] = ()
    """What the jobs do that have neither ended nor failed; on a cluster they may wait in its queue."""
    failed: tuple[str, ...] = ()
    """Logs of jobs that failed."""


def read_last_run(folder: Path) -> LastRun:
    """Return what the last run of a study did, from Snakemake's log; nothing without one."""
    logs = sorted((folder / ".snakemake/log").glob("*.snakemake.log"))
    if not logs:
        return LastRun()
    text = logs[-1].read_text(encoding="utf-8", errors="replace")
    begun = dict(re.findall(r"^Job (\d+): (.*)$", text, re.M))
    ended = set(re.findall(r"^Finished jobid: (\d+)", text, re.M))
    errors = re.findall(r"^Error in rule .*?(?=^\[|\Z)", text, re.M | re.S)
    ended |= {number for error in errors for number in re.findall(r"^    jobid: (\d+)", error, re.M)}
    failed = [log for error in errors for log in re.findall(r"^    log: (.*?)(?: \(check|$)", error, re.M)]
    started = tuple(message for number, message in begun.items() if number not in ended)
    return LastRun(str(logs[-1]), started, tuple(dict.fromkeys(failed)))


def is_running(folder: Path) -> bool:
    """Return whether Snakemake holds the study's folder locked."""
    return any((folder / ".snakemake/locks").glob("*"))


def status(study: Study, folder: Path) -> str:
    """Return the text about a study in a folder."""
    listed = jobs(study)
    finished = {job for job in listed if done(job, folder)}
    last, running = read_last_run(folder), is_running(folder)
    failed = [job for job in listed if job not in finished and set(job.log.split()) & set(last.failed)]
    lines = [_summary(study, folder, listed, finished, last if running else None)]
    for name in PHASES:
        of_phase = [job for job in listed if phase(job.stage) == name]
        if of_phase:
            lines.append(f"  {name:<11} {sum(job in finished for job in of_phase)} of {len(of_phase)}")
    if running:
        lines += _listed("running, or waiting in a cluster's queue:", last.started)
    for job in failed[:MOST]:
        lines.append(f"FAILED: {job.stage} {job.name}; {folder / job.log}:")
        lines += [f"    {line}" for line in tail(folder / job.log, LOG_LINES)]
    lines += [f"and {len(failed) - MOST} more failed"] if len(failed) > MOST else []
    lines += [f"Snakemake's full log: {last.log}"] if last.log else []
    if len(finished) == len(listed):
        lines += ending(folder / "results", absent_figures(study))
    return "\n".join(lines)


def _summary(study: Study, folder: Path, listed: list[Job], finished: set[Job], run: LastRun | None) -> str:
    state = f"{len(finished)} of {len(listed)} jobs done"
    if len(finished) == len(listed):
        return state
    if run is None:
        return f"{state}; nothing runs: continue with make run, or snakemake --cores all"
    stages = plan_stages(study, folder)[0].values()
    seconds = 3600 * sum(stage.hours for stage in stages) / max(1, len(run.started))
    word = "about" if all(stage.all_hours_known for stage in stages) else "over"
    return f"{state}; {word} {duration(seconds)} left" if seconds else f"{state}; running"


def _listed(title: str, items: tuple[str, ...]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - MOST} more"] if len(items) > MOST else []
    return [title, *(f"  {item}" for item in items[:MOST]), *more]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="vaepipe status",
        description="Print how far a study is: done, running and failed jobs, time left.",
    )
    add_options(parser)
    args = parser.parse_args(argv)
    study, unused = read_study(args.configfile, args.directory)
    for line in unused:
        print(f"config: {line}", file=sys.stderr)
    print(status(study, args.directory))


if __name__ == "__main__":
    run_stage(main)
