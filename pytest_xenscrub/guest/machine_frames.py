# SPDX-License-Identifier: MIT
"""Finds the machine frames (MFNs) of guests that know only their own frame numbers (GFNs)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
from pyroaring import BitMap64

from pytest_xenscrub.errors import DisagreementError
from pytest_xenscrub.guest.events import DirtyPage, Hello, Ranges
from pytest_xenscrub.guest.frames import Group, PfnMap

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_xenscrub.guest.events import Event

    Look = Callable[[int], tuple[NDArray[np.uint64], NDArray[np.uint64]]]

UNKNOWN_MFN: Final = -1
"""Stands for the MFN of a page whose frame is unknown."""
_NEW_FRAMES: Final = ("own", "frames", "populated")
"""Kinds of lists that a guest prints when it may have other frames than before."""


class MachineFrames:
    """Replaces the GFNs that a guest prints by MFNs.

    Args:
        name: the guest's name.
        look: reads from outside the pages (GFNs, ascending) and frames (MFNs) of a domain. None if
            RAM cannot be read from outside: then lists of frames are empty, and no verdict rests on
            them.
        on_demand: whether the guest is populated on demand. Xen may have reclaimed pages full of
            zeroes from such a guest, and the guest lists these pages all the same.
    """

    def __init__(self, name: str, look: Look | None, *, on_demand: bool = False) -> None:
        self._name = name
        self._on_demand = on_demand
        self._look = look
        self._gfns = np.empty(0, np.uint64)
        self._mfns = self._gfns

    def translate(self, event: Event, domid: int) -> Event:
        """Replace the frames of an event by MFNs.

        Frames that a guest has given back get the MFNs that they had when the guest last got new
        frames.

        Raises:
            DisagreementError: the guest lists pages that it does not have by Xen's tables.
        """
        new = isinstance(event, Hello) or (isinstance(event, Ranges) and event.kind in _NEW_FRAMES)
        if new and self._look is not None:
            self._gfns, self._mfns = self._look(domid)
        if isinstance(event, Ranges):
            return self._ranges(event)
        if isinstance(event, DirtyPage):
            known = self._look is not None
            mfn = int(self._frames(np.array([event.mfn], np.uint64))[0]) if known else UNKNOWN_MFN
            return dataclasses.replace(event, mfn=mfn)
        return event

    def gfns(self, frames: BitMap64) -> list[int]:
        """The guest's own numbers (GFNs) of some of its frames (MFNs)."""
        wanted = np.fromiter(frames, np.uint64, len(frames))
        return [int(gfn) for gfn in self._gfns[np.isin(self._mfns, wanted)]]

    def _ranges(self, told: Ranges) -> Ranges:
        if self._look is None:
            return Ranges(told.kind, BitMap64(), told.pages)
        gfns = np.fromiter(told.frames, np.uint64, len(told.frames))
        if self._on_demand:
            gfns = gfns[np.isin(gfns, self._gfns)]
        mfns = self._frames(gfns)
        if told.kind == "frames":
            # All frames of the domain count, rings and firmware tables too: they hold data of the
            # guest, but the guest lists only its RAM.
            return Ranges(
                "frames", BitMap64(self._mfns.tolist()), len(self._mfns), _map(gfns, mfns)
            )
        return Ranges(told.kind, BitMap64(mfns.tolist()), len(mfns))

    def _frames(self, gfns: NDArray[np.uint64]) -> NDArray[np.uint64]:
        at = np.searchsorted(self._gfns, gfns)
        known = at < len(self._gfns)
        known[known] = self._gfns[at[known]] == gfns[known]
        if not known.all():
            raise DisagreementError(
                f"{self._name} reports {np.count_nonzero(~known)} pages that are not its own by"
                f" Xen's frame_table, seen from outside; the first is GFN {gfns[~known][0]:#x}",
                todo="a bug of pytest-xenscrub: in where we look for Xen's tables, or in"
                " their layout",
            )
        return self._mfns[at]


def _map(gfns: NDArray[np.uint64], mfns: NDArray[np.uint64]) -> PfnMap:
    """Make a map of pages to frames; `gfns` must ascend."""
    pages = PfnMap()
    if not len(gfns):
        return pages
    breaks = np.flatnonzero((np.diff(gfns) != 1) | (np.diff(mfns.astype(np.int64)) != 1)) + 1
    for start, end in zip([0, *breaks], [*breaks, len(gfns)], strict=True):
        length = int(end - start)
        pages.add(Group(int(gfns[start]), int(mfns[start]), length, length, 1))
    return pages
