"""`snakemake --logger vaepipe`: one line of progress, one line per finished stage, errors with their log.

snakemake-logger-plugin-rich draws a bar for each rule, but tells no time left and prints each job when piped.
Snakemake's own log goes to its file in full, as ever.
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from vaepipe.study.progress import PHASES, duration, n_jobs, phase, tail

SILENT: tuple[str, ...] = (
    *("Assuming ", "Building DAG", "Using shell", "Provided ", "Rules claiming", "Conda environments"),
    *("Singularity ", "Job stats", "Select jobs", "Execute ", "DAG of jobs", "Updating ", "Complete log"),
    *("Elapsed time", "Exiting because a job", "RuleException:\nCalledProcessError"),
    "WorkflowError:\nAt least one job did not",
)
"""How messages begin that tell a user nothing about the study, or what is told here in another way."""
INTERRUPTED = "Terminating processes on user request"
"""How Snakemake's message after Ctrl-C begins."""
COLLECTING = {"all", *PHASES}
"""Rules that make nothing themselves."""
LONGEST_ERROR = 40
"""Lines of a failed job's log that are shown."""


class Pace:
    """How many jobs of each phase there are and are done, and how long they take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.begun = clock()
        self.expected: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.first: dict[str, float] = {}
        self.started: dict[int, tuple[str, str, float]] = {}

    def start(self, job: int, rule: str, message: str) -> None:
        now = self.clock()
        self.started[job] = (phase(rule), message or rule, now)
        self.first.setdefault(phase(rule), now)

    def finish(self, job: int) -> tuple[str, str]:
        """Return the phase of a job that ends, and what it did; empty for a rule that makes nothing."""
        name, message, begun = self.started.pop(job, ("", "", 0.0))
        if not name:
            return name, message
        self.expected[name] = max(self.expected[name], self.done[name] + 1)  # `prepare` may have added jobs
        self.seconds[name].append(self.clock() - begun)
        self.done[name] += 1
        return name, message

    def complete(self, name: str) -> bool:
        """Return whether the last job of a phase has ended."""
        return self.done[name] >= self.expected[name]

    def elapsed(self, name: str) -> float:
        return self.clock() - self.first[name]

    def left(self) -> str:
        """Return the time until the end in words; empty if nothing is known of it.

        Jobs take the mean time of their phase, and as many run at a time as did so far. A phase of which no
        job has ended counts nothing yet, so that the time is a lower bound.
        """
        spent = sum(sum(seconds) for seconds in self.seconds.values())
        means = {name: sum(seconds) / len(seconds) for name, seconds in self.seconds.items()}
        remaining = {
            name: count - self.done[name] for name, count in self.expected.items() if count > self.done[name]
        }
        work = sum(count * means.get(name, 0) for name, count in remaining.items())
        at_a_time = max(1, spent / max(self.clock() - self.begun, 1e-9))
        if not work:
            return ""
        return f"{'about' if remaining.keys() <= means.keys() else 'over'} {duration(work / at_a_time)} left"


class LogHandler(LogHandlerBase):
    """Writes to standard error what a person wants to know while a study runs."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.stream: TextIO = sys.stdout if self.common_settings.stdout else sys.stderr
        self.pace = Pace()
        self.current = self.last = ""
        self.share = self.failed = 0
        self.interrupted = False

    @property
    def live(self) -> bool:
        """Whether a line can be drawn anew."""
        return self.stream.isatty()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: Any = None if self.common_settings.dryrun else getattr(record, "event", None)
            show = {
                LogEvent.RUN_INFO: self._plan,
                LogEvent.JOB_INFO: self._start,
                LogEvent.JOB_FINISHED: self._finish,
                LogEvent.PROGRESS: self._progress,
                LogEvent.JOB_ERROR: self._fail,
            }.get(event, self._message)
            if event not in (LogEvent.WORKFLOW_STARTED, LogEvent.JOB_STARTED, LogEvent.RESOURCES_INFO):
                show(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._clear()
        advice = "What is finished stays: the same command goes on from there."
        if self.failed:
            self._write(f"\n{n_jobs(self.failed)} failed, see above. {advice}")
        elif self.interrupted:
            self._write(f"Interrupted. {advice}")
        self.failed, self.interrupted = 0, False
        super().close()

    # --- events -------------------------------------------------------------------------------------

    def _plan(self, record: Any) -> None:
        for rule, count in record.stats.items():
            if rule not in COLLECTING | {"total"}:
                self.pace.expected[phase(rule)] += count
        order = [*PHASES, *self.pace.expected]
        parts = ", ".join(
            f"{name} {self.pace.expected[name]}" for name in dict.fromkeys(order) if self.pace.expected[name]
        )
        self._write(f"{n_jobs(sum(self.pace.expected.values()))}: {parts}")
        for path in log_files():
            self._write(f"Snakemake's full log: {path}")

    def _start(self, record: Any) -> None:
        if record.rule_name not in COLLECTING:
            self.pace.start(record.jobid, record.rule_name, record.rule_msg)
            self.current = phase(record.rule_name)

    def _finish(self, record: Any) -> None:
        name, message = self.pace.finish(record.job_id)
        self.last = message or self.last
        if name and self.pace.complete(name):
            count = self.pace.done[name]
            took = duration(self.pace.elapsed(name))
            self._write(f"{name:<11} done: {n_jobs(count)} in {took}")

    def _progress(self, record: Any) -> None:
        done, expected = sum(self.pace.done.values()), sum(self.pace.expected.values())
        parts = [f"{done} of {n_jobs(expected)}", self.current, self.pace.left(), f"last: {self.last}"]
        line = " · ".join(part for part in parts if part)
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\x1b[K" + line[:width])
            self.stream.flush()
        elif (share := 10 * done // max(1, expected)) > self.share:
            self.share = share
            self._write(line)

    def _fail(self, record: Any) -> None:
        if self.interrupted:  # the job was stopped, it did not fail
            return
        message = self.pace.started.get(record.jobid, ("", "", 0.0))[1]
        self.failed += 1
        self._write(f"\nFAILED: {message or record.rule_name}")
        for path in record.log:
            self._write(f"  {path}:")
            self._write("\n".join(f"    {line}" for line in tail(Path(path.split(" (")[0]), LONGEST_ERROR)))
        if not record.log:
            self._write(self.format(record))

    def _message(self, record: Any) -> None:
        text = self.format(record) or ""
        if text.startswith(INTERRUPTED):
            self.interrupted, text = True, "\nStopping the running jobs; a training keeps its last epoch."
        if self.common_settings.dryrun or not text.startswith(SILENT):
            self._write(text)

    # --- the terminal -------------------------------------------------------------------------------

    def _clear(self) -> None:
        if self.live:
            self.stream.write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if text and text != "None":
            self._clear()
            self.stream.write(text.rstrip("\n") + "\n")
            self.stream.flush()


def log_files() -> list[str]:
    """Return the files that Snakemake writes its log to."""
    from snakemake.logging import logger

    return [handler.baseFilename for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
