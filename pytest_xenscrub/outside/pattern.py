# SPDX-License-Identifier: MIT
"""The pattern that a filler writes, as `guest/kernel/pattern.h` defines it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS: Final = 512
"""Of 8 bytes, in a page."""
KIND_OWNER: Final = 0xA9
KIND_PFN: Final = 0xB6
KIND_MFN: Final = 0xD5
POSITION_BITS: Final = 9
NO_FRAME: Final = (1 << 40) - 1
"""In place of an MFN, of a guest that knows none."""

_CHECK_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_CHECK_SHIFT: Final = np.uint64(57)
POSITIONS: Final[NDArray[np.uint64]] = np.arange(WORDS, dtype=np.uint64)


def owner_word(run: int, guest: int) -> int:
    """The word that names a guest; word `i` of a page, `i` even, is this plus `i`."""
    return KIND_OWNER << 56 | run << 32 | guest << POSITION_BITS


def frame_words(kind: int, frames: NDArray[np.uint64], owner: int) -> NDArray[np.uint64]:
    """The words that name these pages or frames, as a guest writes them; without position."""
    identity = np.uint64((owner & (1 << 56) - 1) >> POSITION_BITS)
    # Multiplied modulo 2^64, as in C.
    check = ((frames + identity) * _CHECK_FACTOR) >> _CHECK_SHIFT
    return np.uint64(kind << 56) | frames << np.uint64(16) | check << np.uint64(POSITION_BITS)


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
