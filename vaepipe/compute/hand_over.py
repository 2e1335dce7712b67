"""A job's side of the workflow's job server, see `vaepipe.compute.job_server`. It imports nothing slow."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

ADDRESS = "VAEPIPE_JOB_SERVER"
"""Environment variable: the name of the server's abstract socket. The Snakefile sets it."""
ONE_THREAD = "OMP_NUM_THREADS"
"""The server's libraries have been loaded for one thread, as Snakemake sets it for a job of one thread."""
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def hand_over() -> None:
    """Let a fork of the workflow's server do what this process was started for, and end as the fork does.

    Signals to this process reach the fork. Return if there is no server, or if this process is no ``python
    -m`` of one thread: then it does the work itself.
    """
    command = sys.orig_argv
    if ADDRESS not in os.environ or os.environ.get(ONE_THREAD) != "1" or command[1:2] != ["-m"]:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until it is known where to send them
    with socket.socket(socket.AF_UNIX) as server:
        if pid := _ask(server, command[2], command[3:]):
            for number in FORWARDED:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, lambda number, _: os.kill(pid, number))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            _end_as(int(_line(server) or -signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _ask(server: socket.socket, module: str, arguments: list[str]) -> int:
    """Return the process that does the work, or 0 if the server is gone."""
    umask = os.umask(0)
    os.umask(umask)
    job = {"module": module, "arguments": arguments, "folder": os.getcwd(), "umask": umask}
    job["environment"] = dict(os.environ)
    try:
        server.connect("\0" + os.environ[ADDRESS])
        socket.send_fds(server, [b"\n"], [0, 1, 2])
        server.sendall(json.dumps(job).encode() + b"\n")
        return int(_line(server) or 0)
    except OSError:
        return 0


def _line(server: socket.socket) -> bytes:
    """Return the next line that the server sends; empty if it ends first."""
    with server.makefile("rb", buffering=0) as file:
        return file.readline()


def _end_as(code: int) -> None:
    """End with an exit code, or by a signal if it is negative."""
    if code >= 0:
        os._exit(code)
    if code != -signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
