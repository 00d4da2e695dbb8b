# SPDX-License-Identifier: MIT
"""Decodes the guest's console protocol: bytes in, typed events out, and no I/O.

A line is ``$<seq> <verb> <key>=<value> ...*<crc>``, as `kernel/report.h` defines it. Any mistake in
a line (its checksum, its sequence number, a key, a sum) is an error and never a verdict. Otherwise
a page that the guest did not read, because of a bug, could pass for clean.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from pytest_xenscrub.errors import GuestProtocolError
from pytest_xenscrub.guest import line_events
from pytest_xenscrub.guest.events import (
    Ballooned,
    ErrorLine,
    Filled,
    Populated,
    Ranges,
    Ready,
    Resumed,
    Verified,
)
from pytest_xenscrub.guest.frames import FrameList
from pytest_xenscrub.guest.line import parse_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.guest.events import Event, Hello, Kind, Scanned
    from pytest_xenscrub.guest.line import Values

MAX_LINE: Final = 1002
"""Upper bound on a line of the protocol, with its end, bytes."""

_PLAIN_KEPT = 200


class _Open(NamedTuple):
    """A list of frames whose end has not come yet."""

    kind: Kind
    list: FrameList


class LineDecoder:
    """Turns the bytes of a guest's console into events.

    Attributes:
        hello: the last `Hello`, or None.
        plain: the last lines that are not part of the protocol, for evidence.
    """

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.plain: deque[str] = deque(maxlen=_PLAIN_KEPT)
        self._partial = b""
        self._error: GuestProtocolError | None = None
        self._verbs: dict[str, Callable[[Values], Event | None]] = {
            "hello": self._hello,
            "progress": line_events.progress,
            "filled": self._filled,
            "scanned": self._scanned,
            "range": self._range,
            "ranges-end": self._ranges_end,
            "dirty": line_events.dirty,
            "verified": lambda v: Verified(v.dec("pages"), v.dec("mismatched")),
            "ballooned": self._ballooned,
            "resumed": lambda v: Resumed(bool(v.dec("cancelled")), v.dec("ns")),
            "populated": self._populated,
            "ready": self._ready,
            "error": lambda v: ErrorLine(v.text("what"), v.get("detail", "")),
            "bye": line_events.bye,
        }
        self._restart()

    def _restart(self) -> None:
        self._seq = 0
        self._given_back = 0
        self._open: _Open | None = None
        self._owed: dict[Kind, int] = {}

    def feed(self, data: bytes) -> list[Event]:
        r"""Take bytes of the console; the decoder keeps a part of a line until its `\n` comes.

        Returns:
            The events of all lines that are complete now.

        Raises:
            GuestProtocolError: a line is mangled, missing, or contradicts another. The rest cannot
                be trusted, so each further call raises the same error.
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
        try:
            line = parse_line(raw)
        except ValueError as error:
            self._fail(str(error), raw)
        seq, verb = line.seq, line.verb
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
            return self._verbs[verb](line.values())
        except ValueError as error:
            self._fail(f"is wrong: {error}", raw)

    def _owned(self) -> int:
        if self.hello is None:
            raise ValueError("there was no hello")
        return self.hello.pages - self._given_back

    def _hello(self, v: Values) -> Hello:
        self.hello = line_events.hello(v)
        return self.hello

    def _filled(self, v: Values) -> Filled:
        event = line_events.filled(v)
        if event.pages + event.own + event.left != self._owned():
            raise ValueError(f"the guest has {self._owned()} pages")
        if event.sample is not None:
            self._owed["own"] = event.own
        return event

    def _scanned(self, v: Values) -> Scanned:
        event = line_events.scanned(v)
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

    def _range(self, v: Values) -> None:
        kind = line_events.kind(v)
        if self._open is None:
            self._open = _Open(kind, FrameList(mapped=kind == "frames"))
        if self._open.kind != kind:
            raise ValueError(f"the list of {self._open.kind} has not ended")
        # A list of frames that were given back comes when the guest no longer owns them.
        most = self._owned() + (self._given_back if kind == "ballooned" else 0)
        self._open.list.add(v.text("runs"), pfn=v.dec("at"), most=most)

    def _ranges_end(self, v: Values) -> Ranges:
        kind = line_events.kind(v)
        opened, self._open = self._open, None
        pages = v.dec("pages")
        if opened is not None and opened.kind != kind:
            raise ValueError(f"the list of {opened.kind} has not ended")
        told = FrameList(mapped=kind == "frames") if opened is None else opened.list
        if told.pages != pages or len(told.frames) != pages:
            raise ValueError(f"the list has {told.pages} pages, {len(told.frames)} frames")
        owed = self._owed.pop(kind, self._owned() if kind == "frames" else pages)
        if owed != pages:
            raise ValueError(f"{owed} pages were to come")
        return Ranges(kind, told.frames, pages, told.map)

    def _ballooned(self, v: Values) -> Ballooned:
        event = Ballooned(v.dec("pages"))
        if event.pages > self._owned():
            raise ValueError(f"the guest has {self._owned()} pages")
        self._owed["ballooned"] = event.pages
        self._given_back += event.pages
        return event

    def _populated(self, v: Values) -> Populated:
        event = Populated(v.dec("pages"))
        if event.pages > self._given_back:
            raise ValueError(f"the guest has given back {self._given_back} pages")
        self._owed["populated"] = event.pages
        self._given_back -= event.pages
        return event

    def _ready(self, v: Values) -> Ready:
        if self._owed:
            raise ValueError(f"no list came of {', '.join(self._owed)}")
        return Ready()
