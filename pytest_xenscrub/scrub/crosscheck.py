# SPDX-License-Identifier: MIT
"""Compares what probes report of frames with what RAM holds, read from outside."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

from pyroaring import BitMap64

from pytest_xenscrub.guest.events import DirtyPage, Filled, Scanned
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.outside.oracle import Oracle
    from pytest_xenscrub.scrub.verdict import Verdict

_SHOWN: Final = 8
_MOST_USED: Final = 64, 0.0025
"""Pages that a probe may write to after it has read them: a fixed number for its stacks, and a
share of its own pages for its page tables (one page in 512) and bitmaps."""
_SETTLE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.1


@dataclasses.dataclass(frozen=True)
class Compared:
    """What RAM says of a guest's report.

    Attributes:
        missed: frames that the guest called clean and that hold a dead guest's pattern.
        disputed: frames that cannot be judged: the guest called them dirty, and they are clean, or
            the guest called them clean, and they hold something other than a pattern.
        differences: contradictions between guest and RAM, a sentence each; empty if they agree.
    """

    missed: BitMap64 = dataclasses.field(default_factory=BitMap64)
    disputed: BitMap64 = dataclasses.field(default_factory=BitMap64)
    differences: tuple[str, ...] = ()


class CrossCheck:
    """Compares verdicts with the host's RAM, seen from outside.

    Neither witness can clear a frame that the other one proves dirty. A dead guest's pattern is
    proof, whichever witness saw it, because no code of this project invents a pattern.

    Args:
        oracle: the host's RAM.
        guests: the test's guests; tells which of them live.
    """

    def __init__(self, oracle: Oracle, guests: GuestFactory) -> None:
        self._oracle = oracle
        self._guests = guests

    def compare(self, guest: Guest) -> Compared:
        """Compare a guest's report of each frame with the content of that frame.

        Compares nothing if the guest has ended, or has written to its memory since it read it: RAM
        no longer holds what the guest saw then.
        """
        if guest.ended or not _scanned_last(guest):
            return Compared()
        clean_said, dirty_said = guest.frames_of("clean"), guest.frames_of("residue")
        used = guest.frames_of("used")
        changed = used | guest.ballooned
        dirty = (clean_said - changed) - self._oracle.clean(clean_said - changed)
        missed = self._left_by_the_dead(dirty, guest)
        used_missed = self._missed_in(used, guest)
        cleaned = self._oracle.clean(dirty_said - changed)
        proven = cleaned & self._proven(guest)
        too_many = used if len(used) > _most_used(guest) else BitMap64()
        name = guest.name
        differences = [
            _difference(f"{name} called frames clean", missed, "which hold a dead guest's pattern"),
            _difference(f"{name} called frames clean", dirty - missed, "which hold data"),
            _difference(f"{name} uses frames", used_missed, "which hold a dead guest's pattern"),
            _difference(f"{name} says it uses frames", too_many, "more than it can need"),
            _difference(f"{name} called frames dirty", cleaned - proven, "which are clean"),
            _difference(
                f"{name} read a dead guest's pattern in frames", proven,
                "which are clean by now: they were scrubbed after they had been handed out",
            ),
        ]  # fmt: skip
        return Compared(
            missed=missed | used_missed,
            disputed=(dirty - missed) | (cleaned - proven) | (too_many - used_missed),
            differences=tuple(difference for difference in differences if difference),
        )

    def _missed_in(self, used: BitMap64, guest: Guest) -> BitMap64:
        """Find frames that a guest uses itself after it called them clean, with a pattern in them.

        A guest that has read a pattern may have words of it on its stacks.
        """
        if guest.frames_of("pattern"):
            return BitMap64()
        return self._left_by_the_dead(used & guest.frames_of("clean"), guest)

    def _left_by_the_dead(self, frames: BitMap64, guest: Guest) -> BitMap64:
        """Keep frames with another guest's pattern, except those that a live guest gave back."""
        others = [number for number in self._numbers() if number != guest.number]
        held = self._oracle.holding(frames, self._guests.run, others)
        return held - guest.given_back_before

    def _proven(self, guest: Guest) -> BitMap64:
        """Find frames in which a guest read another guest's number; only RAM could tell it."""
        return BitMap64(
            page.mfn
            for page in guest.all(DirtyPage)
            if page.pattern is not None
            and page.pattern.run == self._guests.run
            and page.pattern.guest != guest.number
            and page.pattern.guest in self._guests.names
        )

    def complete(self, verdict: Verdict) -> Verdict:
        """Judge the victim's frames that no probe was given.

        Judges them only while the backlog is 0 and no domain is dying, because frames may hold
        bytes until then. Only a pattern makes such a frame dirty: its present owner may write
        anything else there.

        Leaves out all frames that live guests call theirs. One of these guests may be the victim,
        after a migration. A guest that has read a pattern may have words of it on its first stack,
        in a page that it did not read. Leaves out frames of Xen's heap, too: Xen takes pages for
        its heap unscrubbed, and scrubs them when it frees them.
        """
        rest = verdict.victim - verdict.read_frames - verdict.given_back
        for guest in self._guests.guests.values():
            if not guest.ended:
                rest -= guest.frames
                if guest.frames_of("pattern"):
                    rest -= guest.frames_of("unjudged")
        end = time.monotonic() + _SETTLE_SECONDS
        while self._drained():
            held = self._holding(rest)
            kept = self._oracle.frame_table.xen_heap(held)
            if held == kept or time.monotonic() > end:
                return dataclasses.replace(
                    verdict, outside_clean=rest - held, outside_residue=held - kept, kept=kept,
                    tables=self._tables(rest - held),
                )  # fmt: skip
            time.sleep(_POLL_SECONDS)
        return verdict

    def _tables(self, frames: BitMap64) -> BitMap64:
        """Keep the frames that Xen uses as page tables of live guests.

        Returns nothing if Xen has more page tables than the guests need: some of them are lost
        then, and lost memory is not excused.
        """
        found = self._oracle.frame_table.tables(frames)
        live = [guest.config for guest in self._guests.guests.values() if not guest.ended]
        needed = sum(config.set_aside_bytes for config in live)
        return found if len(found) * PAGE <= needed else BitMap64()

    def _holding(self, frames: BitMap64) -> BitMap64:
        return self._oracle.holding(frames, self._guests.run, self._numbers())

    def _numbers(self) -> range:
        """The numbers of all guests of this run, earlier tests' guests too; the first one is 1."""
        return range(1, max(self._guests.guests, default=0) + 1)

    def _drained(self) -> bool:
        dom0 = self._guests.dom0
        return not any(domain.dying for domain in dom0.domains()) and dom0.backlog_pages() == 0


def _scanned_last(guest: Guest) -> bool:
    """Whether reading was the last work of a guest, so that its memory still holds what it read."""
    work = [event for event in guest.events if isinstance(event, Scanned | Filled)]
    return bool(work) and isinstance(work[-1], Scanned)


def _most_used(guest: Guest) -> float:
    pages, share = _MOST_USED
    return pages + share * guest.memory_bytes / PAGE


def _difference(said: str, frames: BitMap64, which: str) -> str:
    """Describe frames that two witnesses differ in, in a sentence; empty without such frames."""
    if not frames:
        return ""
    shown = ", ".join(f"{mfn:#x}" for mfn in frames[:_SHOWN])
    more = ", ..." if len(frames) > _SHOWN else ""
    return f"{said} {which}, seen from outside: {len(frames)} of them, MFNs {shown}{more}"
