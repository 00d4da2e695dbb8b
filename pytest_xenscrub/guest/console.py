# SPDX-License-Identifier: MIT
"""The guest's console protocol: bytes in, typed events out, and no I/O.

A line is ``$<seq> <verb> <key>=<value> ...*<crc>``, as `kernel/report.h` defines it. Whatever is
wrong with one (its checksum, its place in the sequence, a key, a sum that does not come out) is
an error and never a verdict: a page that a bug in the guest did not read must not pass for clean.
"""

from __future__ import annotations

import re
import zlib
from array import array
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, NoReturn, TypeAlias, get_args

from pyroaring import BitMap64

from pytest_xenscrub.errors import GuestProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTOCOL: Final = 2
"""Version of the protocol that this module reads."""

MAX_LINE: Final = 1002
"""Longest line of the protocol with its end, bytes."""

Kind: TypeAlias = Literal[
    "frames", "clean", "residue", "pattern", "unjudged", "used", "ballooned", "populated"
]
Operation: TypeAlias = Literal["scan", "fill"]
Reason: TypeAlias = Literal["poweroff", "reboot", "crash"]

_PLAIN_KEPT = 200


class Group(NamedTuple):
    """`runs` runs of `length` consecutive frames; each starts `step` frames after the last.

    Its pages are consecutive, from `pfn` on, in the order of the runs.
    """

    pfn: int
    mfn: int
    length: int
    step: int
    runs: int


class PfnMap:
    """Which frame is behind which page of a guest: groups of runs, in PFN order."""

    _WIDTH = 5

    def __init__(self) -> None:
        self._first = array("q")
        self._rows = array("q")
        self._next = 0

    def add(self, group: Group) -> None:
        """Adds a group.

        Raises:
            ValueError: its pages do not come after those that are there.
        """
        if group.pfn < self._next:
            raise ValueError(f"page {group.pfn} comes after page {self._next - 1}")
        self._first.append(group.pfn)
        self._rows.extend(group)
        self._next = group.pfn + group.length * group.runs

    def __len__(self) -> int:
        """Number of pages that have a frame."""
        return sum(group.length * group.runs for group in self.groups())

    def groups(self) -> Iterator[Group]:
        """All groups, in PFN order."""
        for at in range(0, len(self._rows), self._WIDTH):
            yield Group(*self._rows[at : at + self._WIDTH])

    def mfn(self, pfn: int) -> int:
        """The frame of a page.

        Raises:
            KeyError: the guest has no such page, or has given it back.
        """
        row = bisect_right(self._first, pfn) - 1
        if row >= 0:
            group = Group(*self._rows[row * self._WIDTH : (row + 1) * self._WIDTH])
            run, offset = divmod(pfn - group.pfn, group.length)
            if run < group.runs:
                return group.mfn + run * group.step + offset
        raise KeyError(pfn)


@dataclass(frozen=True)
class Hello:
    """The guest runs.

    Attributes:
        protocol: version of the protocol.
        pages: of the domain, at its start.
        vcpus: that work.
        run: names the run in the pattern.
        guest: names the guest in the pattern.
        clean: the byte that a scrubbed page is full of.
    """

    protocol: int
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
    """The pattern is in `pages` pages; `own` more are the guest's own. It took `ns`."""

    pages: int
    own: int
    ns: int
    vcpus: int


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
            the guest has written to after it had read them.
        frames: MFNs.
        pages: how many; equal to ``len(frames)``.
        map: page to frame, for kind ``frames`` only.
    """

    kind: Kind
    frames: BitMap64
    pages: int
    map: PfnMap | None = field(default=None, compare=False)


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

_LINE = re.compile(r"(\d+) ([a-z-]+)((?: [a-z-]+=(?:\"[^\"]*\"|[^ \"]*))*)")
_PAIR = re.compile(r" ([a-z-]+)=(?:\"([^\"]*)\"|([^ ]*))")
_RUN = re.compile(r"([0-9a-f]+):([0-9a-f]+)(?::(-?[0-9a-f]+):([0-9a-f]+))?")


class _Values(dict[str, str]):
    """The keys of one line; a getter raises ValueError for what is missing or malformed."""

    def text(self, key: str) -> str:
        try:
            return self[key]
        except KeyError:
            raise ValueError(f"no {key}=") from None

    def dec(self, key: str) -> int:
        text = self.text(key)
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{key}={text} is not a number")
        return int(text)

    def hex(self, key: str) -> int:
        text = self.text(key)
        if not re.fullmatch("[0-9a-f]+", text):
            raise ValueError(f"{key}={text} is not a hex number")
        return int(text, 16)

    def unless_gone(self, key: str, read: Callable[[str], int]) -> int | None:
        return None if self.text(key) == "-" else read(key)


@dataclass
class _OpenRanges:
    kind: Kind
    frames: BitMap64 = field(default_factory=BitMap64)
    pages: int = 0
    map: PfnMap = field(default_factory=PfnMap)


class LineDecoder:
    """Turns what a guest's console says into events.

    Attributes:
        hello: the last `Hello`, or None.
        plain: the last lines that were not of the protocol, for evidence.
    """

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.plain: deque[str] = deque(maxlen=_PLAIN_KEPT)
        self._partial = b""
        self._error: GuestProtocolError | None = None
        self._verbs: dict[str, Callable[[_Values], Event | None]] = {
            "hello": self._hello,
            "progress": self._progress,
            "filled": self._filled,
            "scanned": self._scanned,
            "range": self._range,
            "ranges-end": self._ranges_end,
            "dirty": self._dirty,
            "verified": lambda v: Verified(v.dec("pages"), v.dec("mismatched")),
            "ballooned": self._ballooned,
            "resumed": lambda v: Resumed(bool(v.dec("cancelled")), v.dec("ns")),
            "populated": self._populated,
            "ready": self._ready,
            "error": lambda v: ErrorLine(v.text("what"), v.get("detail", "")),
            "bye": self._bye,
        }
        self._restart()

    def _restart(self) -> None:
        self._seq = 0
        self._given_back = 0
        self._open: _OpenRanges | None = None
        self._owed: dict[Kind, int] = {}

    def feed(self, data: bytes) -> list[Event]:
        r"""Takes what came from the console; a part of a line is kept until its `\n`.

        Returns:
            The events of the lines that are whole now.

        Raises:
            GuestProtocolError: a line is mangled, missing, or contradicts another. Nothing can
                be read after it: each further call raises it again.
        """
        if self._error is not None:
            raise self._error
        *lines, self._partial = (self._partial + data).split(b"\n")
        events = []
        for raw in lines:
            event = self._decode(raw.rstrip(b"\r"))
            if event is not None:
                events.append(event)
        if self._partial.startswith(b"$") and len(self._partial) > MAX_LINE:
            self._fail("does not end", self._partial)
        return events

    def _fail(self, why: str, raw: bytes) -> NoReturn:
        self._error = GuestProtocolError(
            f"a line of the guest's console {why}",
            todo="start the guest again; if it stays, report the line",
            evidence={
                "the line": raw.decode("latin-1")[:MAX_LINE],
                "other lines before it": "\n".join(list(self.plain)[-10:]),
            },
        )
        raise self._error from None

    def _decode(self, raw: bytes) -> Event | None:
        if not raw.startswith(b"$"):
            if raw:
                self.plain.append(raw.decode("utf-8", "replace"))
            return None
        body, star, crc = raw[1:].rpartition(b"*")
        if not star or crc != b"%08x" % zlib.crc32(body):
            self._fail("has no valid checksum", raw)
        line = _LINE.fullmatch(body.decode("latin-1"))
        if line is None:
            self._fail("is not of the protocol", raw)
        seq, verb = int(line[1]), line[2]
        if verb == "hello" and seq == 0:
            self._restart()
        if seq != self._seq:
            self._fail(f"is number {seq}, and number {self._seq} was to come", raw)
        self._seq += 1
        if verb not in self._verbs:
            self._fail("has an unknown verb", raw)
        try:
            if self._open is not None and verb not in ("range", "ranges-end"):
                raise ValueError(f"the list of {self._open.kind} has not ended")
            pairs = [(key, quoted or bare) for key, quoted, bare in _PAIR.findall(line[3])]
            values = _Values(pairs)
            if len(values) != len(pairs):
                raise ValueError("a key stands there twice")
            return self._verbs[verb](values)
        except ValueError as error:
            self._fail(f"is wrong: {error}", raw)

    def _owned(self) -> int:
        if self.hello is None:
            raise ValueError("there was no hello")
        return self.hello.pages - self._given_back

    def _hello(self, v: _Values) -> Hello:
        if v.dec("protocol") != PROTOCOL:
            raise ValueError(f"protocol {v.dec('protocol')}, and this reads {PROTOCOL}")
        self.hello = Hello(
            protocol=v.dec("protocol"),
            pages=v.dec("pages"),
            vcpus=v.dec("vcpus"),
            run=v.hex("run"),
            guest=v.dec("guest"),
            clean=v.hex("clean"),
        )
        return self.hello

    def _progress(self, v: _Values) -> Progress:
        op = v.text("op")
        for known in get_args(Operation):
            if op == known:
                return Progress(known, v.dec("bytes"), v.dec("total"), v.dec("ns"))
        raise ValueError(f"op={op}")

    def _filled(self, v: _Values) -> Filled:
        event = Filled(v.dec("pages"), v.dec("own"), v.dec("ns"), v.dec("vcpus"))
        if event.pages + event.own != self._owned():
            raise ValueError(f"the guest has {self._owned()} pages")
        return event

    def _scanned(self, v: _Values) -> Scanned:
        event = Scanned(
            pages=v.dec("pages"),
            clean=v.dec("clean"),
            residue=v.dec("residue"),
            unjudged=v.dec("unjudged"),
            pattern=v.dec("pattern"),
            other=v.dec("other"),
            ns=v.dec("ns"),
            vcpus=v.dec("vcpus"),
        )
        if event.pages != self._owned():
            raise ValueError(f"the guest has {self._owned()} pages")
        if event.clean + event.residue + event.unjudged != event.pages:
            missing = event.pages - event.clean - event.residue - event.unjudged
            raise ValueError(f"{missing} of its pages have no verdict")
        if event.pattern + event.other != event.residue:
            raise ValueError("pattern and other are not the residue")
        self._owed = {
            "clean": event.clean,
            "residue": event.residue,
            "unjudged": event.unjudged,
        }
        if event.pattern:
            self._owed["pattern"] = event.pattern
        return event

    def _kind(self, v: _Values) -> Kind:
        text = v.text("kind")
        for kind in get_args(Kind):
            if text == kind:
                return kind  # type: ignore[no-any-return]
        raise ValueError(f"kind={text}")

    def _range(self, v: _Values) -> None:
        kind = self._kind(v)
        if self._open is None:
            self._open = _OpenRanges(kind)
        if self._open.kind != kind:
            raise ValueError(f"the list of {self._open.kind} has not ended")
        ranges = self._open
        # What was given back is no longer owned, and is told afterwards.
        most = self._owned() + (self._given_back if kind == "ballooned" else 0)
        pfn = v.dec("at")
        for text in v.text("runs").split(","):
            run = _RUN.fullmatch(text)
            if run is None:
                raise ValueError(f"{text} is not a run")
            mfn, length = int(run[1], 16), int(run[2], 16)
            step, count = (int(run[3], 16), int(run[4], 16)) if run[3] else (length, 1)
            last = mfn + step * (count - 1)
            pages = length * count
            if not pages or not step or last < 0 or ranges.pages + pages > most:
                raise ValueError(f"{text} cannot be")
            if abs(step) == length:
                ranges.frames.add_range(min(mfn, last), max(mfn, last) + length)
            else:
                for start in range(mfn, last + (1 if step > 0 else -1), step):
                    ranges.frames.add_range(start, start + length)
            if kind == "frames":
                ranges.map.add(Group(pfn, mfn, length, step, count))
                pfn += pages
            ranges.pages += pages

    def _ranges_end(self, v: _Values) -> Ranges:
        kind = self._kind(v)
        ranges, self._open = self._open or _OpenRanges(kind), None
        pages = v.dec("pages")
        if ranges.kind != kind:
            raise ValueError(f"the list of {ranges.kind} has not ended")
        if ranges.pages != pages or len(ranges.frames) != pages:
            raise ValueError(f"the list has {ranges.pages} pages, {len(ranges.frames)} frames")
        owed = self._owed.pop(kind, self._owned() if kind == "frames" else pages)
        if owed != pages:
            raise ValueError(f"{owed} pages were to come")
        return Ranges(kind, ranges.frames, pages, ranges.map if kind == "frames" else None)

    def _dirty(self, v: _Values) -> DirtyPage:
        pattern, digest = None, None
        if v.text("class") == "pattern":
            pattern = PatternResidue(
                run=v.unless_gone("run", v.hex),
                guest=v.unless_gone("guest", v.dec),
                pfn=v.unless_gone("of-pfn", v.dec),
                mfn=v.unless_gone("of-mfn", v.hex),
                position=v.dec("pos"),
                at=v.dec("at"),
            )
            v.text("bytes")
        elif v.text("class") == "other":
            digest = v.hex("hash")
        else:
            raise ValueError(f"class={v.text('class')}")
        shown = "bytes" in v
        return DirtyPage(
            pfn=v.dec("pfn"),
            mfn=v.hex("mfn"),
            first=v.dec("first"),
            last=v.dec("last"),
            words=v.dec("words"),
            pattern=pattern,
            hash=digest,
            at=v.dec("at") if shown else None,
            data=bytes.fromhex(v["bytes"]) if shown else b"",
        )

    def _ballooned(self, v: _Values) -> Ballooned:
        event = Ballooned(v.dec("pages"))
        if event.pages > self._owned():
            raise ValueError(f"the guest has {self._owned()} pages")
        self._owed["ballooned"] = event.pages
        self._given_back += event.pages
        return event

    def _populated(self, v: _Values) -> Populated:
        event = Populated(v.dec("pages"))
        if event.pages > self._given_back:
            raise ValueError(f"the guest has given back {self._given_back} pages")
        self._owed["populated"] = event.pages
        self._given_back -= event.pages
        return event

    def _ready(self, v: _Values) -> Ready:
        if self._owed:
            raise ValueError(f"no list came of {', '.join(self._owed)}")
        return Ready()

    def _bye(self, v: _Values) -> Bye:
        reason = v.text("reason")
        for known in get_args(Reason):
            if reason == known:
                return Bye(known)
        raise ValueError(f"reason={reason}")
