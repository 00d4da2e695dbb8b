# SPDX-License-Identifier: MIT
"""What a verdict on a sample of a victim's pages can miss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pytest_xenscrub.units import PAGE, gib

CERTAINTY: Final = 0.999
"""With which the leak that is told of is found."""


def shown_share(found: float) -> str:
    """A share that is found, in percent; rounded up, as what is said must hold."""
    return f"{math.ceil(found * 1e6) / 1e4:.4f}%"


@dataclass(frozen=True)
class Sampled:
    """A sample, and what was read of it.

    Attributes:
        filled: frames that the victim had filled.
        freed: frames that it had.
        read: of those that it had filled, frames that a probe read.
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
        """How many of those read were chosen one by one, and so for themselves: half of them.

        The others lie in runs: of a leak that is in runs too, a run shows no more than a page.
        """
        return self.read // 2

    @property
    def found(self) -> float:
        """The least share of all pages whose leak is found with `CERTAINTY`.

        A leak of a share p is missed by n pages, chosen at random, with probability (1 - p)^n,
        however it is spread.
        """
        return 1 - (1 - CERTAINTY) ** (1 / self.spread) if self.spread else 1.0

    def __str__(self) -> str:
        """A sentence."""
        return (
            f"{gib(self.filled * PAGE)} were filled, {self.share:.4%} of the victim's pages; a leak"
            f" of a share p of them is missed with probability (1-p)^{self.spread}: one of"
            f" {shown_share(self.found)} or more is found with {CERTAINTY:.1%} certainty"
        )
