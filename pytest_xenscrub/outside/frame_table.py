# SPDX-License-Identifier: MIT
"""Xen's own account of each machine frame (`frame_table`), read in its RAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from pyroaring import BitMap64

from pytest_xenscrub.outside.ram import to_array
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_xenscrub.outside.ram import RamView

# As x86's config.h and mm.h have them, from Xen 4.9 on.
_START: Final = 0xFFFF_82E0_0000_0000
"""FRAMETABLE_VIRT_START."""
_ENTRY_BYTES: Final = 32
"""sizeof(struct page_info)"""
_COUNT_INFO_AT: Final = 8
_ALLOCATED: Final = np.uint64(1 << 63)
"""PGC_allocated: of a domain's page, as long as the domain has it."""
_XEN_HEAP: Final = np.uint64(1 << 62)
"""PGC_xen_heap: Xen keeps its own data in it, or shares it with a domain."""
_ENTRIES: Final = PAGE // _ENTRY_BYTES
_KNOWN: Final = 64
"""Frames that the table is asked for, to see that it is one."""


class FrameTable:
    """What Xen says of frames.

    Args:
        ram: the host's RAM.
        translate: where a virtual address of Xen is, a machine address; None where nowhere.

    Attributes:
        proven: whether it was once seen to say what is the case.
    """

    def __init__(self, ram: RamView, translate: Callable[[int], int | None]) -> None:
        self._ram = ram
        self._translate = translate
        self._machine: dict[int, int] = {}
        self.proven = False

    def prove(self, frames: NDArray[np.uint64]) -> None:
        """See whether the table is where we look for it: of a live guest's frames it must say so.

        Args:
            frames: MFNs.
        """
        said = self._count_info(frames[:: max(1, len(frames) // _KNOWN)])
        self.proven = bool((said & (_ALLOCATED | _XEN_HEAP) == _ALLOCATED).all())

    def xen_heap(self, frames: BitMap64) -> BitMap64:
        """Those of `frames` (MFNs) that are Xen's heap: it has them, and no domain does.

        None, where the table is not proven to be where we look for it.
        """
        if not (self.proven and frames):
            return BitMap64()
        mfns = to_array(frames)
        said = self._count_info(mfns) & (_ALLOCATED | _XEN_HEAP) == _XEN_HEAP
        return BitMap64(mfns[said].tolist())

    def _count_info(self, mfns: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """`count_info` of each frame; 0 of those that the table does not have."""
        found = np.zeros(len(mfns), np.uint64)
        pages = mfns // np.uint64(_ENTRIES)
        for page in np.unique(pages):
            machine = self._machine_address(int(page))
            if machine is None:
                continue
            words = self._ram.pages[self._ram.rows([machine // PAGE])][0]
            here = pages == page
            at = (mfns[here] % np.uint64(_ENTRIES)) * np.uint64(_ENTRY_BYTES // 8)
            found[here] = words[at + np.uint64(_COUNT_INFO_AT // 8)]
        return found

    def _machine_address(self, page: int) -> int | None:
        """Where a page of the table is: asked for once, as Xen never moves it."""
        if page not in self._machine:
            machine = self._translate(_START + page * PAGE)
            if machine is None:
                return None
            self._machine[page] = machine
        return self._machine[page]
