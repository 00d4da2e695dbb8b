# SPDX-License-Identifier: MIT
"""Maps a host's RAM read-only, and finds machine frames in it."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host import holes
from pytest_xenscrub.outside.pattern import WORDS
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from pyroaring import BitMap64

    from pytest_xenscrub.host.memory import HostMemory

    Rows = NDArray[np.intp]

NOWHERE: Final = -1
"""Stands for the row of a frame that is not RAM."""
_FEW: Final = 4096
"""Up to this number of rows, each row is looked up by itself."""
_CHUNK: Final = 128
"""Pages that are read together: few enough for their copy to stay in a CPU's cache."""


def to_array(frames: BitMap64) -> NDArray[np.uint64]:
    """A set of frames as an array, ascending."""
    return np.fromiter(frames, np.uint64, len(frames))


class RamView:
    """RAM as an array of pages; a row is a page of the file, and not an MFN.

    The mapping belongs to this process. Until it is closed it keeps all of the host's memory, even
    after the host is gone.

    Attributes:
        pages: 512 words of each page; read-only.
        end: the frame behind the last one, an MFN.
    """

    def __init__(self, memory: HostMemory) -> None:
        view = mmap.mmap(memory.fd, memory.size, prot=mmap.PROT_READ)
        # A copy of the descriptor, because the host closes its own when it ends.
        self._fd = os.dup(memory.fd) if memory.sparse else -1
        if not memory.sparse:
            with contextlib.suppress(OSError):  # a kernel without huge pages is only slower
                view.madvise(mmap.MADV_HUGEPAGE)
        self.pages: NDArray[np.uint64] = np.frombuffer(view, "<u8").reshape(-1, WORDS)
        table = np.array(memory.extents, dtype=np.int64) // PAGE
        self._first, self._row, self._count = table.T
        self.end = int((self._first + self._count).max())

    def close(self) -> None:
        """Close the mapping, even if something still holds this view, such as a traceback."""
        self.pages = self.pages[:0].copy()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def data(self) -> Iterator[tuple[int, int]]:
        """The ranges of pages that may hold data: first row, and the row behind the last one.

        All other pages are holes, which hold zeros until they are written.
        """
        if self._fd < 0:
            yield 0, len(self.pages)
            return
        for start, end in holes.data(self._fd, len(self.pages) * PAGE):
            yield start // PAGE, end // PAGE

    def there(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether the page of each row exists. A hole holds zeros, and reading would fill it."""
        found = np.ones(len(rows), np.bool_)
        if self._fd < 0 or not len(rows):
            return found
        in_order = np.argsort(rows, kind="stable")
        ascending = rows[in_order]
        at = 0
        while at < len(rows):
            start = holes.next_data(self._fd, int(ascending[at]) * PAGE)
            row = len(self.pages) if start is None else start // PAGE
            behind = int(np.searchsorted(ascending, row))
            found[in_order[at:behind]] = False
            if behind < len(rows) and ascending[behind] == row:
                # Finding the end of a run takes long for a long run, so it is done for many rows
                # only.
                end = row + 1 if len(rows) <= _FEW else self._run_end(row)
                behind = int(np.searchsorted(ascending, end))
            at = behind
        return found

    def _run_end(self, row: int) -> int:
        """The row behind the run of existing pages that contains `row`."""
        return max(row + 1, os.lseek(self._fd, row * PAGE, os.SEEK_HOLE) // PAGE)

    def words(self, rows: Rows, at: int) -> NDArray[np.uint64]:
        """Word `at` of the pages in some rows."""
        if self._fd < 0:
            dense: NDArray[np.uint64] = self.pages[rows, at]
            return dense
        words = np.zeros(len(rows), np.uint64)
        there = self.there(rows)
        words[there] = self.pages[rows[there], at]
        return words

    def rows(self, frames: Iterable[int] | NDArray[np.uint64]) -> Rows:
        """The rows of some machine frames, in their order.

        Raises:
            InfrastructureError: one of the frames is not RAM.
        """
        mfns = np.asarray(frames if isinstance(frames, np.ndarray) else [*frames], dtype=np.int64)
        rows = self.find(mfns)
        wrong = rows == NOWHERE
        if wrong.any():
            raise InfrastructureError(
                f"{wrong.sum()} frames that a guest reported are not RAM of the machine; the first"
                f" one is MFN {mfns[wrong][0]:#x}",
                tried=f"RAM from MFN {self._first} on, {self._count} frames",
            )
        return rows

    def find(self, mfns: NDArray[np.int64]) -> Rows:
        """The rows of frames, in their order; `NOWHERE` for a frame that is not RAM."""
        which = np.searchsorted(self._first, mfns, side="right") - 1
        within = mfns - self._first[which]
        there = (which >= 0) & (within < self._count[which])
        rows: Rows = np.where(there, self._row[which] + within, NOWHERE).astype(np.intp)
        return rows

    @property
    def extents(self) -> list[tuple[int, int]]:
        """All of RAM: the first frame (MFN) and the number of frames of each extent."""
        return list(zip(self._first.tolist(), self._count.tolist(), strict=True))

    def mfns(self, rows: Rows) -> NDArray[np.int64]:
        """The machine frames of some rows; -1 for rows that have no machine address."""
        by_row = np.argsort(self._row)
        which = by_row[np.searchsorted(self._row[by_row], rows, side="right") - 1]
        within = rows - self._row[which]
        known = (within >= 0) & (within < self._count[which])
        return np.where(known, self._first[which] + within, -1)

    def chunks(self, rows: Rows) -> Iterator[tuple[slice, NDArray[np.uint64]]]:
        """Read pages a few at a time; gives which of `rows` they are, and their words.

        Consecutive rows, such as most of a guest's, are given as a view of RAM. Other rows, and
        rows with a hole among them, are given as a copy, which the next one overwrites.
        """
        buffer = np.empty((_CHUNK, WORDS), np.uint64)
        known = self.there(rows)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            where = slice(start, start + len(part))
            there = known[where]
            if not there.all():
                copy = buffer[: len(part)]
                copy[:] = 0
                copy[there] = self.pages[part[there]]
                yield where, copy
                continue
            if (np.diff(part) == 1).all():
                yield where, self.pages[part[0] : part[-1] + 1]
                continue
            copy = buffer[: len(part)]
            # mode="clip" lets numpy write straight into `out`; the default mode buffers, because it
            # can fail.
            np.take(self.pages, part, axis=0, out=copy, mode="clip")
            yield where, copy
