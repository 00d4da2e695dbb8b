# SPDX-License-Identifier: MIT
"""Folders of the cache that are built once, completely or not at all, by one process of several."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pytest_xenscrub.cache_folder import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.telling import Say

KEEP = 3
"""Number of folders of one kind that stay in the cache."""


@contextmanager
def locked(path: Path, deadline: Deadline, say: Say) -> Iterator[None]:
    """Hold a lock file; tells the user if another run holds it.

    Raises:
        CacheUnusableError: the cache cannot be written.
        DeadlineExceededError: the other run did not release the lock in time.
    """
    lock = FileLock(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        say(f"another run holds {path.name}: waiting")
        try:
            lock.acquire(timeout=deadline.remaining)
        except Timeout:
            raise deadline.error(lock=str(path)) from None
    try:
        yield
    finally:
        lock.release()


def build_once(
    folder: Path, build: Callable[[Path], None], *, say: Say, deadline: Deadline
) -> None:
    """Let `build` fill a folder of the cache, unless it exists: completely, or not at all.

    Raises:
        DeadlineExceededError: another run that builds it took too long.
    """
    with locked(folder.parent / f"{folder.name}.lock", deadline, say):
        if folder.is_dir():
            with contextlib.suppress(OSError):
                os.utime(folder)
            return
        _sweep(folder.parent, f"{folder.name}.tmp-")
        with writing(folder):
            work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent))
            try:
                build(work)
                work.rename(folder)
                _prune(folder.parent)
            finally:
                shutil.rmtree(work, ignore_errors=True)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what killed builds left; the caller holds the lock."""
    for old in parent.glob(f"{prefix}*"):
        shutil.rmtree(old, ignore_errors=True)


def _prune(parent: Path) -> None:
    """Remove the images that were unused for longest; a run that uses one has its files open."""
    images = [path for path in parent.iterdir() if path.is_dir() and ".tmp-" not in path.name]
    images.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in images[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
