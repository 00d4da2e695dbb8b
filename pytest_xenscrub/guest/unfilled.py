# SPDX-License-Identifier: MIT
"""Keeps track of frames whose last owner did not fill them: a clean one proves nothing.

All guests of a test share the set, which is updated whenever a guest lists its frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, DisagreementError
from pytest_xenscrub.guest.events import Ballooned, Filled, Populated
from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    from pyroaring import BitMap64

    from pytest_xenscrub.guest.events import Ranges
    from pytest_xenscrub.guest.live import LiveGuest


def keep_sample(guest: LiveGuest, ranges: Ranges, unfilled: BitMap64) -> None:
    """Update `unfilled` after a guest has listed frames.

    Raises:
        DisagreementError: the guest has filled other pages than its seed says.
        ConfigurationError: the guest has filled no page.
    """
    filled = guest.last(Filled)
    if filled is None or not guest.knows_frames:
        return
    if ranges.kind == "populated" and filled.sample is not None:
        unfilled.update(ranges.frames)
    if ranges.kind != "frames":
        return
    holding = guest.filled_frames
    unfilled.update(ranges.frames)
    unfilled.difference_update(holding)
    if filled.sample is not None:
        _check(guest, filled, len(holding))


def _check(guest: LiveGuest, filled: Filled, holding: int) -> None:
    """Check that the guest filled as many pages as its seed says, if it still has all of them."""
    changes = [e for e in guest.events if isinstance(e, Filled | Ballooned | Populated)]
    if changes[-1] is not filled:
        return
    if not filled.pages:
        raise ConfigurationError(
            f"{guest.name}: of its {gib(guest.memory_bytes)} a share so small fills no page",
            todo="give a larger share: --xen-fill",
        )
    if holding != filled.pages:
        raise DisagreementError(
            f"{guest.name} has filled {filled.pages} pages, and by its seed it is {holding} of"
            " those that it has",
            todo="this is an error of ours: in what is sampled, in C or in Python",
            evidence=guest.evidence(),
        )
