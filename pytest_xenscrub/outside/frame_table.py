# SPDX-License-Identifier: MIT
"""Reads Xen's tables of machine frames, `frame_table` and M2P, in its RAM."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
from pyroaring import BitMap64

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.outside.page_tables import PageTables
from pytest_xenscrub.outside.pattern import WORDS
from pytest_xenscrub.outside.ram import NOWHERE, to_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_xenscrub.outside.ram import RamView

    Mfns = NDArray[np.uint64]

# Values of x86's config.h and mm.h, since Xen 4.9.
_START: Final = 0xFFFF_82E0_0000_0000
"""FRAMETABLE_VIRT_START."""
_M2P_START: Final = 0xFFFF_8000_0000_0000
"""RO_MPT_VIRT_START: M2P has the page of the owner for each machine frame."""
_ENTRY_WORDS: Final = 4
"""sizeof(struct page_info) / 8"""
_COUNT_INFO: Final = 1
_OWNER: Final = 3
"""Index of the owner's word in an entry; its low half is the frame of its `struct domain`."""
_ALLOCATED: Final = np.uint64(1 << 63)
"""PGC_allocated: set in a domain's page while the domain has the page."""
_XEN_HEAP: Final = np.uint64(1 << 62)
"""PGC_xen_heap: Xen keeps its own data in the frame, or shares the frame with a domain."""
_FRAME: Final = np.uint64(0xFFFF_FFFF)
_DOMID: Final = np.uint64(0xFFFF)
"""The first field of `struct domain`."""
_NOT_THERE: Final = np.uint64(0)
_NO_PAGE: Final = ~np.uint64(0)
_MAPPED_SHARE: Final = 0.99
"""Share of RAM's frames that have an entry in Xen's tables; the firmware keeps a few."""
_LOOKS: Final = 4
_LOOK_AGAIN_SECONDS: Final = 0.2
_SHOWN: Final = 8
_KNOWN: Final = 64
"""Number of frames by which the table is checked."""


class _XenTable:
    """A table of Xen with an entry of `words` words for each machine frame, at address `start`."""

    def __init__(self, ram: RamView, start: int, words: int) -> None:
        self._ram = ram
        self._start = start
        self._words = words
        self._rows = np.empty(0, np.intp)

    def find(self, page_tables: PageTables) -> bool:
        """Find the table by page tables; returns whether they map it for all of RAM."""
        pages = -(-self._ram.end * self._words // WORDS)
        rows = page_tables.rows(self._start, pages)
        of_ram = np.concatenate(
            [
                rows[first * self._words // WORDS : -(-(first + count) * self._words // WORDS)]
                for first, count in self._ram.extents
            ]
        )
        if np.count_nonzero(of_ram != NOWHERE) < _MAPPED_SHARE * len(of_ram):
            return False
        self._rows = rows
        return True

    def word(self, mfns: Mfns, word: int, missing: np.uint64 = _NOT_THERE) -> Mfns:
        """A word of the entries of some frames; `missing` for frames without an entry."""
        at = mfns.astype(np.int64) * self._words + word
        pages = at // WORDS
        rows = np.full(len(mfns), NOWHERE)
        known = pages < len(self._rows)
        rows[known] = self._rows[pages[known]]
        there = rows != NOWHERE
        found = np.full(len(mfns), missing)
        found[there] = self._ram.pages[rows[there], at[there] % WORDS]
        return found


class FrameTable:
    """What Xen's tables say of frames.

    Args:
        ram: the host's RAM.
        page_tables: see `HostMemory`.

    Attributes:
        proven: whether the table was once right about known frames.
    """

    def __init__(self, ram: RamView, page_tables: Callable[[], list[int]]) -> None:
        self._ram = ram
        self._page_tables = page_tables
        self._frames = _XenTable(ram, _START, _ENTRY_WORDS)
        self._m2p = _XenTable(ram, _M2P_START, 1)
        self._located = False
        self.proven = False

    def locate(self) -> bool:
        """Find the tables; done once, because Xen does not move them.

        Each address space of Xen and of a PV guest maps the tables for all of RAM. Page tables that
        map less are a PVH or HVM guest's own: the CPU is then looked at again later.

        Returns:
            Whether the tables were found.
        """
        for _ in range(_LOOKS):
            if self._located or any(self._find_by(root) for root in self._page_tables()):
                self._located = True
                break
            time.sleep(_LOOK_AGAIN_SECONDS)
        return self._located

    def _find_by(self, root: int) -> bool:
        page_tables = PageTables(self._ram, root)
        return self._m2p.find(page_tables) and self._frames.find(page_tables)

    def prove(self, frames: NDArray[np.uint64]) -> None:
        """Check that the table is right about a live guest's frames, which must be allocated.

        Args:
            frames: MFNs.
        """
        located = self.locate()
        said = self._count_info(frames[:: max(1, len(frames) // _KNOWN)])
        self.proven = located and bool((said & (_ALLOCATED | _XEN_HEAP) == _ALLOCATED).all())

    def xen_heap(self, frames: BitMap64) -> BitMap64:
        """Those of `frames` (MFNs) that belong to Xen's heap, and not to a domain.

        Empty if the table is not proven.
        """
        if not (self.proven and frames):
            return BitMap64()
        mfns = to_array(frames)
        said = self._count_info(mfns) & (_ALLOCATED | _XEN_HEAP) == _XEN_HEAP
        return BitMap64(mfns[said].tolist())

    def tables(self, frames: BitMap64) -> BitMap64:
        """Those of `frames` (MFNs) that Xen uses or sets aside for its page tables.

        Such frames are in use, but belong neither to a domain nor to Xen's heap: `count_info` is 0,
        or 1 once the frame holds a page table of a guest. Empty if the table is not proven.
        """
        if not (self.proven and frames):
            return BitMap64()
        mfns = to_array(frames)
        said = self._frames.word(mfns, _COUNT_INFO, missing=_NO_PAGE)
        return BitMap64(mfns[said <= np.uint64(1)].tolist())

    def _count_info(self, mfns: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return self._frames.word(mfns, _COUNT_INFO)

    def frames_of(self, domid: int, *, on_demand: bool = False) -> tuple[Mfns, Mfns]:
        """The pages of a domain (GFNs, ascending), and their machine frames.

        Leaves out frames that Xen allocated for itself on the domain's behalf (page tables,
        shared_info). The result rests on fields of Xen that are not an interface, so the caller
        must check in RAM that these frames hold the domain's pages.

        Args:
            domid: the domain.
            on_demand: whether the domain is populated on demand (PoD). Xen may have reclaimed a
                page full of zeroes from such a domain, and leaves that frame's M2P entry until the
                domain gets the frame again. If a page has several frames, those full of zeroes are
                left out, but one is kept.

        Raises:
            InfrastructureError: the tables are not found, do not have the domain, or have two
                frames for one page.
        """
        if not self.locate():
            raise InfrastructureError(
                "Xen's frame_table and M2P were not found in RAM, read from outside",
                todo="a bug of pytest-xenscrub: in where we look for the tables",
            )
        for _ in range(_LOOKS):
            gfns, mfns = self._look(domid)
            if on_demand:
                gfns, mfns = self._without_reclaimed(gfns, mfns)
            twice = np.flatnonzero(np.diff(gfns) == 0)
            if not len(twice):
                return gfns, mfns
            # Xen may have changed one table after the other was read.
            time.sleep(_LOOK_AGAIN_SECONDS)
        raise self._two_frames(domid, gfns[twice], mfns[twice], mfns[twice + 1])

    def _look(self, domid: int) -> tuple[Mfns, Mfns]:
        mfns = np.arange(self._ram.end, dtype=np.uint64)
        mfns = mfns[self._count_info(mfns) & (_ALLOCATED | _XEN_HEAP) == _ALLOCATED]
        owners = self._frames.word(mfns, _OWNER) & _FRAME
        mfns = mfns[owners == self._struct_domain(np.unique(owners), domid)]
        gfns = self._m2p.word(mfns, 0, missing=_NO_PAGE)
        in_order = np.argsort(gfns, kind="stable")
        # M2P is all ones for a frame that is not a page of its owner.
        in_order = in_order[gfns[in_order] < np.uint64(1 << 40)]
        return gfns[in_order], mfns[in_order]

    def _without_reclaimed(self, gfns: Mfns, mfns: Mfns) -> tuple[Mfns, Mfns]:
        """Drop frames full of zeroes if a page has several frames, but keep at least one."""
        shared = np.zeros(len(gfns), np.bool_)
        shared[1:] = gfns[1:] == gfns[:-1]
        shared[:-1] |= shared[1:]
        empty = shared.copy()
        empty[shared] = ~self._ram.pages[self._ram.rows(mfns[shared])].any(axis=1)
        in_order = np.lexsort((empty, gfns))
        gfns, mfns, empty = gfns[in_order], mfns[in_order], empty[in_order]
        empty[0:1] = False
        empty[1:] &= gfns[1:] == gfns[:-1]
        return gfns[~empty], mfns[~empty]

    def _two_frames(self, domid: int, gfns: Mfns, some: Mfns, others: Mfns) -> InfrastructureError:
        def told(mfns: Mfns) -> str:
            infos = self._count_info(mfns[:_SHOWN])
            return ", ".join(
                f"{mfn:#x} ({info:#x})" for mfn, info in zip(mfns, infos, strict=False)
            )

        return InfrastructureError(
            f"Xen's M2P has two frames for each of {len(gfns)} pages of domain {domid}",
            evidence={
                "GFNs": ", ".join(hex(gfn) for gfn in gfns[:_SHOWN]),
                "MFNs (count_info)": told(some),
                "and": told(others),
            },
        )

    def _struct_domain(self, candidates: NDArray[np.uint64], domid: int) -> np.uint64:
        for frame in candidates[candidates > 0]:
            if self._ram.pages[self._ram.rows([int(frame)])[0], 0] & _DOMID == domid:
                return np.uint64(frame)
        raise InfrastructureError(
            f"Xen's frame_table, seen from outside, has no frame of domain {domid}",
            todo="a bug of pytest-xenscrub: in where we look for the table, or in its layout",
        )
