# SPDX-License-Identifier: MIT
"""Recognises the pattern that a filler writes, as `guest/kernel/pattern.h` defines it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS: Final = 512
"""Words of 8 bytes in a page."""
KIND_OWNER: Final = 0xA9
KIND_PFN: Final = 0xB6
KIND_MFN: Final = 0xD5
POSITION_BITS: Final = 9
NO_FRAME: Final = (1 << 40) - 1
"""Stands for the MFN in the pattern of a guest that does not know its MFNs."""

_NO_POSITION: Final = np.uint64(~((1 << POSITION_BITS) - 1) & (1 << 64) - 1)
_UPPER: Final = np.uint64(0xFFFF_FFFF_0000_0000)
_HALF_BITS: Final = np.uint64(32)
_KIND_BITS: Final = np.uint64(56)
_FRAME_BITS: Final = np.uint64(16)
_FRAME_MASK: Final = np.uint64((1 << 40) - 1)
_CHECK_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_CHECK_SHIFT: Final = np.uint64(57)
POSITIONS: Final[NDArray[np.uint64]] = np.arange(WORDS, dtype=np.uint64)


def owner_word(run: int, guest: int) -> int:
    """The word that names a guest: word `i` of a page, for even `i`, is this word plus `i`."""
    return KIND_OWNER << 56 | run << 32 | guest << POSITION_BITS


def frame_words(kind: int, frames: NDArray[np.uint64], owner: int) -> NDArray[np.uint64]:
    """The words that name these pages or frames, as a guest writes them, with position 0."""
    identity = np.uint64((owner & (1 << 56) - 1) >> POSITION_BITS)
    # Multiplies modulo 2^64, as in C.
    check = ((frames + identity) * _CHECK_FACTOR) >> _CHECK_SHIFT
    return np.uint64(kind << 56) | frames << np.uint64(16) | check << np.uint64(POSITION_BITS)


def named(
    pages: NDArray[np.uint64], owners: NDArray[np.uint64], *, clean: np.uint64, end: int
) -> NDArray[np.bool_]:
    """Which pages (n by 512 words) hold a word that one of these guests wrote.

    Any part of a page may have been scrubbed. A word that names a guest counts at any place in the
    page, and also if only its upper half, which names the run, is left. A word that names a page or
    a frame has only a check of the guest in it. So it counts only at its own place, and only if no
    word of the page names a guest.

    Args:
        pages: the pages.
        owners: the words that name the guests, all of one run; not empty.
        clean: a scrubbed word.
        end: upper bound; the numbers of pages and frames are below it.
    """
    found = np.zeros(len(pages), np.bool_)
    named_here = (pages >> _HALF_BITS == owners[0] >> _HALF_BITS).any(axis=1)
    if named_here.any():
        half = (owners[:1] & _UPPER | clean & ~_UPPER) & _NO_POSITION
        words = pages[named_here] & _NO_POSITION
        found[named_here] = np.isin(words, [*owners, *half]).any(axis=1)
    rest = np.flatnonzero(~named_here)
    for kind, first in ((KIND_PFN, 1), (KIND_MFN, 3)):
        words = pages[rest, first::4] - POSITIONS[first::4]
        numbers = words >> _FRAME_BITS & _FRAME_MASK
        row, column = np.nonzero((words >> _KIND_BITS == np.uint64(kind)) & (numbers < end))
        for owner in owners if len(row) else ():
            same = frame_words(kind, numbers[row, column], int(owner)) == words[row, column]
            found[rest[row[same]]] = True
    return found


def matches(
    pages: NDArray[np.uint64],
    pfns: NDArray[np.uint64],
    mfns: NDArray[np.uint64],
    owner: int,
) -> NDArray[np.bool_]:
    """Which pages (n by 512 words) hold, in each word, what their guest wrote there."""
    base = pages - POSITIONS
    same: NDArray[np.bool_] = (base[:, 0::2] == np.uint64(owner)).all(axis=1)
    same &= (base[:, 1::4] == frame_words(KIND_PFN, pfns, owner)[:, None]).all(axis=1)
    same &= (base[:, 3::4] == frame_words(KIND_MFN, mfns, owner)[:, None]).all(axis=1)
    return same
