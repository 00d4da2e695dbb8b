# SPDX-License-Identifier: MIT
"""Turns pages of zeros in a memory file into holes, which take no memory, without other changes.

A scrubbed page is full of zeros, and so is a hole. The file must not be written to meanwhile: a
byte that is written after the check of its page, but before the hole is made, would be lost.
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
"""Bytes that are checked together: few enough for a CPU's cache."""
_WORD: Final = 8
_PUNCH_HOLE: Final = 0x03
"""FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE"""


class Drain:
    """The pages of a memory file.

    The file is mapped, because copying each page would cost more than checking it.

    Args:
        fd: the file, writable; owned by the caller.
        size: size of the file, bytes; whole pages.
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
        """Unmap the file."""
        self._pages = np.empty((0, 0), np.uint64)

    @property
    def used_bytes(self) -> int:
        """Memory that the file takes, bytes."""
        return holes.used_bytes(self._fd)

    def sample(self, count: int) -> NDArray[np.uint64]:
        """A sample of about `count` existing pages, evenly spread, 512 words each."""
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
        """Turn each page of zeros into a hole.

        Args:
            go_on: called now and then; stops early if it returns false.

        Returns:
            The number of bytes that were given back.
        """
        freed, start, end = 0, 0, 0
        for first, last in self._zeros(go_on):
            if first != end:
                freed += self._punch(start, end)
                start = first
            end = last
        return freed + self._punch(start, end)

    def _zeros(self, go_on: Callable[[], bool]) -> Iterator[tuple[int, int]]:
        """Begin and end of each range of zeros that is not a hole, in order."""
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
        """Whether a range is zeros: its first word is 0, and each word equals the previous one."""
        here = self._address + at
        return not self._pages[at // PAGE, 0] and not self._memcmp(
            here, here + _WORD, length - _WORD
        )

    def _zero_pages(self, at: int, length: int) -> Iterator[tuple[int, int]]:
        """The pages of zeros in a range that has other pages, too."""
        pages = self._pages[at // PAGE : (at + length) // PAGE]
        # In most pages with data, the first word is not zero.
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
