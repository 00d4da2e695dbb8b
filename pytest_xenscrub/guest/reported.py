# SPDX-License-Identifier: MIT
"""What a guest has reported of itself so far: its frames, and what it did with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pyroaring import BitMap64

from pytest_xenscrub.guest.events import Ballooned, Filled, Populated, Ranges

if TYPE_CHECKING:
    from pytest_xenscrub.guest.events import Event
    from pytest_xenscrub.guest.frames import PfnMap
    from pytest_xenscrub.guest.sample import Sample

E = TypeVar("E")


class ReportedGuest:
    """A guest, as its own console reports it.

    Attributes:
        events: all events that the console reported so far, without progress.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def last(self, kind: type[E]) -> E | None:
        """The last event of a kind, or None."""
        return next((e for e in reversed(self.events) if isinstance(e, kind)), None)

    def all(self, kind: type[E]) -> list[E]:
        """Every event of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def frames_of(self, kind: str) -> BitMap64:
        """The frames of the last list of a kind (MFNs); see `Ranges` for the kinds."""
        found = [ranges.frames for ranges in self.all(Ranges) if ranges.kind == kind]
        return found[-1] if found else BitMap64()

    @property
    def ballooned(self) -> BitMap64:
        """All frames that the guest gave back while it lived, and did not get again."""
        given = BitMap64()
        for ranges in self.all(Ranges):
            if ranges.kind == "ballooned":
                given |= ranges.frames
            elif ranges.kind == "populated":
                given -= ranges.frames
        return given

    @property
    def frames(self) -> BitMap64:
        """The guest's frames: the last list, less what it gave back since then, plus what it took.

        Has only the frames that the guest took until it has filled its memory or listed its frames.
        """
        has = BitMap64()
        for ranges in self.all(Ranges):
            if ranges.kind == "frames":
                has = ranges.frames.copy()
            elif ranges.kind == "ballooned":
                has -= ranges.frames
            elif ranges.kind == "populated":
                has |= ranges.frames
        return has

    @property
    def sample(self) -> Sample | None:
        """The sample that the guest filled last; None if it filled all of its pages, or none."""
        filled = self.last(Filled)
        return None if filled is None else filled.sample

    @property
    def filled_frames(self) -> BitMap64:
        """The frames with the guest's pattern if it filled a sample; otherwise all of its frames.

        Leaves out frames that the guest took after it had filled a sample. If its frames changed
        after that, leaves out all frames that it did not have before, because their pages are
        unknown.
        """
        if self.sample is None:
            return self.frames
        sample, grown = None, False
        own, has = BitMap64(), BitMap64()
        for event in self.events:
            if isinstance(event, Filled):
                sample, grown = event.sample, False
            elif isinstance(event, Populated):
                grown = True
            elif not isinstance(event, Ranges):
                continue
            elif event.kind == "own":
                own = event.frames
            elif event.kind == "ballooned":
                has -= event.frames
            elif event.kind == "frames" and grown:
                has &= event.frames
            elif event.kind == "frames" and sample is not None and event.map is not None:
                has = BitMap64(sample.frames(event.map).tolist()) - own
        return has

    @property
    def pattern_pages(self) -> int:
        """Number of pages with the guest's pattern: filled ones, less those given back later."""
        if self.sample is not None:
            return len(self.filled_frames)
        pages = 0
        for event in self.events:
            if isinstance(event, Filled):
                pages = event.pages
            elif isinstance(event, Ballooned) and pages:
                pages -= event.pages
        return pages

    @property
    def map(self) -> PfnMap | None:
        """The guest's map of pages to frames, as last reported; None before that."""
        return next((r.map for r in reversed(self.all(Ranges)) if r.map is not None), None)
