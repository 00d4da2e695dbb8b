# SPDX-License-Identifier: MIT
"""Which parts of a memory file are really there: the others are holes, and a hole is zeros.

A mapping that reads a hole fills it, with a page that this machine must find. Who looks at a host's
RAM that is sparse asks here first. Pages that were swapped out count as there.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 512
"""What `st_blocks` counts in, whatever the file system: stat(2)."""


def used_bytes(fd: int) -> int:
    """Memory that a memory file takes, bytes."""
    return os.fstat(fd).st_blocks * _BLOCK


def next_data(fd: int, offset: int) -> int | None:
    """Where data begins at or behind an offset; None if only a hole follows."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each range that is no hole, in their order.

    Args:
        fd: the file; only its position changes.
        size: how far to look, bytes.
    """
    end = 0
    while end < size:
        start = next_data(fd, end)
        if start is None or start >= size:
            return
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end
