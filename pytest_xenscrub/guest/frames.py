# SPDX-License-Identifier: MIT
"""Lists of a guest's frames: which is behind which page, and runs of them as its console tells."""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, NamedTuple

from pyroaring import BitMap64

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_RUN = re.compile(r"([0-9a-f]+):([0-9a-f]+)(?::(-?[0-9a-f]+):([0-9a-f]+))?")


class Group(NamedTuple):
    """`runs` runs of `length` consecutive frames; each starts `step` frames after the last.

    Its pages are consecutive, from `pfn` on, in the order of the runs.
    """

    pfn: int
    mfn: int
    length: int
    step: int
    runs: int


class PfnMap:
    """Which frame is behind which page of a guest: groups of runs, in PFN order."""

    _WIDTH = 5

    def __init__(self) -> None:
        self._rows = array("q")
        self._next = 0

    def add(self, group: Group) -> None:
        """Adds a group.

        Raises:
            ValueError: its pages do not come after those that are there.
        """
        if group.pfn < self._next:
            raise ValueError(f"page {group.pfn} comes after page {self._next - 1}")
        self._rows.extend(group)
        self._next = group.pfn + group.length * group.runs

    def __len__(self) -> int:
        """Number of pages that have a frame."""
        return sum(group.length * group.runs for group in self.groups())

    def groups(self) -> Iterator[Group]:
        """All groups, in PFN order."""
        for at in range(0, len(self._rows), self._WIDTH):
            yield Group(*self._rows[at : at + self._WIDTH])

    def arrays(self, only: BitMap64 | None = None) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """All pages that have a frame, and the frame of each: PFNs and MFNs, one entry a page.

        Args:
            only: frames (MFNs) to which they are restricted; None for all.
        """
        import numpy as np  # noqa: PLC0415 - only where RAM is read from outside

        parts = [np.empty((2, 0), np.int64)]
        for group in self.groups():
            starts = group.mfn + np.arange(group.runs, dtype=np.int64) * group.step
            mfns = (starts[:, None] + np.arange(group.length)).reshape(-1)
            parts.append(np.stack([group.pfn + np.arange(len(mfns)), mfns]))
        pfns, mfns = np.concatenate(parts, axis=1).astype(np.uint64)
        if only is None:
            return pfns, mfns
        chosen = np.isin(mfns, np.fromiter(only, np.uint64, len(only)))
        return pfns[chosen], mfns[chosen]


class FrameList:
    """Frames that come in runs, until all are there.

    Args:
        mapped: whether they are told page by page.

    Attributes:
        frames: MFNs.
        pages: how many were told; more than `frames` if one was told twice.
        map: page to frame; None unless they are mapped.
    """

    def __init__(self, *, mapped: bool) -> None:
        self.frames = BitMap64()
        self.pages = 0
        self.map = PfnMap() if mapped else None

    def add(self, runs: str, *, pfn: int, most: int) -> None:
        """Adds runs ``mfn:length`` or ``mfn:length:step:count``, in hex, parted by commas.

        Args:
            runs: their text.
            pfn: the page of the first; of use to a map only.
            most: how many pages there can be in all.

        Raises:
            ValueError: a run is malformed, or cannot be.
        """
        for text in runs.split(","):
            run = _RUN.fullmatch(text)
            if run is None:
                raise ValueError(f"{text} is not a run")
            mfn, length = int(run[1], 16), int(run[2], 16)
            step, count = (int(run[3], 16), int(run[4], 16)) if run[3] else (length, 1)
            last = mfn + step * (count - 1)
            pages = length * count
            if not pages or not step or last < 0 or self.pages + pages > most:
                raise ValueError(f"{text} cannot be")
            if abs(step) == length:
                self.frames.add_range(min(mfn, last), max(mfn, last) + length)
            else:
                for start in range(mfn, last + (1 if step > 0 else -1), step):
                    self.frames.add_range(start, start + length)
            if self.map is not None:
                self.map.add(Group(pfn, mfn, length, step, count))
                pfn += pages
            self.pages += pages
