# SPDX-License-Identifier: MIT
"""Judges the content of a host's frames from outside, without asking Xen or a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from pyroaring import BitMap64

from pytest_xenscrub.errors import DisagreementError
from pytest_xenscrub.outside.frame_table import FrameTable
from pytest_xenscrub.outside.pattern import (
    NO_FRAME,
    POSITION_BITS,
    WORDS,
    matches,
    named,
    owner_word,
)
from pytest_xenscrub.outside.ram import RamView, to_array
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_xenscrub.host.memory import HostMemory
    from pytest_xenscrub.outside.ram import Rows

_SAMPLED: Final = (0, WORDS - 2)
"""Positions of the first and the last word of a page that name the guest: enough for a quick
look."""
_NO_POSITION: Final = np.uint64(~((1 << POSITION_BITS) - 1) & (1 << 64) - 1)
_SEARCHED_BYTES: Final = 1 << 20
_HALF: Final = 4
"""Bytes in half a word."""


class Oracle:
    """Reads the RAM of an emulated host from outside.

    Frames are MFNs. `pattern.named` decides what is a word of the pattern: it compares so many bits
    that other data does not pass for the pattern.

    Args:
        memory: the host's RAM.
        clean_byte: the byte that the host's Xen scrubs with.

    Attributes:
        ram: the host's RAM.
        frame_table: Xen's `frame_table` and M2P, read from RAM.
        proven: whether the place of frames in RAM was once checked, word by word.
        stood_seconds: how long the host has stood still so far, its clock included, s.
    """

    def __init__(self, memory: HostMemory, clean_byte: int) -> None:
        self.ram = RamView(memory)
        self.frame_table = FrameTable(self.ram, memory.page_tables)
        self.proven = False
        self.stood_seconds = memory.stood_seconds
        self._clean = np.uint64(int.from_bytes(bytes([clean_byte]) * 8, "little"))

    def clean(self, frames: BitMap64) -> BitMap64:
        """Those of `frames` in which every byte is the byte that this Xen scrubs with."""
        mfns = to_array(frames)
        clean = np.empty(len(mfns), np.bool_)
        for where, pages in self.ram.chunks(self.ram.rows(mfns)):
            clean[where] = self._are_clean(pages)
        return BitMap64(mfns[clean].tolist())

    def _are_clean(self, pages: NDArray[np.uint64]) -> NDArray[np.bool_]:
        all_bits = np.bitwise_or.reduce(pages, axis=1)
        common_bits = np.bitwise_and.reduce(pages, axis=1)
        clean: NDArray[np.bool_] = (all_bits == self._clean) & (common_bits == self._clean)
        return clean

    def holding(self, frames: BitMap64, run: int, guests: Iterable[int]) -> BitMap64:
        """Those of `frames` that hold a word of the pattern of one of these guests of a run."""
        mfns = to_array(frames)
        rows = self.ram.rows(mfns)
        owners = np.array([owner_word(run, guest) for guest in guests], np.uint64)
        return BitMap64(mfns[self.hold(rows, owners)].tolist())

    def hold(self, rows: Rows, owners: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each row, whether a word of one of `owners`, all of one run, is left there."""
        found = np.zeros(len(rows), np.bool_)
        if not len(owners):
            return found
        for where, pages in self.ram.chunks(rows):
            dirty = np.flatnonzero(~self._are_clean(pages))
            if len(dirty):
                held = named(pages[dirty], owners, clean=self._clean, end=self.ram.end)
                found[where.start + dirty[held]] = True
        return found

    def hold_sampled(self, rows: Rows, owner: np.uint64) -> NDArray[np.bool_]:
        """As `hold` for one owner, but looks at only two words of each page."""
        found = np.zeros(len(rows), np.bool_)
        for at in _SAMPLED:
            rest = np.flatnonzero(~found)
            found[rest] = self.ram.words(rows[rest], at) == owner + np.uint64(at)
        return found

    def prove(
        self,
        name: str,
        pfns: NDArray[np.uint64],
        mfns: NDArray[np.uint64],
        *,
        run: int,
        guest: int,
        filled: int,
        named: bool = True,
    ) -> None:
        """Check that each of a guest's frames holds the whole pattern of its page.

        Args:
            name: the guest's name.
            pfns: the guest's pages, as the guest reported them.
            mfns: the frame of each page.
            run: the run's number in the pattern.
            guest: the guest's number in the pattern.
            filled: number of pages that the guest reports to have filled.
            named: whether the guest knows its machine frames, so that its pattern names them.

        Raises:
            DisagreementError: a frame does not.
        """
        proven = 0
        for where, words in self.ram.chunks(self.ram.rows(mfns)):
            frames = mfns[where] if named else np.full(len(words), NO_FRAME, np.uint64)
            same = matches(words, pfns[where], frames, owner_word(run, guest))
            proven += int(np.count_nonzero(same))
        if proven != filled:
            raise DisagreementError(
                f"{name} has filled {filled} pages, and seen from outside {proven} of its frames"
                " hold what it wrote there",
                todo="a bug of pytest-xenscrub: in where we look for a frame, or in the filler",
            )
        self.proven = True
        self.frame_table.prove(mfns)

    def search(self, run: int, guest: int) -> dict[int, int]:
        """Search all of RAM for a guest's pattern, at any address, aligned or not.

        Returns:
            Number of the pattern's words that start in each frame.
        """
        owner = owner_word(run, guest)
        high = np.uint32(owner >> 32)
        low = np.uint32(owner & 0xFFFFFFFF)
        counts = np.zeros(len(self.ram.pages), np.int64)
        for first, last in self.ram.data():
            self._search(first * PAGE, last * PAGE, high, low, counts)
        rows = np.flatnonzero(counts)
        return dict(zip(self.ram.mfns(rows).tolist(), counts[rows].tolist(), strict=True))

    def _search(
        self, first: int, last: int, high: np.uint32, low: np.uint32, counts: NDArray[np.int64]
    ) -> None:
        """Count, by row, the words that begin in a range of the file and have these halves."""
        ram = self.ram.pages.reshape(-1).view(np.uint8)[:last]
        for start in range(first, last, _SEARCHED_BYTES):
            for shift in range(_HALF):
                part = ram[start + shift : start + shift + _SEARCHED_BYTES + _HALF]
                # The copy is aligned to words of 4 bytes, for any shift.
                halves = part[: len(part) // _HALF * _HALF].copy().view(np.uint32)
                at = np.flatnonzero(halves[1:] == high)
                at = at[halves[at] & np.uint32(_NO_POSITION & np.uint64(0xFFFFFFFF)) == low]
                if len(at):
                    here = np.bincount((shift + at * _HALF) // PAGE)
                    counts[start // PAGE :][: len(here)] += here
