# SPDX-License-Identifier: MIT
"""Probes against RAM itself: what a guest of ours says of a frame must be what is in it."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import DisagreementError
from pytest_xenscrub.guest.events import Filled, Scanned
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pyroaring import BitMap64

    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.outside.oracle import Oracle
    from pytest_xenscrub.scrub.verdict import Verdict

_SHOWN: Final = 8
_MOST_USED: Final = 32, 0.02
"""Pages that a probe may write to after it has read them: so many, and that share of its own."""
_SETTLE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.1


class CrossCheck:
    """Compares verdicts with the host's RAM, seen from outside.

    Args:
        oracle: the host's RAM.
        guests: the test's guests: which of them live.
    """

    def __init__(self, oracle: Oracle, guests: GuestFactory) -> None:
        self._oracle = oracle
        self._guests = guests

    def agree(self, guest: Guest) -> None:
        """See that a guest that has scanned, lives and idles said what is the case of each frame.

        A guest that has written over what it read, or has ended, is passed over: what it saw is
        there no more.

        Raises:
            DisagreementError: it did not.
        """
        if guest.ended or not _scanned_last(guest):
            return
        gone = guest.ballooned
        used = guest.frames_of("used")
        most, share = _MOST_USED
        if len(used) > most + share * guest.memory_bytes / PAGE:
            raise _error(f"{guest.name} says it uses frames", used, "more than it can need")
        clean = guest.frames_of("clean") - used - gone
        residue = guest.frames_of("residue") - used - gone
        if wrong := clean - self._oracle.clean(clean):
            raise _error(f"{guest.name} called frames clean", wrong, "which hold data")
        if wrong := self._oracle.clean(residue):
            raise _error(f"{guest.name} called frames dirty", wrong, "which are clean")
        # What those held before is not to be seen any more; nobody's pattern may be in them now.
        if wrong := self._holding(used):
            raise _error(f"{guest.name} uses frames", wrong, "which hold a pattern")

    def complete(self, verdict: Verdict) -> Verdict:
        """Judge the victim's frames that no probe was given.

        Only once nothing waits for its scrub and no domain is dying: until then they may hold
        bytes. Only a pattern condemns them, as who has them now may write what he likes, and none
        of what guests that live say is theirs: one of them may be the victim, moved. Nor those of
        Xen's heap: it takes pages as they are, and scrubs them when it frees them.
        """
        rest = verdict.victim - verdict.read_frames - verdict.given_back
        for guest in self._guests.guests.values():
            if not guest.ended:
                rest -= guest.frames
        end = time.monotonic() + _SETTLE_SECONDS
        while self._drained():
            held = self._holding(rest)
            kept = self._oracle.frame_table.xen_heap(held)
            if held == kept or time.monotonic() > end:
                return dataclasses.replace(
                    verdict, outside_clean=rest - held, outside_residue=held - kept, kept=kept
                )
            time.sleep(_POLL_SECONDS)
        return verdict

    def _holding(self, frames: BitMap64) -> BitMap64:
        return self._oracle.holding(frames, self._guests.run, self._guests.guests)

    def _drained(self) -> bool:
        dom0 = self._guests.dom0
        return not any(domain.dying for domain in dom0.domains()) and dom0.backlog_pages() == 0


def _scanned_last(guest: Guest) -> bool:
    """Whether its last work was to read, so that what it read is still there."""
    work = [event for event in guest.events if isinstance(event, Scanned | Filled)]
    return bool(work) and isinstance(work[-1], Scanned)


def _error(said: str, frames: BitMap64, which: str) -> DisagreementError:
    shown = ", ".join(f"{mfn:#x}" for mfn in frames[:_SHOWN])
    return DisagreementError(
        f"{said} {which}, seen from outside: {len(frames)} of them",
        tried=f"MFNs {shown}{', ...' if len(frames) > _SHOWN else ''}",
        todo="this is an error of ours, in the probe or in how we look from outside: no verdict of"
        " this run counts",
    )
