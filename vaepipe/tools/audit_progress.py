"""What an audit prints while it runs: one line per step, and how long it still takes."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from vaepipe.models.external import External
from vaepipe.study.progress import duration

LIVE, PLAIN = 0.5, 20.0
"""Seconds between two updates of the last line, on a terminal and elsewhere."""


class Progress:
    """Lines about a run. On a terminal the last one lives; elsewhere it is repeated now and then.

    Args:
        quiet: print nothing.
    """

    def __init__(self, quiet: bool = False):
        self.quiet, self.out = quiet, sys.stdout  # stages print elsewhere
        self.start = self.since = time.monotonic()
        self.rows, self.expected = 0, 0.0

    def say(self, text: str, end: str = "\n") -> None:
        """Print a line with the seconds since the start."""
        if not self.quiet:
            clear = "\r\x1b[K" if self.out.isatty() else ""
            print(
                f"{clear}[{time.monotonic() - self.start:5.0f} s] {text}", end=end, file=self.out, flush=True
            )

    def expect(self, rows: float) -> None:
        """From now on the model will encode about so many images."""
        self.since, self.rows, self.expected = time.monotonic(), External.rows, rows

    def left(self) -> str:
        """Return the share of the expected images that are encoded and the time left, as text."""
        done = External.rows - self.rows
        if not self.expected or not done:
            return ""
        share = done / self.expected
        if share >= 1:
            return ": nearly done"
        seconds = (time.monotonic() - self.since) * (1 - share) / share
        return f": {100 * share:.0f} % done, about {duration(max(1, seconds))} left"

    @contextlib.contextmanager
    def doing(self, text: str) -> Iterator[None]:
        """Say what is being done, and now and then how long it still takes."""
        live = self.out.isatty()
        self.say(text + self.left(), end="" if live else "\n")
        done = threading.Event()

        def tick() -> None:
            while not done.wait(LIVE if live else PLAIN):
                if live or self.left():
                    self.say(text + self.left(), end="" if live else "\n")

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            if live:
                self.say(text)
