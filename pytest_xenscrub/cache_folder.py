# SPDX-License-Identifier: MIT
"""The project's folder in the user's cache: its place, and errors of writing there."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import platformdirs

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ELSEWHERE = "set XDG_CACHE_HOME to a folder that you can write, on a disk with 6 GiB to spare"


class CacheUnusableError(InfrastructureError):
    """The cache cannot be written; its content may still be usable."""


def cache_root() -> Path:
    """The project's folder in the user's cache; need not exist.

    Raises:
        CacheUnusableError: the user has no home folder, and no other place for caches is set.
    """
    root = None
    with contextlib.suppress(RuntimeError):  # platformdirs raises this without a home folder
        root = platformdirs.user_cache_path("pytest-xenscrub")
    if root is None or not root.is_absolute():  # an earlier platformdirs leaves "~"
        raise CacheUnusableError(
            "there is no folder for caches: HOME is not set, and this uid has no home",
            todo=_ELSEWHERE,
        )
    return root


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise `CacheUnusableError` for system errors while the cache is written."""
    try:
        yield
    except TimeoutError:
        raise  # another run holds a lock
    except OSError as error:
        if isinstance(error, FileNotFoundError) and folder.parent.exists():
            raise  # a file that a build should have made is missing, which is not the disk's fault
        raise CacheUnusableError(
            f"the cache cannot be written: {error.strerror or error}",
            tried=str(error.filename or folder),
            todo=_ELSEWHERE,
        ) from None
    except NotImplementedError:  # filelock raises this on a file system without locks
        raise CacheUnusableError(
            "the cache is on a file system that has no locks", tried=str(folder), todo=_ELSEWHERE
        ) from None


def need_room(folder: Path, size: int, purpose: str) -> None:
    """Check that a disk has room, before any work begins.

    Args:
        folder: a folder on that disk; made if needed.
        size: bytes that are needed.
        purpose: what they are needed for: "building the host's image".

    Raises:
        CacheUnusableError: there is less room, or the folder cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if free < size:
        raise CacheUnusableError(
            f"{purpose} needs {gib(size)} of disk, and {gib(free)} are free",
            tried=str(folder),
            todo=f"make room there, or {_ELSEWHERE}",
        )
