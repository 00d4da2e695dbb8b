# SPDX-License-Identifier: MIT
"""What a guest reports on its console: an event for each line, or for each list of frames."""

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
    """The guest has started.

    Attributes:
        protocol: version of the protocol.
        type: the guest's type. A guest of another type than "pv" reports GFNs as its frames, not
            MFNs.
        pages: number of the domain's pages at its start.
        vcpus: number of vCPUs that work.
        run: the run's number in the pattern.
        guest: the guest's number in the pattern.
        clean: the byte that Xen scrubs with, as the guest was told.
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
    """Progress of a scan or a fill: bytes done, of `total`, after `ns` on the guest's clock."""

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
    """The guest has filled `pages` pages with its pattern, in `ns`; `own` more are its own.

    If the guest filled a sample, `left` pages were left out.
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
    """The guest has scanned its memory.

    Attributes:
        pages: number of the domain's pages: the sum of the next three.
        clean: pages that hold only the clean byte.
        residue: pages that hold anything else: the sum of `pattern` and `other`.
        unjudged: pages that the domain builder wrote to, so that they cannot be judged.
        pattern: dirty pages with a pattern of this project in most of them.
        other: all other dirty pages.
        ns: duration of the scan, on the guest's clock.
        vcpus: number of vCPUs that read.
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
        kind: which set. "frames": all of the guest. "clean", "residue", "unjudged": those with one
            verdict. "pattern": those of "residue" with a pattern of this project. "used": those
            that the guest has written to after it had read them. "own": those that a guest never
            fills, listed only if it fills a sample. "ballooned": given back. "populated": taken
            back.
        frames: MFNs; GFNs until `MachineFrames` has translated those of a guest that is not PV.
        pages: number of frames.
        map: map of pages to frames, for the kind "frames" only.
    """

    kind: Kind
    # A large guest's frames would fill the screen when an error shows this event.
    frames: BitMap64 = field(repr=False)
    pages: int
    map: PfnMap | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class PatternResidue:
    """What a dirty page tells of this project's pattern; None for what is no longer readable.

    Attributes:
        run: number of the run that wrote the pattern.
        guest: number of the guest that wrote the pattern.
        pfn: that guest's page.
        mfn: the frame that the page had then.
        position: position of the first word in that page, in words of 8 bytes.
        at: offset of the same word in the dirty page, bytes; differs if parts of the page were
            moved.
    """

    run: int | None
    guest: int | None
    pfn: int | None
    mfn: int | None
    position: int
    at: int


@dataclass(frozen=True)
class DirtyPage:
    """A page that is not clean.

    Attributes:
        pfn: number of the page in the guest that read it.
        mfn: the page's frame.
        first: offset of the first wrong byte.
        last: offset of the last wrong byte.
        words: number of 8-byte words with a wrong byte.
        pattern: what the page tells of this project's pattern; None for other data.
        hash: FNV-1a (64 bit) of the page, for other data.
        at: offset of `data` in the page, bytes; None without `data`.
        data: bytes of the page: only of a pattern, unless the guest was told to reveal all.
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
    """Of `pages` filled pages, `mismatched` no longer hold the pattern."""

    pages: int
    mismatched: int


@dataclass(frozen=True)
class Ballooned:
    """The guest gave back `pages` pages, dirty; their frames follow as `Ranges`."""

    pages: int


@dataclass(frozen=True)
class Resumed:
    """The guest runs again after a suspend of `ns`; it has listed its frames again before.

    Attributes:
        cancelled: whether the guest stayed in the same domain, with the same frames.
        ns: from the moment when its other vCPUs stopped until it had all of them again, on the
            guest's clock, which does not stop while the guest moves on the same host.
    """

    cancelled: bool
    ns: int


@dataclass(frozen=True)
class Populated:
    """The guest took back `pages` pages; fewer than it wanted if Xen had no more."""

    pages: int


@dataclass(frozen=True)
class Ready:
    """The guest has done all of its actions, and waits for a command."""


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
