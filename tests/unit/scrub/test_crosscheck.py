# SPDX-License-Identifier: MIT
"""Probes against RAM, both faked: who is believed is neither of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import DisagreementError
from pytest_xenscrub.guest.events import Filled, Scanned
from pytest_xenscrub.scrub import crosscheck
from pytest_xenscrub.scrub.crosscheck import CrossCheck
from pytest_xenscrub.scrub.verdict import Verdict

RUN = 0x12AB34
SCANNED = Scanned(1000, 1000, 0, 0, pattern=0, other=0, ns=1, vcpus=2)
FILLED = Filled(900, 100, 1, 2)


class FakeOracle:
    """RAM in which some frames are dirty, and some of those hold a pattern."""

    def __init__(
        self, dirty: Any = (), patterns: dict[int, int] | None = None, heap: Any = ()
    ) -> None:
        self.patterns = patterns or {}
        self.dirty = BitMap64([*dirty, *self.patterns])
        self.frame_table = SimpleNamespace(xen_heap=lambda frames: frames & BitMap64(heap))

    def clean(self, frames: BitMap64) -> BitMap64:
        return frames - self.dirty

    def holding(self, frames: BitMap64, run: int, guests: list[int]) -> BitMap64:
        assert run == RUN
        return frames & BitMap64(mfn for mfn, guest in self.patterns.items() if guest in guests)


class FakeGuest:
    name = "probe-2"
    memory_bytes = 1000 << 12

    def __init__(
        self, clean: Any = (), residue: Any = (), used: Any = (), *,
        events: tuple[Any, ...] = (SCANNED,), ended: bool = False, ballooned: Any = (),
    ) -> None:  # fmt: skip
        self.sets = {"clean": clean, "residue": residue, "used": used}
        self.events = events
        self.ended = ended
        self.ballooned = BitMap64(ballooned)

    def frames_of(self, kind: str) -> BitMap64:
        return BitMap64(self.sets[kind])


def check_of(oracle: FakeOracle, *, backlog: int = 0, dying: bool = False) -> CrossCheck:
    """Guest 1 is dead; guest 2 lives, and has two frames of its own."""
    fake: Any = oracle
    guests: Any = SimpleNamespace(
        run=RUN,
        guests={
            1: SimpleNamespace(ended=True, frames=BitMap64([996])),
            2: SimpleNamespace(ended=False, frames=BitMap64([997, 2000])),
        },
        dom0=SimpleNamespace(
            backlog_pages=lambda: backlog, domains=lambda: [SimpleNamespace(dying=dying)]
        ),
    )
    return CrossCheck(fake, guests)


def agree(oracle: FakeOracle, guest: FakeGuest) -> None:
    fake: Any = guest
    check_of(oracle).agree(fake)


def test_a_probe_that_says_what_is_the_case_passes() -> None:
    agree(FakeOracle(dirty=[7, 8]), FakeGuest(range(7), [7, 8]))


def test_a_dirty_frame_called_clean_is_told() -> None:
    with pytest.raises(DisagreementError, match=r"called frames clean .* hold data") as caught:
        agree(FakeOracle(dirty=range(20, 30)), FakeGuest(range(25), range(25, 30)))
    assert "5 of them" in caught.value.what
    assert "0x14, 0x15" in caught.value.tried


def test_a_clean_frame_called_dirty_is_told() -> None:
    with pytest.raises(DisagreementError, match=r"called frames dirty .* are clean.* 1 of them"):
        agree(FakeOracle(dirty=[7]), FakeGuest(range(7), [7, 8]))


def test_what_a_probe_wrote_to_after_it_read_it_is_not_compared() -> None:
    agree(FakeOracle(dirty=[5, 6]), FakeGuest([*range(6), 9], [6, 8], used=[5, 8], ballooned=[9]))


def test_no_probe_may_excuse_more_frames_than_it_can_need() -> None:
    with pytest.raises(DisagreementError, match="uses frames more than it can need"):
        agree(FakeOracle(), FakeGuest(range(1000), used=range(60)))


def test_a_pattern_in_what_a_probe_uses_is_told() -> None:
    with pytest.raises(DisagreementError, match="uses frames which hold a pattern"):
        agree(FakeOracle(patterns={5: 1}), FakeGuest(range(10), used=[5]))


@pytest.mark.parametrize(
    "guest",
    [
        FakeGuest([7], ended=True),
        FakeGuest([7], events=(SCANNED, FILLED)),
        FakeGuest([7], events=()),
    ],
)
def test_what_is_there_no_more_is_not_compared(guest: FakeGuest) -> None:
    agree(FakeOracle(dirty=[7]), guest)


def test_one_that_reads_what_it_has_filled_is_compared() -> None:
    with pytest.raises(DisagreementError):
        agree(FakeOracle(dirty=[7]), FakeGuest([7], events=(FILLED, SCANNED)))


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


def test_what_xen_keeps_for_itself_is_told_and_condemns_nobody(
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
    assert (verdict.state, verdict.judged) == ("unproven", 0.999)
