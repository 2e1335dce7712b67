"""One process per workflow that has PyTorch and the package loaded, and forks a process for each job.

A job starts as usual, ``python -m vaepipe.stages.train …``, and finds the server in its environment
(`vaepipe.compute.hand_over`). The fork takes over its arguments, working folder, environment, umask and open
files, and the job waits for the end of the fork, to end in the same way. Whoever of the three is killed, the
fork ends:

- a signal to the job reaches the fork; if the job is killed, the server kills the fork;
- if the server is killed, the kernel kills its forks;
- when the workflow ends, the server ends. If the workflow is killed, its jobs go on, as without a server, and
  the server ends with the last of them.

The server computes nothing, so it has no threads, which a fork would lose. It reads the package's source and
git revision when it loads the package, so the digest of the code that a job stores is that of what it runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TextIO

from vaepipe.compute.hand_over import FORWARDED
from vaepipe.storage.code_digest import read_loaded_modules
from vaepipe.storage.errors import run_stage
from vaepipe.storage.provenance import record

PACKAGE = "vaepipe."
ARROW = "jemalloc_bg_thd"
THREADS = ("OMP", "MKL", "OPENBLAS", "GOTO", "VECLIB", "NUMEXPR")
PDEATHSIG = 1
"""Option of prctl, from Linux' prctl.h: the signal that a process gets when its parent ends."""
SECONDS = 10
"""Time in which a job that has connected says what it is."""


def start(*modules: str) -> str:
    """Start a server that ends with this process, and return its address, the name of an abstract socket.

    Args:
        modules: what it loads; of a package of this repository also all modules below it.
    """
    listener = socket.socket(socket.AF_UNIX)
    address = f"vaepipe-{os.getpid()}-{os.urandom(8).hex()}"
    listener.bind("\0" + address)
    listener.listen(64)
    one = {f"{library}_NUM_THREADS": "1" for library in THREADS} | {"VECLIB_MAXIMUM_THREADS": "1"}
    command = [sys.executable, "-m", "vaepipe.compute.job_server", str(listener.fileno()), *modules]
    # its input is a pipe that this process alone holds open
    subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | one,
        pass_fds=[listener.fileno()],
    )
    listener.close()
    return address


class Server:
    """The processes that were forked, each with the connection of its job."""

    def __init__(self, listener: socket.socket):
        self.listener, self.jobs = listener, dict[int, socket.socket]()
        self.ended, waker = socket.socketpair()
        waker.setblocking(False)
        self.waker = waker
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno())
        self.ready = selectors.DefaultSelector()
        for source in (listener, self.ended, sys.stdin.buffer):
            self.ready.register(source, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any] | None:
        """Fork a process for each job until the workflow ends.

        Returns:
            In a forked process: its job. In the server: None, after the last job.
        """
        workflow = True
        while workflow or self.jobs:
            for key, _ in self.ready.select():
                if key.fileobj is self.listener:
                    if workflow and (job := self._accept()):
                        return job
                elif key.fileobj is self.ended:
                    self.ended.recv(4096)
                    self._report_ends()
                elif key.fileobj is sys.stdin.buffer:
                    workflow = False
                    self.ready.unregister(sys.stdin.buffer)
                    self.ready.unregister(self.listener)
                    self.listener.close()  # a job that comes now does its work itself
                elif (pid := key.data) in self.jobs:
                    os.kill(pid, signal.SIGKILL)  # its job was killed
                    self.ready.unregister(self.jobs[pid])
        return None

    def _accept(self) -> dict[str, Any] | None:
        """Fork a process for the job that connects; return the job in that process, and None here."""
        connection = self.listener.accept()[0]
        user = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        connection.settimeout(SECONDS)
        files: list[int] = []
        try:
            files = socket.recv_fds(connection, 1, 3)[1]
            job = json.loads(connection.makefile("rb").readline()) if user == os.getuid() else {}
        except (OSError, ValueError):
            job = {}
        pid = -1
        if job:
            signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
            pid = os.fork()
            if pid == 0:
                self._become(job, files, connection)
                return job
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            self.jobs[pid] = connection
            self.ready.register(connection, selectors.EVENT_READ, pid)
            _send(connection, pid)
        else:
            connection.close()
        for file in files:
            os.close(file)
        return None

    def _report_ends(self) -> None:
        """Tell the jobs whose forks have ended how they ended."""
        while self.jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = self.jobs.pop(pid)
            _send(connection, os.waitstatus_to_exitcode(status))
            if connection in self.ready.get_map():
                self.ready.unregister(connection)
            connection.close()

    def _become(self, job: dict[str, Any], files: list[int], connection: socket.socket) -> None:
        """Turn this process, just forked, into that of a job."""
        server = os.getppid()
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        self.ready.close()
        for end in (self.listener, self.ended, self.waker, connection, *self.jobs.values()):
            end.close()
        os.setpgid(0, 0)  # a signal of the terminal comes once, through the job
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        sys.stdin, sys.stdout, sys.stderr = (_stream(old) for old in (sys.stdin, sys.stdout, sys.stderr))
        os.umask(job["umask"])
        os.chdir(job["folder"])
        os.environ.clear()
        os.environ.update(job["environment"])
        sys.path[0] = job["folder"]
        sys.argv = [job["module"], *job["arguments"]]
        sys.orig_argv = [sys.executable, "-m", *sys.argv]
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in FORWARDED:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _stream(old: TextIO) -> Any:
    """Return a stream to the same number of file, which may be of another kind than before."""
    buffering = 1 if old is sys.stderr else -1
    return open(old.fileno(), old.mode, buffering, old.encoding, old.errors, closefd=False)


def _send(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # its job was killed
        connection.sendall(b"%d\n" % number)


def main() -> None:
    """Load what jobs load, then serve; in a forked process do the job."""
    for number in FORWARDED:
        signal.signal(number, signal.SIG_IGN)
    for name in sys.argv[2:]:
        _load(name)
    read_loaded_modules()
    record()
    if others := _other_threads():
        sys.exit(f"no job server, as it has threads that a fork would lose: {', '.join(others)}")
    gc.freeze()  # the collector would otherwise write to, and so copy, all pages that forks share
    job = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if job is not None:
        _end_with(importlib.import_module(job["module"]).main)


def _other_threads() -> list[str]:
    """Return the names of the threads beside this one, without that of Arrow's allocator, which forks start
    anew."""
    task = Path("/proc/self/task")
    others = [thread for thread in os.listdir(task) if thread != str(os.getpid())]
    names = [(task / thread / "comm").read_text().strip() for thread in others]
    return sorted(name for name in names if name != ARROW)


def _load(name: str) -> None:
    module = importlib.import_module(name)
    if name.startswith(PACKAGE):
        for below in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
            _load(below.name)


def _end_with(work: Callable[[], None]) -> NoReturn:
    """Do the work of a stage and end as Python does, but leave the memory to the kernel: a fork that frees it
    copies it first."""
    code = 1
    try:
        run_stage(work)
        code = 0
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        else:
            code = stop.code or 0
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
