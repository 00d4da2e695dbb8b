# SPDX-License-Identifier: MIT
"""A running guest: its domain, and its console."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, TypeVar

from pyroaring import BitMap64

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    DisagreementError,
    GuestFailedError,
    HostSilentError,
    HostStalledError,
    InfrastructureError,
    NotApplicableError,
    XenFaultError,
    XenScrubError,
)
from pytest_xenscrub.guest.console import LineDecoder
from pytest_xenscrub.guest.events import (
    ErrorLine,
    Hello,
    Progress,
    Ranges,
    Ready,
    Scanned,
    Verified,
)
from pytest_xenscrub.guest.reported import ReportedGuest
from pytest_xenscrub.guest.unfilled import keep_sample
from pytest_xenscrub.units import GIB, PAGE, gib

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.events import Event
    from pytest_xenscrub.guest.listeners import Listeners
    from pytest_xenscrub.guest.machine_frames import MachineFrames
    from pytest_xenscrub.toolstack.protocol import Created, DomainConfig, Toolstack

_READ_SECONDS = 0.5
_TAIL = 15
# A console may close a moment before Xen lists its domain as ended.
_ENDS_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.25

E = TypeVar("E")


class LiveGuest(ReportedGuest):
    """A running guest with this project's kernel: its domain, and its console.

    Attributes:
        config: the configuration that the guest was created from.
        created: how the guest was created; after a reboot still the first time.
        domid: the guest's domain.
        given_back_before: frames that guests had given back, dirty, before this guest was created
            or took them.
        unfilled_before: frames that their last owner had not filled when this guest last began to
            read; see `Sample`.
        ended: whether the guest's domain has ended, as far as this object has ended it.
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
        unfilled: BitMap64 | None = None,
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
        self._unfilled = BitMap64() if unfilled is None else unfilled
        self.unfilled_before = self._unfilled.copy()
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
        """The guest's name in the toolstack."""
        return self.config.name

    @property
    def number(self) -> int:
        """The guest's number in its pattern.

        Raises:
            GuestFailedError: the guest has not printed its first line yet.
        """
        hello = self.last(Hello)
        if hello is None:
            raise GuestFailedError(f"{self.name}: has said nothing yet", evidence=self.evidence())
        return hello.guest

    @property
    def memory_bytes(self) -> int:
        """The guest's memory at its creation, bytes."""
        return self.config.memory_bytes

    @property
    def knows_frames(self) -> bool:
        """Whether the guest's machine frames are known: from the guest, or from outside.

        If not, the guest's sets of frames are empty.
        """
        return self.config.type == "pv" or self._listeners.witness is not None

    def some_frames(self, count: int) -> BitMap64:
        """Pick some of the guest's frames (MFNs), evenly spread; of a sample, filled frames.

        Raises:
            NotApplicableError: the guest's frames are not known.
        """
        if not self.knows_frames:
            raise NotApplicableError(
                f"{self.name}: a {self.config.type} guest does not know its machine frames, and"
                " this host's RAM cannot be read from outside"
            )
        frames = self.filled_frames
        return BitMap64(frames[len(frames) * at // count] for at in range(count))

    def mappable(self, frames: BitMap64) -> list[int]:
        """The numbers by which dom0 maps these frames: a PV guest's MFNs, another guest's GFNs."""
        return [*frames] if self._machine_frames is None else self._machine_frames.gfns(frames)

    # -- its console ----------------------------------------------------------------------------

    def wait_for(self, kind: type[E], deadline: Deadline) -> E:
        """Read the guest's console up to the next event of a kind.

        Raises:
            GuestFailedError: the guest reported an error, or ended.
            InfrastructureError: only its console has ended.
            GuestProtocolError: a console line is wrong.
            XenHungError: the console was silent for too long, or the event did not come in time.
            UndecidedError: as `XenHungError`, but other work starved the host meanwhile.
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
                    self._update_given_back(event)
                    keep_sample(self, event, self._unfilled)
                if isinstance(event, Scanned):
                    self.unfilled_before = self._unfilled.copy()
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
                raise self._closed(kind.__name__.lower()) from None
            if data:
                quiet = self._dom0.patience(deadline.step, seconds=self._dom0.hang_seconds)
            self._listeners.heard(self.name, data)
            self._undelivered += self._decoder.feed(data)

    def _closed(self, awaited: str) -> XenScrubError:
        """The error for a closed console; raises another one if dom0 does not answer any more.

        A console also closes if its connection is lost, so Xen is asked whether the guest runs.
        """
        what = f"{self.name}: its console was closed while we waited for {awaited}"
        deadline = Deadline.after(_ENDS_SECONDS, what)
        while any(d.domid == self.domid and d.runs for d in self._dom0.domains()):
            if deadline.passed:
                return InfrastructureError(
                    f"{what}, but Xen still runs the guest",
                    todo="was the console's program, or its ssh, killed?",
                    evidence=self.evidence(),
                )
            time.sleep(_LOOK_AGAIN_SECONDS)
        return GuestFailedError(
            f"{what}: the guest has ended",
            todo="look for a domain crash in Xen's log",
            evidence=self.evidence(),
        )

    def _update_given_back(self, ranges: Ranges) -> None:
        """Update the frames that are dirty by contract, because a live guest gave them back.

        Such a frame stays dirty until a guest owns it and dies with it. A guest that is populated
        on demand still owns what it gives back, up to the memory that it was promised: Xen keeps
        that in the domain's cache.
        """
        if ranges.kind == "ballooned":
            if len(self.ballooned) * PAGE > self.config.promised_bytes:
                self._given_back.update(ranges.frames)
            return
        if ranges.kind == "populated":
            # A frame that this guest took may have had another owner since: only its present state
            # counts.
            self.given_back_before -= ranges.frames
            self.given_back_before |= ranges.frames & self._given_back
        self._given_back.difference_update(ranges.frames)

    def ready(self, *, seconds: float | None = None) -> None:
        """Wait until the guest has done all of its actions."""
        self._work(self.config.command_line, seconds)

    def do(self, action: str, *, seconds: float | None = None) -> None:
        """Make the guest do a further action, as in the kernel's option `do=`; wait until done."""
        self.send(action)
        self._work(action, seconds)

    def _work(self, actions: str, seconds: float | None) -> None:
        begin = time.monotonic()
        self.wait_for(Ready, self._patience(f"{self.name}: {actions}", seconds))
        self._dom0.pace.saw(self.memory_bytes, time.monotonic() - begin)

    def _patience(self, step: str, seconds: float | None, times: int = 1) -> Deadline:
        """A deadline by the guest's memory, or `seconds` from now."""
        return self._dom0.patience(step, times * self.memory_bytes, seconds=seconds)

    def who_is_right(self, error: DisagreementError) -> XenScrubError:
        """The error to raise if RAM does not hold what this live guest wrote.

        The guest checks its own pages. If pages changed for the guest too, Xen changed them.
        """
        self.do("verify")
        seen = self.last(Verified)
        if seen is None or not seen.mismatched:
            return error
        return XenFaultError(
            f"{self.name} is alive, but {seen.mismatched} of its {seen.pages} pages no longer hold"
            " what it wrote there",
            todo="this Xen scrubs, or gives away, pages of a live guest: which frames are they?",
            evidence={"seen from outside": error.what, **self.evidence()},
        )

    def send(self, action: str) -> None:
        """Send the guest an action, without waiting."""
        self._console.write(action.encode() + b"\n")

    def _progress_line(self, event: Progress) -> str:
        left = (event.total - event.bytes) / event.rate if event.rate else 0.0
        return (
            f"{self.name}: {event.op} {gib(event.bytes)} of {gib(event.total)},"
            f" {event.rate / GIB:.1f} GiB/s, {left:.0f} s left"
        )

    def evidence(self) -> dict[str, str]:
        """The last lines of the guest's console and of Xen's log."""
        return {f"console of {self.name}": self._last_lines(), **self._dom0.evidence()}

    def _last_lines(self) -> str:
        said = [*self._decoder.plain][-_TAIL:] + [str(e)[:200] for e in self.events[-5:]]
        return "\n".join(said)
