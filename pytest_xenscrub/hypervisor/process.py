# SPDX-License-Identifier: MIT
"""Runs programs on this machine: logs their output, and ends their children at the deadline."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError, MissingToolError
from pytest_xenscrub.telling import Update, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline

PACKAGES = {
    "apt-get": "apt",
    "dpkg": "dpkg",
    "bison": "bison",
    "dpkg-source": "dpkg-dev",
    "flex": "flex",
    "gcc": "gcc",
    "git": "git",
    "make": "make",
    "patch": "patch",
    "python3": "python3",
    "spatch": "coccinelle",
}
"""Debian's packages of programs that may be missing."""


def missing(*programs: str) -> dict[str, str]:
    """The missing ones of some programs, with their Debian packages."""
    return {
        program: PACKAGES.get(program, program)
        for program in programs
        if shutil.which(program) is None
    }


def need(*programs: str, purpose: str) -> None:
    """Check that programs are installed, before any work begins.

    Raises:
        MissingToolError: some are not; the error names them and their packages.
    """
    if lacking := missing(*programs):
        raise MissingToolError(
            f"{purpose}: not found on this machine: {', '.join(lacking)}",
            todo=f"apt-get install {' '.join(sorted(set(lacking.values())))}",
        )


def run(
    argv: Sequence[str],
    *,
    deadline: Deadline,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    update: Update = quiet,
) -> tuple[int, str]:
    """Run a program to its end; its output goes to `log`, and line by line to `update`.

    The program gets its own process group, which is killed when the deadline passes or this process
    is interrupted, so that a `make -j` leaves no compiler behind.

    Returns:
        The exit status and the output.

    Raises:
        InfrastructureError: the deadline passed; the evidence has the last lines of output.
    """
    lines: list[str] = []
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with _start(argv, cwd, env or {}) as process:
        reader = threading.Thread(target=_read_lines, args=(process, arrived), daemon=True)
        reader.start()
        try:
            for line in _follow(process, arrived, deadline):
                lines.append(line)
                update(line.rstrip())
        except (queue.Empty, subprocess.TimeoutExpired):
            raise InfrastructureError(
                f"{deadline.step}: not done after {deadline.seconds:.0f} s",
                tried=" ".join(argv),
                evidence={"last lines": "".join(lines[-10:])},
            ) from None
        finally:
            if process.poll() is None:
                _kill_group(process)
            reader.join(timeout=5)
            text = "".join(lines)
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    file.write(f"$ {' '.join(argv)}\n{text}")
    return process.returncode, text


def _start(argv: Sequence[str], cwd: Path | None, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a program in a new session, with its output in one pipe."""
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _follow(
    process: subprocess.Popen[str], arrived: queue.SimpleQueue[str | None], deadline: Deadline
) -> Iterator[str]:
    """The program's lines as they come, until it has ended.

    Raises:
        queue.Empty: the deadline passed before the output ended.
        subprocess.TimeoutExpired: the deadline passed before the program ended.
    """
    while (line := arrived.get(timeout=max(0.001, deadline.remaining))) is not None:
        yield line
    process.wait(timeout=max(0.001, deadline.remaining))


def _read_lines(process: subprocess.Popen[str], arrived: queue.SimpleQueue[str | None]) -> None:
    """Move a program's output into a queue, so that waits can time out; None marks its end."""
    assert process.stdout is not None  # noqa: S101
    for line in process.stdout:
        arrived.put(line)
    arrived.put(None)


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a program and everything that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
