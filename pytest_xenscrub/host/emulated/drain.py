# SPDX-License-Identifier: MIT
"""Gives pages of zeros back to this machine: what a memory file holds stays the same.

A scrubbed page is zeros, and so is a hole; the hole costs nothing. Nobody may write to the file
meanwhile: a byte that is written between the look at a page and the hole would be lost.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_xenscrub.host import holes
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_CHUNK: Final = 2 << 20
"""Bytes that are looked at together: they stay in a CPU's cache."""
_WORD: Final = 8
_PUNCH_HOLE: Final = 0x03
"""FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE"""


class Drain:
    """The pages of a memory file, and which of them are zeros.

    They are mapped and not read: a copy of each would cost more than the look at it.

    Args:
        fd: the file, writable; owned by the caller.
        size: its size, bytes; whole pages.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        view = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        self._pages: NDArray[np.uint64] = np.frombuffer(view, np.uint64).reshape(-1, PAGE // _WORD)
        self._address = self._pages.ctypes.data
        libc = ctypes.CDLL(None, use_errno=True)
        self._memcmp, self._fallocate = libc.memcmp, libc.fallocate
        self._memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        self._fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

    def close(self) -> None:
        """Let go of the mapping."""
        self._pages = np.empty((0, 0), np.uint64)

    @property
    def used_bytes(self) -> int:
        """Memory that the file takes, bytes."""
        return holes.used_bytes(self._fd)

    def sample(self, count: int) -> NDArray[np.uint64]:
        """About so many of the pages that are there, evenly spread, 512 words each."""
        ranges = list(holes.data(self._fd, self._size))
        pages = sum(end - start for start, end in ranges) // PAGE
        step = max(1, pages // count)
        found, skip = [np.empty((0, PAGE // _WORD), np.uint64)], 0
        for start, end in ranges:
            taken = self._pages[start // PAGE : end // PAGE][skip::step]
            found.append(taken.copy())
            skip = (skip - (end - start) // PAGE) % step
        return np.concatenate(found)

    def give_back(self, *, go_on: Callable[[], bool] = lambda: True) -> int:
        """Make a hole of each page of zeros.

        Args:
            go_on: asked now and then: whether to look at what follows, too.

        Returns:
            How many bytes were given back.
        """
        freed, start, end = 0, 0, 0
        for first, last in self._zeros(go_on):
            if first != end:
                freed += self._punch(start, end)
                start = first
            end = last
        return freed + self._punch(start, end)

    def _zeros(self, go_on: Callable[[], bool]) -> Iterator[tuple[int, int]]:
        """Begin and end of ranges of zeros that are there, in their order."""
        for start, end in holes.data(self._fd, self._size):
            for at in range(start, end, _CHUNK):
                if not go_on():
                    return
                length = min(_CHUNK, end - at)
                if self._is_zero(at, length):
                    yield at, at + length
                else:
                    yield from self._zero_pages(at, length)

    def _is_zero(self, at: int, length: int) -> bool:
        """Whether a range is zeros: its first word is, and each word equals the one before."""
        here = self._address + at
        return not self._pages[at // PAGE, 0] and not self._memcmp(
            here, here + _WORD, length - _WORD
        )

    def _zero_pages(self, at: int, length: int) -> Iterator[tuple[int, int]]:
        """Where pages of zeros are in a range that has others, too."""
        pages = self._pages[at // PAGE : (at + length) // PAGE]
        # Most pages that hold anything hold it in their first word.
        some = np.flatnonzero(pages[:, 0] == 0)
        if not len(some):
            return
        zero = np.zeros(len(pages) + 2, np.int8)
        zero[1 + some[~np.bitwise_or.reduce(pages[some], axis=1).astype(np.bool_)]] = 1
        edges = np.flatnonzero(np.diff(zero)).tolist()
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            yield at + first * PAGE, at + last * PAGE

    def _punch(self, start: int, end: int) -> int:
        if end == start:
            return 0
        if self._fallocate(self._fd, _PUNCH_HOLE, start, end - start):
            number = ctypes.get_errno()
            raise OSError(number, f"a hole cannot be made: {os.strerror(number)}")
        return end - start
