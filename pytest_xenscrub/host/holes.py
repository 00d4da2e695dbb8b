# SPDX-License-Identifier: MIT
"""Finds the parts of a memory file that exist; the others are holes, which read as zeros.

Reading a hole through a mapping fills the hole with a page of this machine. So code that reads
sparse RAM must first ask here which parts exist. Pages that were swapped out count as existing.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 512
"""Unit of `st_blocks` on every file system, bytes: stat(2)."""


def used_bytes(fd: int) -> int:
    """Memory that a memory file takes, bytes."""
    return os.fstat(fd).st_blocks * _BLOCK


def next_data(fd: int, offset: int) -> int | None:
    """Offset of the next data at or behind an offset; None if only a hole follows."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each range that is not a hole, in order.

    Args:
        fd: the file; this changes only its position.
        size: where to stop, bytes.
    """
    end = 0
    while end < size:
        start = next_data(fd, end)
        if start is None or start >= size:
            return
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end
