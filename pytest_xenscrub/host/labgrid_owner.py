# SPDX-License-Identifier: MIT
"""Releases labgrid's places of runs that ended in any way, even by SIGKILL.

A separate process waits for the end of its run, and releases the run's place then. If that process
was killed too, for example with the whole machine, the next run of the same user on the same
machine releases the place. A living run holds the lock of a file, so the next run can tell that it
is alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import tempfile
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.cache_folder import cache_root, writing
from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_xenscrub.host.labgrid import Labgrid, Place
    from pytest_xenscrub.telling import Say

RELEASE_SECONDS: Final = 60.0
_AT_THE_END: Final = 'cat >/dev/null; exec "$@"'
_NOT_OURS: Final = "is not acquired"


class Alive:
    """The file of a run whose lock shows that the run is alive.

    Args:
        owner: the run's name at labgrid.

    Raises:
        CacheUnusableError: the file cannot be written.
    """

    def __init__(self, owner: str) -> None:
        self._path = _mark(owner)
        with writing(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def end(self, *, forget: bool) -> None:
        """Release the lock at the end of the run.

        Args:
            forget: whether the run has released its place; otherwise the file stays for the next
                run.
        """
        if forget:
            self._path.unlink(missing_ok=True)
        self._file.close()


def release_dead(labgrid: Labgrid, places: Iterable[Place], say: Say) -> bool:
    """Release the places of dead runs of this user on this machine, and no others.

    Returns:
        Whether there were any.
    """
    found = False
    for place in places:
        if not labgrid.own_runs.fullmatch(place.acquired):
            continue
        mark = _mark(place.acquired)
        with contextlib.suppress(FileNotFoundError, BlockingIOError), mark.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            labgrid.run(
                f"giving back {place.name}", "-p", place.name, "release-from", place.acquired
            )
            mark.unlink(missing_ok=True)
            say(f"labgrid: {place} was a dead run's of yours, and is given back")
            found = True
    return found


def _mark(owner: str) -> Path:
    return cache_root() / "labgrid" / owner.replace("/", "_")


class Guard:
    """A process that releases a place when this process ends, in order or killed.

    The process is started before the place is acquired, in a session of its own, so that signals
    for this run's processes do not reach it.

    Args:
        labgrid: labgrid's program.
        place: the place's name.
    """

    def __init__(self, labgrid: Labgrid, place: str) -> None:
        self._place = place
        self._release = labgrid.command("-p", place, "release-from", labgrid.owner)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `release`
        self._process = subprocess.Popen(
            ["sh", "-c", _AT_THE_END, "sh", *self._release],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=self._said,
            start_new_session=True,
        )

    def release(self) -> None:
        """Make the process release the place now.

        Raises:
            InfrastructureError: labgrid did not take the place back; the error says how to do it by
                hand.
        """
        assert self._process.stdin is not None  # noqa: S101 - it has a pipe
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            status = self._process.wait(timeout=RELEASE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        self._said.close()
        if status != 0 and _NOT_OURS not in said:
            raise InfrastructureError(
                f"labgrid did not take {self._place} back",
                todo=f"{' '.join(self._release)}; the next run tries it, too",
                evidence={"it said": said},
            )
