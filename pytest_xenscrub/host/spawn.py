# SPDX-License-Identifier: MIT
"""Child processes that the kernel kills when this process ends, even by SIGKILL."""

from __future__ import annotations

import shutil
import subprocess
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import IO

from pytest_xenscrub.errors import MissingToolError

_Job = tuple[list[str], "int | IO[bytes]", "int | IO[bytes]", tuple[int, ...], "Future[_Process]"]
_Process = subprocess.Popen[bytes]


class _Spawner(threading.Thread):
    """The thread that starts all of them.

    The kernel's "parent death" is the death of the *thread* that forked, so this thread must stay
    alive.
    """

    def __init__(self) -> None:
        super().__init__(name="xenscrub-spawner", daemon=True)
        self.jobs: SimpleQueue[_Job] = SimpleQueue()

    def run(self) -> None:
        while True:
            argv, stdout, stderr, fds, future = self.jobs.get()
            try:
                child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=fds,
                    start_new_session=True,
                )
            except BaseException as error:  # raised in the thread that asked
                future.set_exception(error)
            else:
                future.set_result(child)


_lock = threading.Lock()
_spawner: _Spawner | None = None


def spawn_tied(
    argv: list[str],
    *,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a new session; the kernel kills it when this process ends.

    Args:
        argv: the program and its arguments.
        stdout: as for `subprocess.Popen`.
        stderr: as for `subprocess.Popen`.
        pass_fds: descriptors that the program inherits, under the same numbers.

    Raises:
        MissingToolError: `setpriv` (util-linux) is not installed.
        OSError: the program cannot be started.
    """
    global _spawner  # noqa: PLW0603 - one thread per process, made on first use
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise MissingToolError("setpriv is not installed", todo="apt-get install util-linux")
    with _lock:
        if _spawner is None or not _spawner.is_alive():
            _spawner = _Spawner()
            _spawner.start()
        spawner = _spawner
    future: Future[_Process] = Future()
    command = [setpriv, "--pdeathsig", "KILL", "--", *argv]
    spawner.jobs.put((command, stdout, stderr, pass_fds, future))
    return future.result()


def end(process: subprocess.Popen[bytes], grace: float = 2.0) -> None:
    """End a process and reap it: SIGTERM, then after `grace` seconds SIGKILL."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
