# SPDX-License-Identifier: MIT
"""A folder for each host in use; the next run removes the folder of a run that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.system_errors import explained

if TYPE_CHECKING:
    from collections.abc import Iterator

_BASE_MAX = 50
"""Longest path of the folder: it has sockets, and a socket's path has at most 107 bytes."""


def base_folder() -> Path:
    """The folder of all runs of this user, which no other user can read.

    Raises:
        InfrastructureError: another user owns the folder of that name, or it cannot be made.
    """
    refused: dict[str, str] = {}
    for parent in _parents():
        base = Path(parent) / f"xenscrub-{os.geteuid()}"
        try:
            base.mkdir(mode=0o700, exist_ok=True)
            status = base.lstat()
        except OSError as error:
            refused[parent] = error.strerror or str(error)
            continue
        if (
            not stat.S_ISDIR(status.st_mode)
            or status.st_uid != os.geteuid()
            or status.st_mode & 0o077
        ):
            raise InfrastructureError(
                f"{base} is not a folder of ours alone",
                todo="remove it, or set TMPDIR to another folder",
            )
        if os.access(base, os.W_OK):
            return base
        refused[parent] = "Read-only file system"
    raise InfrastructureError(
        "there is no folder for sockets and temporary files",
        tried="; ".join(f"{parent}: {why}" for parent, why in refused.items()),
        todo=f"set TMPDIR to a folder that you can write, of at most {_BASE_MAX} characters",
    )


def _parents() -> list[str]:
    """Parents for the folder, the best first; leaves out paths that are too long for a socket."""
    parents = []
    with contextlib.suppress(FileNotFoundError):  # Python raises that if no folder is writable
        parents.append(tempfile.gettempdir())
    parents += ["/tmp", "/var/tmp"]  # noqa: S108 - checked by base_folder
    # The last choice, because it is small, and an emulated host's disk writes go there too.
    parents += [os.environ.get("XDG_RUNTIME_DIR", "")]
    known = dict.fromkeys(parents)
    return [each for each in known if each.startswith("/") and len(os.fsencode(each)) <= _BASE_MAX]


class RunFolder:
    """A folder with a lock that this process holds as long as it lives."""

    def __init__(self) -> None:
        while True:
            base = base_folder()
            # Another run that ends may remove the base folder before this run has its lock.
            try:
                with _guard(base):
                    sweep(base)
                    self._make(base)
                return
            except FileNotFoundError:
                continue
            except OSError as error:
                raise explained(error, "a temporary folder cannot be made") from None

    def _make(self, base: Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        with contextlib.ExitStack() as unless_locked:
            unless_locked.callback(shutil.rmtree, self.path, ignore_errors=True)
            self._lock = unless_locked.enter_context((self.path / "lock").open("w"))
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            unless_locked.pop_all()

    def close(self) -> None:
        """Remove the folder. Never raises, may be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
        with contextlib.suppress(OSError):  # other runs may use the base folder
            self.path.parent.rmdir()


@contextlib.contextmanager
def _guard(base: Path) -> Iterator[None]:
    """Keep other runs from sweeping between the making of a folder and its locking."""
    guard = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)


def sweep(base: Path) -> list[Path]:
    """Remove the folders of dead runs, and end what still runs for them.

    Returns:
        The folders that were removed.
    """
    swept = []
    for folder in base.glob("run-*"):
        with contextlib.suppress(OSError):
            with (folder / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _kill_left(folder)
                shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder)
    return swept


def _kill_left(folder: Path) -> None:
    """Kill the QEMU of a dead run, if its command line names the run's folder."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "qemu.pid").read_text())
        process = Path("/proc") / str(pid)
        if str(folder).encode() in (process / "cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            for _ in range(100):
                if not process.exists():
                    break
                time.sleep(0.02)
