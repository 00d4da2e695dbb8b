# SPDX-License-Identifier: MIT
"""Describes the content of a machine's sparse RAM by a sample of its pages, for errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_xenscrub.host.emulated.drain import Drain

SAMPLE: Final = 4096
"""Number of pages in the sample; the shares are accurate to 2 %."""
_ONES: Final = np.uint64(0x0101_0101_0101_0101)
_EVEN: Final = np.arange(0, 512, 2, dtype=np.uint64)

PATTERN: Final = "the pattern with which guests fill their memory"
SCRUBBED: Final = "one byte all over, which a debug build of Xen scrubs with"
ZEROS: Final = "zeros"
OTHER: Final = "Xen's tables, dom0, and what else guests have"


def content_of(drain: Drain) -> str:
    """Describe the content of RAM, a line for each kind, the largest first."""
    pages = drain.sample(SAMPLE)
    used = drain.used_bytes
    numbers = _numbers(pages)
    lines = sorted(numbers.items(), key=lambda each: -each[1])
    return "\n".join(
        f"{gib(used * number / len(pages))}: {kind}" for kind, number in lines if number
    )


def _numbers(pages: NDArray[np.uint64]) -> dict[str, int]:
    """The number of pages of each kind; `pages` is an array of n by 512 words."""
    first = pages[:, :1]
    same = (pages == first).all(axis=1)
    zeros = same & (first[:, 0] == 0)
    scrubbed = same & ~zeros & (first[:, 0] == (first[:, 0] & np.uint64(0xFF)) * _ONES)
    # Every other word of the pattern is the guest's number plus the word's position in the page.
    pattern = (pages[:, ::2] - _EVEN == first).all(axis=1)
    known = {ZEROS: zeros, SCRUBBED: scrubbed, PATTERN: pattern}
    numbers = {kind: int(np.count_nonzero(which)) for kind, which in known.items()}
    return {**numbers, OTHER: len(pages) - sum(numbers.values())}
