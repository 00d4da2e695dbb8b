# SPDX-License-Identifier: MIT
"""What a guest has said of itself so far: its frames, and what it did with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pyroaring import BitMap64

from pytest_xenscrub.guest.events import Ballooned, Filled, Populated, Ranges

if TYPE_CHECKING:
    from pytest_xenscrub.guest.events import Event
    from pytest_xenscrub.guest.frames import PfnMap
    from pytest_xenscrub.guest.sample import Sample

E = TypeVar("E")


class Account:
    """A guest by its own words.

    Attributes:
        events: all that its console said so far, without progress.
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
        """The last set of frames of a kind: frames, clean, residue, unjudged; MFNs."""
        found = [ranges.frames for ranges in self.all(Ranges) if ranges.kind == kind]
        return found[-1] if found else BitMap64()

    @property
    def ballooned(self) -> BitMap64:
        """All frames that it has given back while it lived, and not got again."""
        given = BitMap64()
        for ranges in self.all(Ranges):
            if ranges.kind == "ballooned":
                given |= ranges.frames
            elif ranges.kind == "populated":
                given -= ranges.frames
        return given

    @property
    def frames(self) -> BitMap64:
        """The frames that it has: those reported last, less what it gave back, with what it took.

        Before it was told to fill or to report frames, only what it took is known.
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
        """What it filled last; None if that was all, or nothing."""
        filled = self.last(Filled)
        return None if filled is None else filled.sample

    @property
    def filled_frames(self) -> BitMap64:
        """The frames that hold its pattern, where it filled a sample; elsewhere all that it has.

        What it took back after it had filled a sample is not among them, nor, should its frames
        change then, any that it did not have before: nobody can tell which pages those are.
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
        """How many pages hold its pattern: those that it filled, less what it then gave back."""
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
        """Page to frame, as last reported."""
        return next((r.map for r in reversed(self.all(Ranges)) if r.map is not None), None)
