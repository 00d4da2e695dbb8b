# SPDX-License-Identifier: MIT
"""The cache of trees and builds: content-addressed, without half-made entries, safe to share."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pytest_xenscrub.cache_folder import cache_root, writing
from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.deadline import Deadline


class Cache:
    """Folders by name; each is made once, in a scratch folder, and then renamed to its place.

    Args:
        root: the cache's folder; by default one in the user's cache folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_root() / "hypervisor"

    def path(self, *parts: str) -> Path:
        """The path of an entry, whether or not it exists."""
        return self.root.joinpath(*parts)

    @contextmanager
    def lock(self, *parts: str, deadline: Deadline) -> Iterator[Path]:
        """Hold an entry's lock, so that one of several runs makes the entry and the others wait.

        Raises:
            CacheUnusableError: the cache cannot be written.
            InfrastructureError: another run holds the lock beyond the deadline.
        """
        entry = self.path(*parts)
        lock = FileLock(f"{entry}.lock")
        try:
            with writing(entry):
                entry.parent.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=deadline.remaining)
        except Timeout:
            raise InfrastructureError(
                f"{deadline.step}: another run has been making it for {deadline.seconds:.0f} s",
                tried=f"lock {entry}.lock",
                todo="wait for that run to end, or stop it",
            ) from None
        try:
            yield entry
        finally:
            lock.release()

    @contextmanager
    def scratch(self, purpose: str) -> Iterator[Path]:
        """A temporary folder on the cache's file system, so that renaming is atomic.

        Raises:
            CacheUnusableError: the cache cannot be written, or its disk is full.
        """
        base = self.path("scratch")
        with writing(base):
            base.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=base))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def keep(self, name: str) -> Path:
        """A new folder for the evidence of a failure, which outlives the run."""
        base = self.path("failed")
        base.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
