# SPDX-License-Identifier: MIT
"""Lists of a guest's frames: a map of pages to frames, and the runs that its console prints."""

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

    The group's pages are consecutive, from `pfn` on, in the order of the runs.
    """

    pfn: int
    mfn: int
    length: int
    step: int
    runs: int


class PfnMap:
    """Maps a guest's pages to frames: groups of runs, in the order of PFNs."""

    _WIDTH = 5

    def __init__(self) -> None:
        self._rows = array("q")
        self._next = 0

    def add(self, group: Group) -> None:
        """Add a group.

        Raises:
            ValueError: the group's pages do not come after all earlier pages.
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
        """All pages that have a frame, and their frames: PFNs and MFNs, an entry for each page.

        Args:
            only: leave out all frames (MFNs) but these; None for all.
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
    """Collects the frames of a list that comes in several lines.

    Args:
        mapped: whether the list says which page each frame belongs to.

    Attributes:
        frames: MFNs.
        pages: number of frames in the list; more than in `frames` if one came twice.
        map: map of pages to frames; None if the list is not mapped.
    """

    def __init__(self, *, mapped: bool) -> None:
        self.frames = BitMap64()
        self.pages = 0
        self.map = PfnMap() if mapped else None

    def add(self, runs: str, *, pfn: int, most: int) -> None:
        """Add runs ``mfn:length`` or ``mfn:length:step:count``, in hex, separated by commas.

        Args:
            runs: the runs' text.
            pfn: the page of the first frame; used only if the list is mapped.
            most: upper bound on the pages of the whole list.

        Raises:
            ValueError: a run is malformed or impossible.
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
