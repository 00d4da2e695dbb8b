# SPDX-License-Identifier: MIT
"""A guest of ours that runs: its domain, and what it says on its console."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, TypeVar

from pyroaring import BitMap64

from pytest_xenscrub.errors import (
    DisagreementError,
    GuestFailedError,
    HostSilentError,
    HostStalledError,
    NotApplicableError,
    XenFaultError,
    XenScrubError,
)
from pytest_xenscrub.guest.account import Account
from pytest_xenscrub.guest.console import LineDecoder
from pytest_xenscrub.guest.events import (
    ErrorLine,
    Hello,
    Progress,
    Ranges,
    Ready,
    Verified,
)
from pytest_xenscrub.units import GIB, PAGE, gib

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.events import Event
    from pytest_xenscrub.guest.listeners import Listeners
    from pytest_xenscrub.guest.machine_frames import MachineFrames
    from pytest_xenscrub.toolstack.protocol import Created, DomainConfig, Toolstack

_READ_SECONDS = 0.5
_TAIL = 15

E = TypeVar("E")


class LiveGuest(Account):
    """A guest that runs our kernel: which domain it is, and what is said on its console.

    Attributes:
        config: what it was created from.
        created: how it was created; after a reboot still the first time.
        domid: its domain.
        given_back_before: frames that guests had given back, dirty, when this one was created, or
            took them.
        ended: whether its domain has ended, as far as we have ended it.
    """

    def __init__(
        self,
        toolstack: Toolstack,
        dom0: Dom0,
        config: DomainConfig,
        created: Created,
        *,
        listeners: Listeners,
        given_back: BitMap64,
    ) -> None:
        super().__init__()
        self.config = config
        self.created = created
        self.domid = created.domid
        self.ended = False
        self._toolstack = toolstack
        self._dom0 = dom0
        self._listeners = listeners
        self._given_back = given_back
        self.given_back_before = given_back.copy()
        self._machine_frames: MachineFrames | None = None
        if config.type != "pv":
            from pytest_xenscrub.guest.machine_frames import MachineFrames  # noqa: PLC0415 - numpy

            witness = listeners.witness
            on_demand = bool(config.promised_bytes)
            look = None
            if witness is not None:
                frames_of = witness.oracle.frame_table.frames_of
                look = functools.partial(frames_of, on_demand=on_demand)
            self._machine_frames = MachineFrames(config.name, look, on_demand=on_demand)
        self._decoder = LineDecoder()
        self._undelivered: list[Event] = []
        self._console = toolstack.console(self.domid)

    @property
    def name(self) -> str:
        """Its name in the toolstack."""
        return self.config.name

    @property
    def number(self) -> int:
        """Names it in its pattern.

        Raises:
            GuestFailedError: it has not said hello yet.
        """
        hello = self.last(Hello)
        if hello is None:
            raise GuestFailedError(f"{self.name}: has said nothing yet", evidence=self.evidence())
        return hello.guest

    @property
    def memory_bytes(self) -> int:
        """Its memory when it was created, bytes."""
        return self.config.memory_bytes

    @property
    def knows_frames(self) -> bool:
        """Whether the frames that it tells are machine frames: its own word, or seen from outside.

        Elsewhere its lists of frames are empty.
        """
        return self.config.type == "pv" or self._listeners.witness is not None

    def some_frames(self, count: int) -> BitMap64:
        """So many of its frames (MFNs), evenly spread.

        Raises:
            NotApplicableError: nobody knows which they are.
        """
        if not self.knows_frames:
            raise NotApplicableError(
                f"{self.name}: a {self.config.type} guest does not know its machine frames, and"
                " nobody sees them from outside here"
            )
        frames = self.frames
        return BitMap64(frames[len(frames) * at // count] for at in range(count))

    def mappable(self, frames: BitMap64) -> list[int]:
        """What dom0 maps some of its frames (MFNs) by: MFNs of a PV guest, GFNs of another."""
        return [*frames] if self._machine_frames is None else self._machine_frames.gfns(frames)

    # -- its console ----------------------------------------------------------------------------

    def wait_for(self, kind: type[E], deadline: Deadline) -> E:
        """Read its console up to the next event of a kind.

        Raises:
            GuestFailedError: it reported an error, or its console was closed.
            GuestProtocolError: it said something that cannot be.
            XenHungError: its console said nothing for too long, or not that in time.
            UndecidedError: as that, but the host was starved meanwhile.
        """
        quiet = self._dom0.patience(deadline.step, seconds=self._dom0.hang_seconds)
        while True:
            while self._undelivered:
                event = self._undelivered.pop(0)
                if self._machine_frames is not None:
                    event = self._machine_frames.translate(event, self.domid)
                if isinstance(event, Progress):
                    self._listeners.update(self._progress_line(event))
                    continue
                self.events.append(event)
                if isinstance(event, Ranges):
                    self._keep_account(event)
                if isinstance(event, ErrorLine):
                    raise GuestFailedError(
                        f"{self.name}: {event.what} {event.detail}".rstrip(),
                        evidence=self.evidence(),
                    )
                if isinstance(event, kind):
                    return event
            deadline.check(**self.evidence())
            if quiet.passed:
                what = f"{deadline.step}: its console said nothing for {quiet.seconds:.0f} s"
                raise quiet.error(what, **self.evidence())
            try:
                self._dom0.check_alive(deadline.step)
            except (HostStalledError, HostSilentError) as error:
                error.evidence.setdefault(f"console of {self.name}", self._last_lines())
                raise
            try:
                data = self._console.read(min(_READ_SECONDS, deadline.remaining))
            except EOFError:
                raise GuestFailedError(
                    f"{self.name}: its console was closed while we waited for"
                    f" {kind.__name__.lower()}: the guest has ended",
                    todo="look for a domain crash in Xen's log",
                    evidence=self.evidence(),
                ) from None
            if data:
                quiet = self._dom0.patience(deadline.step, seconds=self._dom0.hang_seconds)
            self._listeners.heard(self.name, data)
            self._undelivered += self._decoder.feed(data)

    def _keep_account(self, ranges: Ranges) -> None:
        """What a live guest gives back stays dirty, until a guest owns it and dies with it.

        From one that was promised more than it has, Xen keeps it for that: the guest still owns it.
        """
        if ranges.kind == "ballooned":
            if len(self.ballooned) * PAGE > self.config.promised_bytes:
                self._given_back.update(ranges.frames)
            return
        if ranges.kind == "populated":
            # Of what it had taken before, and others since, its excuse is the one of now.
            self.given_back_before -= ranges.frames
            self.given_back_before |= ranges.frames & self._given_back
        self._given_back.difference_update(ranges.frames)

    def ready(self, *, seconds: float | None = None) -> None:
        """Wait until it has done all that it was told to."""
        self._work(self.config.command_line, seconds)

    def do(self, action: str, *, seconds: float | None = None) -> None:
        """Have it do something more: an action as the kernel's `do=` has it; wait until done."""
        self.send(action)
        self._work(action, seconds)

    def _work(self, actions: str, seconds: float | None) -> None:
        begin = time.monotonic()
        self.wait_for(Ready, self._patience(f"{self.name}: {actions}", seconds))
        self._dom0.pace.saw(self.memory_bytes, time.monotonic() - begin)

    def _patience(self, step: str, seconds: float | None, times: int = 1) -> Deadline:
        """A deadline that suits its memory, or is so many seconds from now."""
        return self._dom0.patience(step, times * self.memory_bytes, seconds=seconds)

    def who_is_right(self, error: DisagreementError) -> XenScrubError:
        """The error to raise where RAM is not what this guest, alive, wrote into it.

        It looks itself: where it misses pages too, they were changed under it, and only Xen can.
        """
        self.do("verify")
        seen = self.last(Verified)
        if seen is None or not seen.mismatched:
            return error
        return XenFaultError(
            f"{self.name} lives, and {seen.mismatched} of its {seen.pages} pages no longer hold"
            " what it wrote there",
            todo="this Xen scrubs, or gives away, pages of a live guest: which frames are they?",
            evidence={"seen from outside": error.what, **self.evidence()},
        )

    def send(self, action: str) -> None:
        """Tell it to do something, and do not wait."""
        self._console.write(action.encode() + b"\n")

    def _progress_line(self, event: Progress) -> str:
        left = (event.total - event.bytes) / event.rate if event.rate else 0.0
        return (
            f"{self.name}: {event.op} {gib(event.bytes)} of {gib(event.total)},"
            f" {event.rate / GIB:.1f} GiB/s, {left:.0f} s left"
        )

    def evidence(self) -> dict[str, str]:
        """Its console's and Xen's last lines."""
        return {f"console of {self.name}": self._last_lines(), **self._dom0.evidence()}

    def _last_lines(self) -> str:
        said = [*self._decoder.plain][-_TAIL:] + [str(e)[:200] for e in self.events[-5:]]
        return "\n".join(said)
