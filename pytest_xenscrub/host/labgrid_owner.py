# SPDX-License-Identifier: MIT
"""Whose a place of labgrid's is, once a run is dead: it is given back by whoever is left.

A run that ends, however that may be, leaves its place to a process that waits for just that. If
that process was killed as well, with the whole machine say, the next run of the same user on the
same machine gives the place back: a run that lives holds the lock of a file.
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
    """The file whose lock tells that a run lives, by its name at labgrid.

    Args:
        owner: that name.

    Raises:
        CacheUnusableError: it cannot be written.
    """

    def __init__(self, owner: str) -> None:
        self._path = _mark(owner)
        with writing(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def end(self, *, forget: bool) -> None:
        """The run is over.

        Args:
            forget: nothing is left of it; else the next run looks.
        """
        if forget:
            self._path.unlink(missing_ok=True)
        self._file.close()


def release_dead(labgrid: Labgrid, places: Iterable[Place], say: Say) -> bool:
    """Give back what dead runs of this user's on this machine hold, and nothing else.

    Returns:
        Whether there was any.
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
    """A process that gives a place back when this one ends: in order, or killed.

    It is there before the place is acquired, and no signal for this run's processes reaches it.

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
        """Have it give the place back.

        Raises:
            InfrastructureError: labgrid did not take it; says how to do it by hand.
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
