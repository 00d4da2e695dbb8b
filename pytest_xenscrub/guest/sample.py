# SPDX-License-Identifier: MIT
"""Chooses the pages that a victim fills with --xen-fill; must agree with `kernel/sample.h`.

Half of a sample are single pages at random places, and half are runs of 2 MiB, which fill whole
extents.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_xenscrub.guest.frames import PfnMap

_ALL: Final = 1 << 32
"""A threshold above every hash (SAMPLE_ALL in C)."""
_RUN_BITS: Final = 9
"""A run has 2^9 = 512 pages (RUN_PAGES in C)."""
_DENSE_STREAM: Final = 0xD1B54A32D192ED03
_STEP: Final = 0x9E3779B97F4A7C15
_MIX: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_NUMBER_BITS: Final = 23
"""Bits of a guest's number (GUEST_BITS in C)."""


@dataclass(frozen=True)
class Sample:
    """A choice of pages.

    Attributes:
        seed: seed of the hashes.
        single: threshold for pages: a page is chosen if the hash of its number is below it.
        dense: threshold for runs: a whole run is chosen if the hash of its number is below it.
    """

    seed: int
    single: int
    dense: int

    @classmethod
    def of(cls, share: float, seed: int) -> Sample:
        """A sample of about that share of all pages.

        Raises:
            ConfigurationError: the share is smaller than a hash can express.
        """
        dense = share / 2
        # Single pages are chosen from the pages outside runs, and together with these are the
        # share.
        single = dense / (1 - dense)
        if share * _ALL < 1:
            raise ConfigurationError(
                f"{share:.3g} is too small a share: it fills no page",
                todo="give a larger share, as 1/256",
            )
        return cls(seed, max(1, int(single * _ALL)), int(dense * _ALL))

    def of_guest(self, number: int) -> Sample:
        """The sample of one guest: the same share, but a different choice in each guest."""
        return dataclasses.replace(self, seed=self.seed << _NUMBER_BITS | number)

    @property
    def words(self) -> str:
        """The sample, for a guest's command line."""
        return f"seed={self.seed:#x} single={self.single:#x} dense={self.dense:#x}"

    def has(self, pfns: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each page is chosen."""
        import numpy as np  # noqa: PLC0415 - only where a guest was filled in part

        single = _hashes(self.seed, pfns) < np.uint64(self.single)
        runs = pfns >> np.uint64(_RUN_BITS)
        dense: NDArray[np.bool_] = _hashes(self.seed ^ _DENSE_STREAM, runs) < np.uint64(self.dense)
        return dense | single

    def frames(self, pages: PfnMap) -> NDArray[np.uint64]:
        """The frames (MFNs) of the pages that are chosen."""
        pfns, mfns = pages.arrays()
        return mfns[self.has(pfns)]


def _hashes(seed: int, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hashes of numbers, 32 bits each; all arithmetic is modulo 2^64, as in C."""
    import numpy as np  # noqa: PLC0415 - as above

    z = np.uint64(seed) + (numbers + np.uint64(1)) * np.uint64(_STEP)
    for shift, factor in _MIX:
        z = (z ^ z >> np.uint64(shift)) * np.uint64(factor)
    return (z ^ z >> np.uint64(31)) >> np.uint64(32)


@dataclass(frozen=True)
class FillChoice:
    """The value of `--xen-fill`: which share of a victim's pages is filled.

    Attributes:
        share: share of a victim's pages; 1 for all.
        seed: seed for the choice; None for a random one.
    """

    share: float = 1.0
    seed: int | None = None

    def sample(self, seed: int) -> Sample | None:
        """The run's sample by `seed`, or by the seed of --xen-fill; None for all pages."""
        return None if self.share == 1 else Sample.of(self.share, self.seed or seed)
