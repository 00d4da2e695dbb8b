# SPDX-License-Identifier: MIT
"""Which leaks a sample of a victim's pages can miss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pytest_xenscrub.units import PAGE, gib

CERTAINTY: Final = 0.999
"""Probability with which a verdict finds a leak of the share that it reports."""


def shown_share(found: float) -> str:
    """Format a share as a percentage, rounded up, so that the reported share is really found."""
    return f"{math.ceil(found * 1e6) / 1e4:.4f}%"


@dataclass(frozen=True)
class Sampled:
    """A sample of a victim's pages, and how much of it was read.

    Attributes:
        filled: number of frames that the victim filled.
        freed: number of frames that the victim had.
        read: number of filled frames that a probe read.
    """

    filled: int
    freed: int
    read: int

    @property
    def share(self) -> float:
        """Filled frames ÷ frames."""
        return self.filled / self.freed

    @property
    def spread(self) -> int:
        """Number of read pages that were chosen one by one: half of all.

        The other half lie in runs. Pages of one run may leak together, so a whole run may show no
        more than a single page.
        """
        return self.read // 2

    @property
    def found(self) -> float:
        """The smallest leak that is found with `CERTAINTY`, as a share of all pages.

        n pages, chosen at random, miss a leak of a share p with probability (1 - p)^n, however the
        leak is spread.
        """
        return 1 - (1 - CERTAINTY) ** (1 / self.spread) if self.spread else 1.0

    def __str__(self) -> str:
        """A sentence on how much was filled and which leak that finds."""
        return (
            f"{gib(self.filled * PAGE)} were filled, {self.share:.4%} of the victim's pages; a leak"
            f" of a share p of them is missed with probability (1-p)^{self.spread}: one of"
            f" {shown_share(self.found)} or more is found with {CERTAINTY:.1%} certainty"
        )
