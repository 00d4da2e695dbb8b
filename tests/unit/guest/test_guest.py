# SPDX-License-Identifier: MIT
"""A guest over a console that plays what real guests said."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import numpy as np
import pytest
from pyroaring import BitMap64

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.answers import DomainInfo, Reclaim
from pytest_xenscrub.dom0.patience import Pace
from pytest_xenscrub.errors import (
    ConfigurationError,
    DisagreementError,
    Fault,
    GuestFailedError,
    GuestProtocolError,
    HostLostError,
    HostStalledError,
    InfrastructureError,
    NotApplicableError,
    UndecidedError,
    XenHungError,
)
from pytest_xenscrub.guest.events import Filled, Hello, Progress, Ready, Resumed, Scanned
from pytest_xenscrub.guest.factory import GuestFactory
from pytest_xenscrub.guest.guest import Guest
from pytest_xenscrub.guest.listeners import Listeners
from pytest_xenscrub.guest.sample import Sample
from pytest_xenscrub.toolstack.protocol import Created, DomainConfig
from pytest_xenscrub.units import MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

CONSOLES = Path(__file__).parent / "consoles"
HELLO = "hello protocol=3 type=pv pages=10 vcpus=1 run=1 guest=1 clean=0"


def recorded(name: str) -> bytes:
    return (CONSOLES / f"{name}.console").read_bytes()


def said(*texts: str) -> bytes:
    bodies = (f"{seq} {text}".encode() for seq, text in enumerate(texts))
    return b"".join(b"$%s*%08x\r\n" % (body, zlib.crc32(body)) for body in bodies)


def reclaimed(gone: float | None = 2.0) -> Reclaim:
    return Reclaim(1.0, 1.5, gone, 2.5, 3.0, None, [], [])


class FakeConsole:
    """Plays what it was given, in pieces; then it says nothing, or has ended."""

    def __init__(self, data: bytes, *, piece: int = 1000, ends: bool = False) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self._data = data
        self._piece = piece
        self._ends = ends

    def read(self, timeout: float) -> bytes:
        assert timeout <= 0.5
        if not self._data and self._ends:
            raise EOFError
        data, self._data = self._data[: self._piece], self._data[self._piece :]
        return data

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


class FakeWatch:
    def __init__(self, reclaim: Reclaim) -> None:
        self._reclaim = reclaim

    def result(self) -> Reclaim:
        return self._reclaim


class FakeHostAndToolstack:
    """Dom0 and toolstack in one, for guests whose consoles are given."""

    name = "xl"
    hang_seconds = 60.0
    starved = 0.0

    def __init__(self, *consoles: FakeConsole) -> None:
        self.pace = Pace()
        self.consoles = list(consoles)
        self.listened_to: list[int] = []
        self.silent = False
        self.reclaim = reclaimed()
        self.found: list[DomainInfo] = []
        self.ended: list[tuple[object, ...]] = []

    def console(self, domid: int) -> FakeConsole:
        self.listened_to.append(domid)
        return self.consoles[len(self.listened_to) - 1]

    def destroy(self, domid: int, *, until: str, deadline: Deadline) -> Reclaim:
        self.ended.append(("destroy", domid, until))
        return self.reclaim

    def watch(self, domid: int, argv: None, *, until: str, deadline: Deadline) -> FakeWatch:
        self.ended.append(("watch", domid, argv, until))
        return FakeWatch(self.reclaim)

    def save(self, domid: int, name: str, *, until: str, deadline: Deadline) -> Reclaim:
        self.ended.append(("save", domid, name, until))
        return self.reclaim

    def checkpoint(self, domid: int, name: str, deadline: Deadline) -> None:
        self.ended.append(("checkpoint", domid, name))

    def restore(self, name: str, deadline: Deadline) -> None:
        self.ended.append(("restore", name))

    def migrate(self, domid: int, *, until: str, deadline: Deadline) -> Reclaim:
        self.ended.append(("migrate", domid, until))
        return self.reclaim

    def patience(
        self, step: str, memory_bytes: int = 0, *, seconds: float | None = None
    ) -> Deadline:
        limit = self.hang_seconds + 60 if seconds is None else seconds
        return Deadline.for_xen(limit, step, lambda: self.starved)

    def check_alive(self, step: str) -> None:
        if self.silent:
            raise HostStalledError(f"silent during {step}")

    def domains(self) -> list[DomainInfo]:
        return self.found

    def evidence(self) -> dict[str, str]:
        return {"Xen's log": "(XEN) last words"}


class Started:
    """A guest, and what it was made of."""

    def __init__(
        self,
        *consoles: FakeConsole,
        given_back: BitMap64 | None = None,
        unfilled: BitMap64 | None = None,
        maximum_bytes: int | None = None,
    ) -> None:
        self.console = consoles[0]
        self.host = FakeHostAndToolstack(*consoles)
        self.shown: list[str] = []
        self.heard: list[bytes] = []
        self.given_back = BitMap64() if given_back is None else given_back
        self.unfilled = BitMap64() if unfilled is None else unfilled
        config = DomainConfig(
            "victim-1", UUID(int=1), "do=fill", 64 * MIB, 2, maximum_bytes=maximum_bytes
        )
        fake: Any = self.host
        self.guest = Guest(
            fake, fake, config, Created(5, 1.0, 2.0),
            listeners=Listeners(self.shown.append, lambda _, data: self.heard.append(data)),
            given_back=self.given_back, unfilled=self.unfilled,
        )  # fmt: skip


def playing(name: str, *, ends: bool = False) -> Started:
    return Started(FakeConsole(recorded(name), ends=ends))


# -- what it says ------------------------------------------------------------------------------


def test_ready() -> None:
    started = playing("filler")
    started.guest.ready()
    kinds = [type(event) for event in started.guest.events]
    assert (kinds[0], kinds[-1]) == (Hello, Ready)
    filled = started.guest.last(Filled)
    assert filled is not None
    assert filled.pages == 65233
    assert started.guest.last(Scanned) is None


def test_what_came_with_an_event_is_kept_for_the_next_wait() -> None:
    console = FakeConsole(said(HELLO, "ready", "verified pages=9 mismatched=0", "ready"))
    guest = Started(console).guest
    guest.ready()
    assert len(guest.all(Ready)) == 1
    guest.ready()
    assert len(guest.all(Ready)) == 2


def test_progress_is_shown_and_not_kept() -> None:
    text = "progress op=fill bytes=1073741824 total=2147483648 ns=500000000"
    started = Started(FakeConsole(said(HELLO, text, "ready")))
    started.guest.ready()
    assert started.shown == ["victim-1: fill 1.00 GiB of 2.00 GiB, 2.0 GiB/s, 0 s left"]
    assert not started.guest.all(Progress)


def test_an_action_is_typed_and_waited_for() -> None:
    started = playing("life", ends=True)
    started.guest.ready()
    with pytest.raises(GuestFailedError, match="no such action nonsense"):
        started.guest.do("nonsense")
    assert started.console.written == [b"nonsense\n"]


@pytest.mark.parametrize(("mismatched", "fault"), [(0, Fault.INFRASTRUCTURE), (3, Fault.XEN)])
def test_pages_that_changed_under_a_live_guest_are_xens_fault_if_it_sees_that_too(
    mismatched: int, fault: Fault
) -> None:
    said_last = f"verified pages=9 mismatched={mismatched}"
    guest = Started(FakeConsole(said(HELLO, "ready", said_last, "ready"))).guest
    guest.ready()
    told = guest.who_is_right(DisagreementError("seen from outside 6 of 9 frames hold it"))
    assert told.fault is fault
    assert ("3 of its 9 pages no longer hold" in str(told)) == bool(mismatched)
    assert "seen from outside 6 of 9 frames hold it" in str(told)


def test_an_error_line_shows_what_the_console_said_before() -> None:
    console = FakeConsole(b"out of luck\r\n" + said(HELLO, 'error what="no memory"'))
    with pytest.raises(GuestFailedError, match=r"^victim-1: no memory\n") as caught:
        Started(console).guest.ready()
    assert "out of luck" in caught.value.evidence["console of victim-1"]
    assert "last words" in caught.value.evidence["Xen's log"]


def test_a_mangled_line_is_no_verdict() -> None:
    console = FakeConsole(said(HELLO).replace(b"pages=10", b"pages=11"))
    with pytest.raises(GuestProtocolError, match="checksum"):
        Started(console).guest.ready()


def test_a_closed_console_is_a_guest_that_has_ended() -> None:
    started = Started(FakeConsole(said(HELLO), ends=True))
    with pytest.raises(GuestFailedError, match="closed while we waited for ready") as caught:
        started.guest.ready()
    assert "domain crash" in caught.value.todo


def test_a_domain_that_xen_lists_as_ended_has_ended() -> None:
    started = Started(FakeConsole(said(HELLO), ends=True))
    started.host.found = [a_domain(5, dying=True)]
    with pytest.raises(GuestFailedError, match="the guest has ended"):
        started.guest.ready()


def test_a_console_alone_that_was_closed_is_not_xens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_xenscrub.guest.live._ENDS_SECONDS", 0.1)
    started = Started(FakeConsole(said(HELLO), ends=True))
    started.host.found = [a_domain(5)]
    with pytest.raises(InfrastructureError, match="but Xen still runs the guest") as caught:
        started.guest.ready()
    assert caught.value.fault is Fault.INFRASTRUCTURE


def test_a_console_that_closes_with_its_host_is_as_the_host() -> None:
    started = Started(FakeConsole(said(HELLO), ends=True))

    def lost() -> NoReturn:
        raise HostLostError("QEMU has ended")

    started.host.domains = lost  # type: ignore[method-assign]
    with pytest.raises(HostLostError, match="QEMU has ended"):
        started.guest.ready()


@pytest.mark.parametrize("ends", [True, False])
def test_unread_output_is_passed_on_when_the_console_is_closed(*, ends: bool) -> None:
    lines = said(HELLO, "ready")
    started = Started(FakeConsole(lines, piece=10, ends=ends))
    started.guest.release()
    assert b"".join(started.heard) == lines
    assert started.console.closed


def test_a_guest_that_says_nothing_meets_its_deadline() -> None:
    started = Started(FakeConsole(said(HELLO)))
    with pytest.raises(XenHungError, match="victim-1: do=fill: not done") as caught:
        started.guest.ready(seconds=0.05)
    assert "Hello(" in caught.value.evidence["console of victim-1"]


def test_what_was_said_in_time_is_no_hang() -> None:
    guest = Started(FakeConsole(said(HELLO, "ready"), piece=10_000)).guest
    guest.wait_for(Hello, Deadline.after(5, "hello"))
    guest.wait_for(Ready, Deadline.after(-1, "what was read already"))


def test_a_silent_dom0_is_not_waited_for() -> None:
    started = Started(FakeConsole(said(HELLO)))
    started.host.silent = True
    with pytest.raises(HostStalledError, match="silent during victim-1: do=fill") as caught:
        started.guest.ready()
    assert "console of victim-1" in caught.value.evidence


def test_a_console_that_says_nothing_is_a_hang() -> None:
    started = Started(FakeConsole(said(HELLO)))
    started.host.hang_seconds = 0.05
    with pytest.raises(XenHungError, match="do=fill: its console said nothing for 0 s") as caught:
        started.guest.ready()
    assert "Hello(" in caught.value.evidence["console of victim-1"]


def test_a_guest_that_goes_on_talking_does_not_hang() -> None:
    lines = said(HELLO, *["progress op=fill bytes=1 total=9 ns=1"] * 20, "ready")
    console = FakeConsole(lines, piece=30)
    started = Started(console)
    started.host.hang_seconds = 0.1
    read = console.read

    def slowly(timeout: float) -> bytes:
        time.sleep(0.01)
        return read(timeout)

    console.read = slowly  # type: ignore[method-assign]
    begin = time.monotonic()
    started.guest.ready()
    assert time.monotonic() - begin > 2 * started.host.hang_seconds


def test_a_console_that_says_nothing_on_a_starved_host_is_undecided() -> None:
    started = Started(FakeConsole(said(HELLO)))
    started.host.hang_seconds = 0.05
    begin = time.monotonic()

    def starving(self: object) -> float:
        return 0.9 * (time.monotonic() - begin)

    type(started.host).starved = property(starving)  # type: ignore[assignment]
    try:
        with pytest.raises(UndecidedError, match="other work kept the host from running"):
            started.guest.ready()
    finally:
        type(started.host).starved = 0.0
    assert time.monotonic() - begin >= 4 * started.host.hang_seconds


# -- its frames --------------------------------------------------------------------------------


def test_frames_are_those_it_has_not_given_back() -> None:
    started = playing("filler")
    started.guest.ready()
    guest = started.guest
    assert len(guest.ballooned) == 20000
    assert len(guest.frames) == 65536 - 20000
    assert not guest.frames & guest.ballooned
    assert guest.map is not None
    assert len(guest.map) == 65536


def test_holes_are_given_back_and_what_is_between_them_is_not() -> None:
    told = [
        "range kind=frames at=0 runs=1:a", "ranges-end kind=frames pages=10",
        "ballooned pages=3", "range kind=ballooned at=2 runs=3:1:3:3",
        "ranges-end kind=ballooned pages=3", "ready",
    ]  # fmt: skip
    started = Started(FakeConsole(said(HELLO, *told)))
    started.guest.ready()
    assert started.guest.ballooned == started.given_back == BitMap64([3, 6, 9])
    assert started.guest.frames == BitMap64([1, 2, 4, 5, 7, 8, 10])


def test_frames_that_were_taken_back_are_its_own() -> None:
    told = [
        "range kind=frames at=0 runs=1:a", "ranges-end kind=frames pages=10",
        "ballooned pages=4", "range kind=ballooned at=0 runs=7:4",
        "ranges-end kind=ballooned pages=4", "populated pages=2",
        "range kind=populated at=0 runs=10:1,77:1", "ranges-end kind=populated pages=2", "ready",
    ]  # fmt: skip
    started = Started(FakeConsole(said(HELLO, *told)))
    started.guest.ready()
    assert started.guest.frames == BitMap64([*range(1, 7), 0x10, 0x77])
    assert started.guest.ballooned == started.given_back == BitMap64([7, 8, 9, 10])


def test_what_a_guest_takes_is_excused_if_it_was_dirty_by_then() -> None:
    told = [
        "ballooned pages=2", "range kind=ballooned at=0 runs=9:2",
        "ranges-end kind=ballooned pages=2", "populated pages=2",
        "range kind=populated at=0 runs=9:1,88:1", "ranges-end kind=populated pages=2", "ready",
    ]  # fmt: skip
    account = BitMap64([0x77, 0x88])
    started = Started(FakeConsole(said(HELLO, *told)), given_back=account)
    account.discard(0x88)  # somebody has owned it since this guest was created
    started.guest.ready()
    assert started.guest.given_back_before == BitMap64([9, 0x77])
    assert account == BitMap64([10, 0x77])


def test_what_a_live_guest_gives_back_is_on_the_hosts_account() -> None:
    started = playing("filler")
    started.guest.ready()
    assert started.given_back == started.guest.ballooned
    assert started.guest.given_back_before == BitMap64()


@pytest.mark.parametrize(("promised", "excused"), [(20000, 0), (19999, 20000)])
def test_what_pays_for_a_promise_of_xens_is_still_the_guests(promised: int, excused: int) -> None:
    console = FakeConsole(recorded("filler"))
    started = Started(console, maximum_bytes=64 * MIB + promised * PAGE)
    started.guest.ready()
    assert len(started.guest.ballooned) == 20000
    assert len(started.given_back) == excused


def test_a_frame_that_a_guest_owns_again_is_off_the_account() -> None:
    owned = playing("filler")
    owned.guest.ready()
    mfn = min(owned.guest.frames)
    account = BitMap64([mfn, 0x7FFFFFFF])
    started = Started(FakeConsole(recorded("filler")), given_back=account)
    started.guest.ready()
    assert mfn not in account
    assert 0x7FFFFFFF in account
    assert started.guest.given_back_before == BitMap64([mfn, 0x7FFFFFFF])


def test_a_frame_that_a_probe_got_is_excused_for_that_probe_only() -> None:
    filler = playing("filler")
    filler.guest.ready()
    given = filler.guest.ballooned
    account = given.copy()
    probe = Started(FakeConsole(recorded("probe")), given_back=account).guest
    probe.ready()
    dirty = probe.frames_of("residue")
    assert dirty <= probe.given_back_before == given
    assert not dirty & account


def test_sets_that_were_not_told_are_empty() -> None:
    guest = Started(FakeConsole(said(HELLO, "ready"))).guest
    guest.ready()
    assert not guest.frames
    assert not guest.ballooned
    assert guest.map is None


# -- its end -----------------------------------------------------------------------------------


def test_destroy_lets_go_of_the_console() -> None:
    started = playing("filler")
    ended = started.guest.destroy(until="free")
    assert started.host.ended == [("destroy", 5, "free")]
    assert (ended.how, ended.reclaim.gone, ended.guest) == ("destroy", 2.0, started.guest)
    assert started.console.closed


def test_an_end_of_its_own_is_watched_from_before_it_is_asked_for() -> None:
    started = playing("filler")
    ended = started.guest.end("crash")
    assert started.host.ended == [("watch", 5, None, "clean")]
    assert started.console.written == [b"crash\n"]
    assert ended.how == "crash"
    assert started.console.closed


def test_what_ends_it_may_have_another_name() -> None:
    started = playing("filler")
    assert started.guest.end("crash", told="overdraw=1024").how == "crash"
    assert started.console.written == [b"overdraw=1024\n"]


def test_a_guest_that_does_not_end_meets_its_deadline() -> None:
    started = playing("filler")
    started.host.reclaim = reclaimed(gone=None)
    with pytest.raises(XenHungError, match="victim-1: poweroff"):
        started.guest.end("poweroff", seconds=0)


def a_domain(domid: int, *, uuid: int = 1, dying: bool = False) -> DomainInfo:
    return DomainInfo(domid, UUID(int=uuid), 0, dying=dying, runs=not dying,
                      paused=False, cpu_seconds=0.0)  # fmt: skip


def test_after_a_reboot_it_is_another_domain_with_the_same_uuid() -> None:
    started = Started(FakeConsole(said(HELLO)), FakeConsole(said(HELLO, "ready")))
    started.guest.wait_for(Hello, Deadline.after(5, "hello"))
    started.host.found = [a_domain(5, dying=True), a_domain(6, uuid=2), a_domain(7)]
    started.guest.follow_reboot()
    assert started.host.listened_to == [5, 7]
    started.guest.ready()
    assert [type(event) for event in started.guest.events] == [Hello, Ready]


@pytest.mark.parametrize("found", [lambda: [], lambda: [a_domain(5)]])
def test_a_guest_that_does_not_come_back(found: Callable[[], list[DomainInfo]]) -> None:
    started = playing("filler")
    started.host.found = found()
    with pytest.raises(XenHungError, match="coming back after its reboot"):
        started.guest.follow_reboot(seconds=0.02)


# -- its way to another domain -----------------------------------------------------------------


def said_after(seq: int, *texts: str) -> bytes:
    """What a guest says that has said `seq` lines in another domain."""
    bodies = (f"{at} {text}".encode() for at, text in enumerate(texts, seq))
    return b"".join(b"$%s*%08x\r\n" % (body, zlib.crc32(body)) for body in bodies)


FRAMES = ("range kind=frames at=0 runs=20:a", "ranges-end kind=frames pages=10")


def test_a_saved_guest_goes_on_where_it_was_in_its_report() -> None:
    resumed = said_after(2, *FRAMES, "resumed cancelled=0 ns=7")
    started = Started(FakeConsole(said(HELLO, "ready")), FakeConsole(resumed))
    started.guest.ready()
    assert started.guest.save().how == "save"
    assert started.console.closed
    started.host.found = [a_domain(9)]
    assert started.guest.restore() == Resumed(cancelled=False, ns=7)
    assert started.host.ended == [("save", 5, "victim-1", "clean"), ("restore", "victim-1")]
    assert started.guest.domid == 9
    assert started.guest.frames == BitMap64(range(0x20, 0x2A))
    assert [type(event) for event in started.guest.events[:2]] == [Hello, Ready]


def test_its_bytes_are_watched_from_a_save_to_its_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    """After that they may lie where they lay before, and are alive."""
    resumed = said_after(2, *FRAMES, "resumed cancelled=0 ns=7")
    started = Started(FakeConsole(said(HELLO, "ready")), FakeConsole(resumed))
    started.guest.ready()
    told: list[object] = []
    recorder = SimpleNamespace(issued=told.append, stop=lambda: told.append("stopped"))
    monkeypatch.setattr(started.guest, "_record_bytes", lambda: recorder)
    saved: Any = started.guest.save()
    assert saved.recorder is recorder
    assert told == [started.host.reclaim.issued]
    started.host.found = [a_domain(9)]
    started.guest.restore()
    assert told[1:] == ["stopped"]


def test_a_migrated_guest_is_another_domain_with_the_same_uuid() -> None:
    resumed = said_after(1, *FRAMES, "resumed cancelled=0 ns=7")
    started = Started(FakeConsole(said(HELLO)), FakeConsole(resumed))
    started.guest.wait_for(Hello, Deadline.after(5, "hello"))
    started.host.found = [a_domain(5, dying=True), a_domain(6)]
    ended, event = started.guest.migrate()
    assert (ended.how, event.ns, started.guest.domid) == ("migrate", 7, 6)


def test_a_checkpoint_leaves_the_domain_and_the_console() -> None:
    resumed = said_after(2, *FRAMES, "resumed cancelled=1 ns=7")
    started = Started(FakeConsole(said(HELLO, "ready") + resumed))
    started.guest.ready()
    assert started.guest.checkpoint().cancelled
    assert started.host.listened_to == [5]
    assert not started.console.closed


def test_unknown_frames_are_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guest, "knows_frames", False)
    with pytest.raises(NotApplicableError, match="does not know its machine frames"):
        Started(FakeConsole(b"")).guest.some_frames(4)


# -- a sample of its pages ---------------------------------------------------------------------

SAMPLE = Sample(seed=0x5EED, single=1 << 30, dense=0)
SAMPLED_HELLO = "hello protocol=3 type=pv pages=100 vcpus=1 run=1 guest=1 clean=0"
OWN = 10
DATA = [pfn for pfn in range(OWN, 100) if SAMPLE.has(np.array([pfn], np.uint64))[0]]
FIRST = 0x1000
"""The frame of page 0."""


def frames_lines(first: int) -> list[str]:
    return [
        f"range kind=own at=0 runs={first:x}:{OWN:x}",
        f"ranges-end kind=own pages={OWN}",
        f"range kind=frames at=0 runs={first:x}:64",
        "ranges-end kind=frames pages=100",
    ]


def sampled(*more: str, pages: int = len(DATA), own: int = OWN) -> Started:
    filled = (
        f"filled pages={pages} own={own} ns=1 vcpus=1 left={100 - own - pages} seed=5eed"
        f" single={SAMPLE.single:x} dense=0"
    )
    return Started(FakeConsole(said(SAMPLED_HELLO, filled, *frames_lines(FIRST), *more, "ready")))


def test_what_it_filled_is_what_its_seed_says_without_its_own_pages() -> None:
    started = sampled()
    started.guest.ready()
    assert 5 < len(DATA) < 50
    assert started.guest.sample == SAMPLE
    assert started.guest.filled_frames == BitMap64(FIRST + pfn for pfn in DATA)
    assert started.guest.pattern_pages == len(DATA)
    assert started.unfilled == BitMap64(range(FIRST, FIRST + 100)) - started.guest.filled_frames
    filled = started.guest.last(Filled)
    assert filled is not None
    assert filled.share == len(DATA) / 100
    assert started.guest.some_frames(3).issubset(started.guest.filled_frames)


def test_other_pages_than_its_seed_says_are_an_error_of_ours() -> None:
    with pytest.raises(DisagreementError, match=r"has filled .* by its seed it is"):
        sampled(pages=len(DATA) - 1).guest.ready()


def test_a_share_that_fills_no_page_is_an_error() -> None:
    filled = f"filled pages=0 own={OWN} ns=1 vcpus=1 left={100 - OWN} seed=5eed single=1 dense=0"
    started = Started(FakeConsole(said(SAMPLED_HELLO, filled, *frames_lines(FIRST), "ready")))
    with pytest.raises(ConfigurationError, match="fills no page"):
        started.guest.ready()


def test_sums_of_a_sample_must_come_out() -> None:
    with pytest.raises(GuestProtocolError, match="9 pages were to come"):
        sampled(own=9).guest.ready()
    wrong = "filled pages=5 own=5 ns=1 vcpus=1 left=5 seed=1 single=1 dense=0"
    with pytest.raises(GuestProtocolError, match="the guest has 100 pages"):
        Started(FakeConsole(said(SAMPLED_HELLO, wrong))).guest.ready()


def test_what_it_gives_back_of_a_sample_it_no_longer_holds() -> None:
    started = sampled(
        "ballooned pages=50", f"range kind=ballooned at=50 runs={FIRST + 50:x}:32",
        "ranges-end kind=ballooned pages=50",
        # It gets others, which it has not filled, whatever its seed says; and tells of all.
        "populated pages=20", f"range kind=populated at=50 runs={FIRST + 500:x}:14",
        "ranges-end kind=populated pages=20",
        f"range kind=own at=0 runs={FIRST:x}:{OWN:x}", f"ranges-end kind=own pages={OWN}",
        f"range kind=frames at=0 runs={FIRST:x}:32,{FIRST + 500:x}:14",
        "ranges-end kind=frames pages=70",
    )  # fmt: skip
    started.guest.ready()
    held = BitMap64(FIRST + pfn for pfn in DATA if pfn < 50)
    assert started.guest.filled_frames == held
    assert BitMap64(range(FIRST + 500, FIRST + 520)).issubset(started.unfilled)
    assert not started.unfilled & held


def test_after_a_move_the_same_pages_are_filled_in_other_frames() -> None:
    started = sampled(*frames_lines(0x9000), "resumed cancelled=0 ns=5")
    started.guest.ready()
    assert started.guest.filled_frames == BitMap64(0x9000 + pfn for pfn in DATA)
    # Those that it has left are what they were.
    assert BitMap64(FIRST + pfn for pfn in DATA).isdisjoint(started.unfilled)
    assert FIRST in started.unfilled


WHOLE = ["filled pages=90 own=10 ns=1 vcpus=1", *frames_lines(FIRST)[2:], "ready"]


def test_the_last_that_had_a_frame_counts() -> None:
    started = sampled()
    started.guest.ready()
    assert started.unfilled
    other = Started(FakeConsole(said(SAMPLED_HELLO, *WHOLE)), unfilled=started.unfilled)
    other.guest.ready()
    assert not started.unfilled


def test_one_that_reads_knows_what_was_not_filled_before_it() -> None:
    started = sampled()
    left = started.unfilled
    console = FakeConsole(
        said(
            SAMPLED_HELLO,
            "scanned pages=100 clean=90 residue=0 unjudged=10 pattern=0 other=0 ns=5 vcpus=1",
            f"range kind=clean at=10 runs={FIRST + OWN:x}:5a", "ranges-end kind=clean pages=90",
            "ranges-end kind=residue pages=0",
            f"range kind=unjudged at=0 runs={FIRST:x}:a", "ranges-end kind=unjudged pages=10",
            *WHOLE,
        )
    )  # fmt: skip
    reader = Started(console, unfilled=left)
    started.guest.ready()
    before = left.copy()
    reader.guest.ready()
    assert before
    assert reader.guest.unfilled_before == before
    assert not left


@pytest.mark.parametrize(("starved", "kind"), [(0.0, XenHungError), (60.0, UndecidedError)])
def test_a_console_that_never_said_a_word_is_a_hang(starved: float, kind: type[Exception]) -> None:
    started = Started(FakeConsole(b""))
    started.host.hang_seconds = 0.05
    console = started.console

    def silent(timeout: float) -> bytes:
        started.host.starved = starved
        return b""

    console.read = silent  # type: ignore[method-assign]
    with pytest.raises(kind):
        started.guest.ready(seconds=0.5)


@pytest.mark.parametrize(("starved", "kind"), [(0.0, XenHungError), (600.0, UndecidedError)])
def test_a_guest_that_is_not_built_in_time_is_xens(starved: float, kind: type[Exception]) -> None:
    def create(_: object, *, deadline: Deadline) -> NoReturn:
        raise deadline.error()

    fake: Any = SimpleNamespace(
        listeners=SimpleNamespace(update=lambda _: None),
        dom0=SimpleNamespace(
            patience=lambda step, _: Deadline.for_xen(
                0.0, step, iter([0.0, *[starved] * 9]).__next__
            )
        ),
        toolstack=SimpleNamespace(name="xl", create=create),
    )
    config: Any = SimpleNamespace(name="victim-1", memory_bytes=64 * MIB)
    with pytest.raises(kind, match="xl create victim-1"):
        GuestFactory._started(fake, config)
