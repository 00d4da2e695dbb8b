# SPDX-License-Identifier: MIT
"""What a guest says on its console: an event for each line, or for each list of frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pyroaring import BitMap64

    from pytest_xenscrub.guest.frames import PfnMap
    from pytest_xenscrub.guest.sample import Sample
    from pytest_xenscrub.guest_type import GuestType

Kind: TypeAlias = Literal[
    "frames", "own", "clean", "residue", "pattern", "unjudged", "used", "ballooned", "populated"
]
Operation: TypeAlias = Literal["scan", "fill"]
Reason: TypeAlias = Literal["poweroff", "reboot", "crash"]


@dataclass(frozen=True)
class Hello:
    """The guest runs.

    Attributes:
        protocol: version of the protocol.
        type: of guest. What a guest of another type than "pv" calls a frame is its GFN, no MFN.
        pages: of the domain, at its start.
        vcpus: that work.
        run: names the run in the pattern.
        guest: names the guest in the pattern.
        clean: the byte that a scrubbed page is full of.
    """

    protocol: int
    type: GuestType
    pages: int
    vcpus: int
    run: int
    guest: int
    clean: int


@dataclass(frozen=True)
class Progress:
    """How far a scan or a fill is: bytes done, of `total`, after `ns` of the guest's clock."""

    op: Operation
    bytes: int
    total: int
    ns: int

    @property
    def rate(self) -> float:
        """Bytes/s so far."""
        return self.bytes * 1e9 / self.ns if self.ns else 0.0


@dataclass(frozen=True)
class Filled:
    """The pattern is in `pages` pages; `own` more are the guest's own. It took `ns`.

    Where only a sample was filled, `left` pages were not.
    """

    pages: int
    own: int
    ns: int
    vcpus: int
    left: int = 0
    sample: Sample | None = None

    @property
    def share(self) -> float:
        """Pages with the pattern ÷ pages of the guest."""
        return self.pages / (self.pages + self.own + self.left)


@dataclass(frozen=True)
class Scanned:
    """A scan's sums.

    Attributes:
        pages: of the domain: the sum of the next three.
        clean: full of the clean byte.
        residue: not so: the sum of `pattern` and `other`.
        unjudged: written by the domain builder, so nothing can be said of them.
        pattern: mostly our pattern.
        other: anything else.
        ns: what reading took, on the guest's clock.
        vcpus: that read.
    """

    pages: int
    clean: int
    residue: int
    unjudged: int
    pattern: int
    other: int
    ns: int
    vcpus: int


@dataclass(frozen=True)
class Ranges:
    """A set of frames.

    Attributes:
        kind: which set: all frames of the guest, or those with one verdict, or given back, or
            taken back; "pattern" are those of "residue" that hold our pattern, "used" those that
            the guest has written to after it had read them. "own" are those that a guest never
            fills, told only where it fills a sample of the others.
        frames: MFNs; as long as they come from a guest that is no PV guest, its GFNs.
        pages: how many; equal to ``len(frames)``.
        map: page to frame, for kind ``frames`` only.
    """

    kind: Kind
    # Of a large guest they would fill the screen of whoever looks for what went wrong.
    frames: BitMap64 = field(repr=False)
    pages: int
    map: PfnMap | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class PatternResidue:
    """What of our pattern a dirty page holds; None is what it no longer tells.

    Attributes:
        run: of the filler that wrote it.
        guest: of that filler.
        pfn: the page of that filler.
        mfn: the frame it was written to.
        position: where in its page the first word stood, in words of 8 bytes.
        at: where it stands now, bytes: elsewhere if the page was moved by parts.
    """

    run: int | None
    guest: int | None
    pfn: int | None
    mfn: int | None
    position: int
    at: int


@dataclass(frozen=True)
class DirtyPage:
    """One page that was not as it should be.

    Attributes:
        pfn: of the guest that read it.
        mfn: its frame.
        first: offset of the first wrong byte.
        last: offset of the last wrong byte.
        words: 8-byte words with a wrong byte.
        pattern: what it says, if it is our pattern.
        hash: FNV-1a (64 bit) of the page, if it is not.
        at: offset of `data` in the page, bytes; None if it is not shown.
        data: some of the page: only of our pattern, unless the guest was told to reveal all.
    """

    pfn: int
    mfn: int
    first: int
    last: int
    words: int
    pattern: PatternResidue | None = None
    hash: int | None = None
    at: int | None = None
    data: bytes = b""


@dataclass(frozen=True)
class Verified:
    """Of `pages` filled pages, `mismatched` no longer hold what was written there."""

    pages: int
    mismatched: int


@dataclass(frozen=True)
class Ballooned:
    """The guest gave back `pages` pages, dirty; their frames follow as `Ranges`."""

    pages: int


@dataclass(frozen=True)
class Resumed:
    """The guest runs again after a suspend of `ns`; its frames were told anew before.

    Attributes:
        cancelled: whether it is still in the domain, and in the frames, that it was in.
        ns: from when its other vCPUs stood still to when it has all of them again, on its clock,
            which on one host goes on while it is away.
    """

    cancelled: bool
    ns: int


@dataclass(frozen=True)
class Populated:
    """The guest took back `pages` pages, fewer than it wanted if there were no more."""

    pages: int


@dataclass(frozen=True)
class Ready:
    """All that was asked for is done; the guest waits for a command."""


@dataclass(frozen=True)
class ErrorLine:
    """The guest could not do something; it crashes after this if it cannot go on."""

    what: str
    detail: str = ""


@dataclass(frozen=True)
class Bye:
    """The guest is about to end."""

    reason: Reason


Event: TypeAlias = (
    Hello
    | Progress
    | Filled
    | Scanned
    | Ranges
    | DirtyPage
    | Verified
    | Ballooned
    | Resumed
    | Populated
    | Ready
    | ErrorLine
    | Bye
)
