# SPDX-License-Identifier: MIT
"""Translates Xen's virtual addresses to places in RAM, by the x86 page tables there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_xenscrub.outside.pattern import WORDS
from pytest_xenscrub.outside.ram import NOWHERE
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.outside.ram import RamView, Rows

_PRESENT: Final = np.uint64(1)
_SUPERPAGE: Final = np.uint64(1 << 7)
"""PS: the entry maps a page of 2 MiB or 1 GiB, not a table."""
_FRAME: Final = np.uint64((1 << 52) - PAGE)
"""The bits of an entry that hold an address."""
_LEVELS: Final = (WORDS**3, WORDS**2, WORDS)
"""Number of pages that an entry of an L4, L3 and L2 table maps."""


class PageTables:
    """The page tables below one L4.

    Args:
        ram: the host's RAM.
        root: address of the L4, as in CR3.
    """

    def __init__(self, ram: RamView, root: int) -> None:
        self._ram = ram
        self._root = (root & int(_FRAME)) // PAGE

    def rows(self, start: int, pages: int) -> Rows:
        """The rows of RAM that hold `pages` pages from address `start` on.

        `NOWHERE` for pages that are not mapped, or not mapped to RAM.
        """
        first = (start // PAGE) % WORDS**4
        parts, done = [], 0
        while done < pages:
            mfns = self._mapped(first + done)[: pages - done]
            parts.append(self._ram.find(mfns))
            done += len(mfns)
        return np.concatenate(parts)

    def _mapped(self, page: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """MFNs of a page and its followers in the same table or superpage; -1 if unmapped."""
        table = self._root
        for covers in _LEVELS:
            rest = covers - page % covers
            row = self._ram.find(np.array([table]))[0]
            entry = self._ram.pages[row, page // covers % WORDS] if row != NOWHERE else np.uint64()
            if not entry & _PRESENT:
                return np.full(rest, -1)
            if entry & _SUPERPAGE:
                base = int(entry & _FRAME) // PAGE // covers * covers
                return np.arange(base + covers - rest, base + covers)
            table = int(entry & _FRAME) // PAGE
        row = self._ram.find(np.array([table]))[0]
        if row == NOWHERE:
            return np.full(rest, -1)
        entries = self._ram.pages[row, page % WORDS :]
        mfns = ((entries & _FRAME) // np.uint64(PAGE)).astype(np.int64)
        return np.where(entries & _PRESENT, mfns, -1)
