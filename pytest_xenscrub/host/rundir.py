# SPDX-License-Identifier: MIT
"""A folder for each host in use, which the next run removes if this one cannot."""

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
"""Sockets live here, and a socket's path has at most 107 bytes."""


def base_folder() -> Path:
    """The folder of all runs of this user, ours alone.

    Raises:
        InfrastructureError: someone else owns the folder of that name, or none can be made.
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
    """Where the folder may be, the best first; what is too long for a socket is left out."""
    parents = []
    with contextlib.suppress(FileNotFoundError):  # Python's word for: none can be written
        parents.append(tempfile.gettempdir())
    parents += ["/tmp", "/var/tmp"]  # noqa: S108 - checked by base_folder
    # Last, as it is small: what an emulated host's disk takes is kept there too.
    parents += [os.environ.get("XDG_RUNTIME_DIR", "")]
    known = dict.fromkeys(parents)
    return [each for each in known if each.startswith("/") and len(os.fsencode(each)) <= _BASE_MAX]


class RunFolder:
    """A folder whose lock is held for as long as this process lives."""

    def __init__(self) -> None:
        while True:
            base = base_folder()
            # Another run that ends may remove the base before we hold its lock.
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
        """Remove it. Never raises, may be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
        with contextlib.suppress(OSError):  # another run is in it
            self.path.parent.rmdir()


@contextlib.contextmanager
def _guard(base: Path) -> Iterator[None]:
    """Nobody may sweep between the making of a folder and the locking of it."""
    guard = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)


def sweep(base: Path) -> list[Path]:
    """Remove the folders of runs that are dead, and what still runs for them.

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
    """Kill the QEMU of a dead run: only if its command line names the run's folder."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "qemu.pid").read_text())
        process = Path("/proc") / str(pid)
        if str(folder).encode() in (process / "cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            for _ in range(100):
                if not process.exists():
                    break
                time.sleep(0.02)
