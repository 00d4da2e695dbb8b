# SPDX-License-Identifier: MIT
"""The probe: a guest that gets freed memory and reads every byte of that memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyroaring import BitMap64

from pytest_xenscrub.errors import (
    DisagreementError,
    NotApplicableError,
    UndecidedError,
    XenScrubError,
)
from pytest_xenscrub.guest.events import DirtyPage, Scanned
from pytest_xenscrub.guest.factory import LEAST_BYTES
from pytest_xenscrub.scrub.crosscheck import Compared
from pytest_xenscrub.scrub.verdict import MIN_COVERAGE, Verdict
from pytest_xenscrub.units import GIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.scrub.crosscheck import CrossCheck

_PROBES = 3
"""Upper bound on the probes of one verdict that get all that is free: a fourth one would not get
further frames."""
_FAR_LARGER = 4
"""Of a probe that is so many times as large as the victim, the pages in which its builder writes,
two of a thousand, may be nearly as many as may be left unread of the victim's."""
_LARGE_HOST = 8 * GIB
"""With less free memory a second probe costs more time than those pages are worth."""
_FIRST = 1.25
"""What a first probe has beside such a victim, of the victim's memory: it is built from what came
free last, and few of the frames that it gets are its builder's."""


class Probe:
    """Reads free memory with probe guests, and judges a victim's frames.

    Args:
        guests: creates the probe guests.
        min_coverage: share of a victim's frames that probes must read.
        judged: called with each verdict of `read`.
        noted: called with each verdict of `verdict`.
        check: compares the probes' reports with RAM; None if RAM cannot be seen from outside.
    """

    def __init__(
        self,
        guests: GuestFactory,
        *,
        min_coverage: float = MIN_COVERAGE,
        judged: Callable[[Verdict], None] = lambda _: None,
        noted: Callable[[Verdict], None] = lambda _: None,
        check: CrossCheck | None = None,
    ) -> None:
        self._guests = guests
        self._min_coverage = min_coverage
        self._judged = judged
        self._noted = noted
        self._check = check

    def read(self, frames: BitMap64, *, beside: Sequence[Guest] = ()) -> Verdict:
        """Give all free memory to probes, and judge `frames` by what the probes read.

        The probes are destroyed afterwards. A Xen that scrubs then scrubs what they found dirty.

        Args:
            frames: the frames to judge (MFNs), such as a dead victim's.
            beside: guests that have already scanned their memory: they count as probes too, and
                are not destroyed.

        Raises:
            CommandError: a probe could not be created.
            GuestFailedError: a probe failed.
            GuestProtocolError: a probe's report is mangled, so no verdict is possible.
            DisagreementError: a probe's report contradicts RAM seen from outside, and neither
                shows residue.
            UndecidedError: the victim's frames are not known, and no residue was seen.
            XenHungError: something hangs.
        """
        probes: list[Guest] = []
        compared = [self._compare(guest) for guest in beside]
        # Residue that these guests found must be reported even if no probe can be created.
        verdict = self._see(frames, beside, compared) if beside else None
        all_read = 0
        while verdict is None or not verdict.has_residue:
            most = self._guests.most_bytes(guest_type="pv")
            size = most if probes else _first_bytes(len(frames) * PAGE, most)
            if size:
                probes.append(self.create(size))
                compared.append(self._compare(probes[-1]))
            verdict = self._see(frames, [*beside, *probes], compared)
            all_read += size == most
            if not all_read:
                continue
            if not size or verdict.coverage >= self._min_coverage or all_read == _PROBES:
                break
        self._judged(verdict)
        _check(verdict)
        for guest in probes:
            guest.destroy(until="free")
        if not verdict.has_residue and not self._guests.knows_frames:
            raise UndecidedError(
                "no residue was seen, but the victim's frames are not known: the probes may have"
                " read other frames",
                todo="use PV victims (--xen-guest-type=pv), which know their frames, or an emulated"
                " host, where they are seen from outside",
            )
        return verdict

    def create(
        self, memory_bytes: int, *, node: int | None = None, guest_type: GuestType = "pv"
    ) -> Guest:
        """Create one probe, on a NUMA node if given, and wait until it has read its memory."""
        guest = self._guests.create("probe", memory_bytes, "scan", node=node, guest_type=guest_type)
        guest.ready()
        return guest

    def verdict(self, frames: BitMap64, probes: Iterable[Guest]) -> Verdict:
        """Judge `frames` by what these probes, or other guests that scanned, have read.

        Raises:
            DisagreementError: the report of a probe that is alive contradicts RAM seen from
                outside, and neither shows residue.
            NotApplicableError: a probe does not know which frames it has read.
        """
        probes = list(probes)
        verdict = self._see(frames, probes, [self._compare(guest) for guest in probes])
        self._noted(verdict)
        _check(verdict)
        return verdict

    def _compare(self, guest: Guest) -> Compared:
        """Compare a probe's report with RAM, right after its scan, before the frames change."""
        if not guest.knows_frames:
            raise NotApplicableError(
                f"{guest.name} cannot be a probe here: a {guest.config.type} guest does not"
                " know which machine frames it reads, and RAM cannot be read from outside"
            )
        if self._check is None:
            return Compared()
        try:
            return self._check.compare(guest)
        except XenScrubError:
            # Residue that the probe has read is proof, even if the host was lost before RAM was
            # read.
            if guest.frames_of("pattern") - guest.given_back_before:
                return Compared()
            raise

    def _unfilled(self, probes: Sequence[Guest]) -> BitMap64:
        """Frames without the victim's data, because their last owner had not filled them.

        Tells the state at the time when these guests read: a guest may fill its memory afterwards.
        """
        known = [probe.unfilled_before for probe in probes]
        return BitMap64.union(*known) if known else self._guests.unfilled

    def _see(
        self, frames: BitMap64, probes: Sequence[Guest], compared: Sequence[Compared]
    ) -> Verdict:
        """Put probes' reports and RAM together into a verdict, whether or not they agree."""
        clean, residue, written = BitMap64(), BitMap64(), BitMap64()
        excused, owed = BitMap64(), BitMap64()
        differences: list[str] = []
        unjudged = other = 0
        seconds = 0.0
        dirty: list[DirtyPage] = []
        for guest, ram in zip(probes, compared, strict=True):
            differences += ram.differences
            dirty_here = (guest.frames_of("residue") - ram.disputed) | ram.missed
            clean |= guest.frames_of("clean") - ram.disputed
            residue |= dirty_here
            written |= (guest.frames_of("pattern") | ram.missed) & dirty_here
            # A frame that one probe may find dirty must be clean for the next probe, because its
            # owner in between has died.
            excused |= dirty_here & guest.given_back_before
            owed |= dirty_here - guest.given_back_before
            dirty += guest.all(DirtyPage)
            for scanned in guest.all(Scanned):
                unjudged += scanned.unjudged
                other += scanned.other
                seconds += scanned.ns / 1e9
        # A frame that one probe found dirty stays dirty, even if a later probe found it clean.
        verdict = Verdict(
            victim=frames,
            clean_frames=clean - residue,
            residue_frames=residue,
            unfilled=frames & self._unfilled(probes),
            unjudged_frames=BitMap64.union(BitMap64(), *(p.frames_of("unjudged") for p in probes)),
            given_back=(excused | _given_back_before_all(probes)) - owed,
            pattern_frames=written,
            unjudged_pages=unjudged,
            other_pages=other,
            dirty=tuple(dirty),
            names=dict(self._guests.names),
            run=self._guests.run,
            min_coverage=self._min_coverage,
            seconds=seconds,
            differences=tuple(differences),
        )
        if self._check is None:
            return verdict
        try:
            return self._check.complete(verdict)
        except XenScrubError:
            if verdict.has_residue:
                return verdict
            raise


def _first_bytes(victim_bytes: int, most_bytes: int) -> int:
    """Memory of the first probe: all that is free, or less where the victim had far less."""
    if not victim_bytes or most_bytes <= max(_FAR_LARGER * victim_bytes, _LARGE_HOST):
        return most_bytes
    return max(LEAST_BYTES, int(_FIRST * victim_bytes))


def _given_back_before_all(probes: Sequence[Guest]) -> BitMap64:
    """Frames that live guests had given back before any of these guests was created."""
    return BitMap64.intersection(*(p.given_back_before for p in probes)) if probes else BitMap64()


def _check(verdict: Verdict) -> None:
    """Raise if witnesses differ, unless either of them saw residue: residue counts even then."""
    if verdict.differences and not verdict.has_residue:
        raise DisagreementError(
            verdict.differences[0],
            todo="a bug of pytest-xenscrub, in the probe or in reading RAM from outside: no"
            " verdict of this test counts",
            evidence={"verdict": str(verdict)},
        )
