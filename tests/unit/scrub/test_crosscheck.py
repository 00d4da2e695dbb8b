# SPDX-License-Identifier: MIT
"""Probes against RAM, both faked: who is believed is neither of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.guest.events import DirtyPage, Filled, PatternResidue, Scanned
from pytest_xenscrub.guest_type import paging_bytes
from pytest_xenscrub.scrub import crosscheck
from pytest_xenscrub.scrub.crosscheck import Compared, CrossCheck
from pytest_xenscrub.scrub.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_xenscrub.guest_type import GuestType

E = TypeVar("E")
RUN = 0x12AB34
SCANNED = Scanned(1000, 1000, 0, 0, pattern=0, other=0, ns=1, vcpus=2)
FILLED = Filled(900, 100, 1, 2)


class FakeOracle:
    """RAM in which some frames are dirty, and some of those hold a pattern."""

    def __init__(
        self,
        dirty: Any = (),
        patterns: dict[int, int] | None = None,
        heap: Any = (),
        tables: Any = (),
    ) -> None:
        self.patterns = patterns or {}
        self.dirty = BitMap64([*dirty, *self.patterns])
        self.frame_table = SimpleNamespace(
            xen_heap=lambda frames: frames & BitMap64(heap),
            tables=lambda frames: frames & BitMap64(tables),
        )

    def clean(self, frames: BitMap64) -> BitMap64:
        return frames - self.dirty

    def holding(self, frames: BitMap64, run: int, guests: Iterable[int]) -> BitMap64:
        assert run == RUN
        return frames & BitMap64(mfn for mfn, guest in self.patterns.items() if guest in guests)


class FakeGuest:
    """Guest 3: a probe that lives; guest 1 is dead, and guest 2 lives."""

    name = "probe-3"
    number = 3
    memory_bytes = 1000 << 12

    def __init__(
        self, clean: Any = (), residue: Any = (), used: Any = (), *,
        events: tuple[Any, ...] = (SCANNED,), ended: bool = False, ballooned: Any = (),
        given_back: Any = (), pattern: Any = (),
    ) -> None:  # fmt: skip
        self.sets = {"clean": clean, "residue": residue, "used": used, "pattern": pattern}
        self.events = events
        self.ended = ended
        self.ballooned = BitMap64(ballooned)
        self.given_back_before = BitMap64(given_back)

    def frames_of(self, kind: str) -> BitMap64:
        return BitMap64(self.sets[kind])

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


class KnownGuest(SimpleNamespace):
    """What is known of a guest that is not compared."""

    sets: dict[str, BitMap64]
    config = SimpleNamespace(set_aside_bytes=0)

    def frames_of(self, kind: str) -> BitMap64:
        return self.sets.get(kind, BitMap64())


def check_of(
    oracle: FakeOracle, *, backlog: int = 0, dying: bool = False, live_type: GuestType = "pv"
) -> CrossCheck:
    """Guest 1 is dead; guest 2 lives, and has two frames of its own; guest 3 has read a pattern."""
    fake: Any = oracle
    guests: Any = SimpleNamespace(
        run=RUN,
        names={1: "victim-1", 2: "live-2", 3: "probe-3"},
        guests={
            1: KnownGuest(ended=True, frames=BitMap64([996]), sets={}),
            2: KnownGuest(
                ended=False,
                frames=BitMap64([997, 2000]),
                sets={},
                config=SimpleNamespace(set_aside_bytes=paging_bytes(live_type, 1 << 20, 0)),
            ),
            3: KnownGuest(
                ended=False,
                frames=BitMap64(),
                sets={"pattern": BitMap64([5000]), "unjudged": BitMap64([994, 5001])},
            ),
        },
        dom0=SimpleNamespace(
            backlog_pages=lambda: backlog, domains=lambda: [SimpleNamespace(dying=dying)]
        ),
    )
    return CrossCheck(fake, guests)


def compare(oracle: FakeOracle, guest: FakeGuest) -> Compared:
    fake: Any = guest
    return check_of(oracle).compare(fake)


def dirty_page(mfn: int, *, guest: int | None, run: int = RUN) -> DirtyPage:
    pattern = PatternResidue(run=run, guest=guest, pfn=1, mfn=mfn, position=0, at=0)
    return DirtyPage(0, mfn, 0, 4095, 512, pattern)


def test_a_probe_that_says_what_is_the_case_agrees() -> None:
    assert compare(FakeOracle(dirty=[7, 8]), FakeGuest(range(7), [7, 8])) == Compared()


def test_a_dead_guests_pattern_in_what_was_called_clean_is_residue_and_told() -> None:
    patterns = dict.fromkeys(range(20, 30), 1)
    seen = compare(FakeOracle(patterns=patterns), FakeGuest(range(25), range(25, 30)))
    assert (seen.missed, seen.disputed) == (BitMap64(range(20, 25)), BitMap64())
    (told,) = seen.differences
    assert told.startswith("probe-3 called frames clean which hold a dead guest's pattern, seen")
    assert "5 of them, MFNs 0x14, 0x15" in told


def test_other_data_in_a_frame_called_clean_is_disputed() -> None:
    """It may be anybody's who wrote there since: the frame is neither clean nor dirty then."""
    seen = compare(FakeOracle(dirty=[7], patterns={8: 1}), FakeGuest(range(10)))
    assert (seen.missed, seen.disputed) == (BitMap64([8]), BitMap64([7]))
    assert len(seen.differences) == 2
    assert "called frames clean which hold data, seen from outside: 1 of them" in " ".join(
        seen.differences
    )


@pytest.mark.parametrize(
    "guest", [FakeGuest([7], given_back=[7]), FakeGuest([7], events=(FILLED, SCANNED))]
)
def test_what_a_live_guest_gave_back_or_it_wrote_itself_is_no_residue(guest: FakeGuest) -> None:
    owner = 2 if guest.given_back_before else guest.number
    seen = compare(FakeOracle(patterns={7: owner}), guest)
    assert (seen.missed, seen.disputed) == (BitMap64(), BitMap64([7]))
    assert len(seen.differences) == 1


def test_a_clean_frame_called_dirty_is_told_and_is_no_residue() -> None:
    seen = compare(FakeOracle(dirty=[7]), FakeGuest(range(7), [7, 8]))
    assert (seen.missed, seen.disputed) == (BitMap64(), BitMap64([8]))
    assert (
        "called frames dirty which are clean, seen from outside: 1 of them" in seen.differences[0]
    )


def test_who_names_a_dead_guest_has_read_its_bytes_though_they_are_gone_by_now() -> None:
    """A Xen that scrubs what it has handed out already: no probe can make up another's number."""
    read = (
        dirty_page(7, guest=1),
        dirty_page(8, guest=3),
        dirty_page(9, guest=77),
        dirty_page(10, guest=1, run=5),
        dirty_page(11, guest=None),
        DirtyPage(0, 12, 0, 4095, 512, None),
    )
    seen = compare(FakeOracle(), FakeGuest(residue=range(7, 13), events=(SCANNED, *read)))
    assert seen.disputed == BitMap64(range(8, 13))
    assert "which are clean, seen" in seen.differences[0]
    assert "read a dead guest's pattern in frames which are clean by now" in seen.differences[1]


def test_what_a_probe_wrote_to_after_it_read_it_is_not_compared() -> None:
    guest = FakeGuest([*range(6), 9], [6, 8], used=[5, 8], ballooned=[9])
    assert compare(FakeOracle(dirty=[5, 6]), guest) == Compared()


def test_no_probe_may_excuse_more_frames_than_it_can_need() -> None:
    seen = compare(FakeOracle(), FakeGuest(range(1000), used=range(70)))
    assert "uses frames more than it can need" in seen.differences[0]
    assert seen.disputed == BitMap64(range(70))


def test_a_pattern_in_what_a_probe_uses_and_called_clean_is_residue() -> None:
    seen = compare(FakeOracle(patterns={5: 1}), FakeGuest(range(10), used=[5]))
    assert (seen.missed, seen.disputed) == (BitMap64([5]), BitMap64())
    assert "uses frames which hold a dead guest's pattern" in seen.differences[0]


@pytest.mark.parametrize(
    "guest",
    [
        FakeGuest(range(5), [5], used=[5]),
        FakeGuest(range(10), [20], used=[5], pattern=[20]),
    ],
)
def test_what_a_probe_uses_was_judged_when_it_came(guest: FakeGuest) -> None:
    """It was dirty then, and told so; or the probe has words that it read on its stacks."""
    assert compare(FakeOracle(dirty=[20], patterns={5: 1}), guest) == Compared()


@pytest.mark.parametrize(
    "guest",
    [
        FakeGuest([7], ended=True),
        FakeGuest([7], events=(SCANNED, FILLED)),
        FakeGuest([7], events=()),
    ],
)
def test_what_is_there_no_more_is_not_compared(guest: FakeGuest) -> None:
    assert compare(FakeOracle(dirty=[7]), guest) == Compared()


def test_one_that_reads_what_it_has_filled_is_compared() -> None:
    assert compare(FakeOracle(dirty=[7]), FakeGuest([7], events=(FILLED, SCANNED))).differences


VICTIM = BitMap64(range(1000))
READ = BitMap64(range(995))


def complete(oracle: FakeOracle, verdict: Verdict | None = None, **state: Any) -> Verdict:
    return check_of(oracle, **state).complete(verdict or Verdict(VICTIM, READ, BitMap64()))


def test_frames_that_no_probe_was_given_are_judged_from_outside() -> None:
    verdict = complete(FakeOracle(dirty=[996]))
    assert verdict.outside_clean == BitMap64([995, 996, 998, 999])
    assert (verdict.coverage, verdict.judged) == (0.995, 0.999)
    assert verdict.clean
    assert "0 of 4 frames that no probe was given" in str(verdict)


def test_a_guests_pattern_in_them_is_residue_but_in_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crosscheck, "_SETTLE_SECONDS", 0.0)
    verdict = complete(FakeOracle(patterns={996: 1, 997: 2}))
    assert verdict.outside_residue == BitMap64([996])
    assert verdict.state == "residue"
    assert "1 frames of the victim that no guest was given still hold" in str(verdict)


def test_a_pattern_in_xens_heap_is_reported_and_is_not_residue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crosscheck, "_SETTLE_SECONDS", 0.0)
    verdict = complete(FakeOracle(patterns={996: 1}, heap=[996, 998]))
    assert (verdict.kept, verdict.outside_residue) == (BitMap64([996]), BitMap64())
    assert verdict.clean
    assert "Xen's heap: 1 frames hold a guest's pattern" in str(verdict)
    both = complete(FakeOracle(patterns={995: 1, 996: 1}, heap=[996]))
    assert (both.kept, both.outside_residue) == (BitMap64([996]), BitMap64([995]))
    assert not both.clean


def test_page_tables_of_live_guests_are_memory_that_no_probe_can_be_given() -> None:
    """A guest of 1 MiB needs two pages of tables, and no more are excused."""
    half_read = Verdict(VICTIM, READ - BitMap64(range(5)), BitMap64())
    assert complete(FakeOracle(), half_read).coverage == 0.99
    tables = FakeOracle(tables=[0, 1, 995])
    assert not complete(tables, half_read, live_type="pvh").tables
    tables = FakeOracle(tables=[0, 995, 994])
    verdict = complete(tables, half_read, live_type="pvh")
    assert verdict.tables == BitMap64([0, 995])
    assert verdict.coverage == 990 / 998
    assert "Xen's tables: 2 frames" in str(verdict)
    assert not complete(tables, half_read).tables, "PV guests have no paging pool"


def test_a_pattern_in_what_xen_has_for_tables_is_residue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crosscheck, "_SETTLE_SECONDS", 0.0)
    verdict = complete(FakeOracle(patterns={996: 1}, tables=[996]), live_type="pvh")
    assert verdict.state == "residue"
    assert not verdict.tables


def test_what_goes_while_we_wait_is_no_residue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that a scrubber has taken from every list are in no backlog, and not free."""
    oracle = FakeOracle(patterns={996: 1})
    monkeypatch.setattr("time.sleep", lambda _: oracle.patterns.clear())
    assert complete(oracle).clean


@pytest.mark.parametrize("state", [{"backlog": 5}, {"dying": True}])
def test_while_something_waits_for_its_scrub_nothing_is_judged(state: dict[str, Any]) -> None:
    verdict = complete(FakeOracle(patterns={996: 1}), **state)
    assert verdict.clean
    assert verdict.judged == 0.995


def test_what_was_given_back_dirty_may_hold_a_pattern() -> None:
    known = Verdict(VICTIM, READ, BitMap64(), given_back=BitMap64([996]))
    verdict = complete(FakeOracle(patterns={996: 1}), known)
    assert verdict.clean
    assert verdict.judged == 0.999


def test_seen_from_outside_alone_little_read_is_still_unproven() -> None:
    verdict = complete(FakeOracle(), Verdict(VICTIM, BitMap64(range(500)), BitMap64()))
    assert (verdict.state, verdict.judged) == ("unproven", 0.998)


def test_words_on_the_first_stack_of_a_probe_that_read_a_pattern_are_no_residue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crosscheck, "_SETTLE_SECONDS", 0.0)
    known = Verdict(VICTIM, READ - BitMap64([994]), BitMap64())
    assert complete(FakeOracle(patterns={994: 1}), known).clean
    assert complete(FakeOracle(patterns={995: 1}), known).state == "residue"


def test_guests_of_earlier_tests_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's factory knows its own guests; numbers go on from test to test."""
    monkeypatch.setattr(crosscheck, "_SETTLE_SECONDS", 0.0)
    check = check_of(FakeOracle(patterns={996: 1}))
    del check._guests.guests[1]
    assert check.complete(Verdict(VICTIM, READ, BitMap64())).state == "residue"
