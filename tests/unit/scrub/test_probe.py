# SPDX-License-Identifier: MIT
"""A probe's work, over guests that are faked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import (
    CommandError,
    DisagreementError,
    GuestFailedError,
    HostLostError,
    NotApplicableError,
    UndecidedError,
)
from pytest_xenscrub.guest.events import DirtyPage, Scanned
from pytest_xenscrub.scrub.crosscheck import Compared
from pytest_xenscrub.scrub.probe import Probe
from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from pytest_xenscrub.scrub.verdict import Verdict

VICTIM = BitMap64(range(1000))
E = TypeVar("E")


class FakeGuest:
    """A guest that has read some frames, and then does what `ready` does."""

    def __init__(
        self,
        clean: range = range(0),
        residue: range = range(0),
        *,
        given_back: range = range(0),
        unfilled: range = range(0),
        builder: range = range(0),
        unjudged: int = 0,
    ) -> None:
        dirty = BitMap64(residue)
        self.sets = {"clean": BitMap64(clean), "residue": dirty, "pattern": dirty}
        self.sets["unjudged"] = BitMap64(builder)
        self.knows_frames = True
        self.name = "probe-2"
        self.config = SimpleNamespace(type="pvh")
        self.given_back_before = BitMap64(given_back)
        self.unfilled_before = BitMap64(unfilled)
        pages = len(clean) + len(residue) + unjudged
        self.scanned = Scanned(
            pages, len(clean), len(residue), unjudged, pattern=len(residue), other=0,
            ns=500_000_000, vcpus=2,
        )  # fmt: skip
        self.dirty = [DirtyPage(0, mfn, 0, 4095, 512) for mfn in residue[:2]]
        self.destroyed = ""

    def frames_of(self, kind: str) -> BitMap64:
        return self.sets[kind]

    def all(self, kind: type[E]) -> list[E]:
        return [e for e in (self.scanned, *self.dirty) if isinstance(e, kind)]

    def ready(self) -> None:
        pass

    def destroy(self, *, until: str) -> None:
        assert not self.destroyed
        self.destroyed = until


class FakeFactory:
    """Creates the guests given, one after the other, as long as there is memory.

    Attributes:
        sizes: what `most_bytes` says; 0 after that.
    """

    run = 0x12AB34
    knows_frames = True
    unfilled = BitMap64()

    def __init__(self, *guests: FakeGuest, sizes: list[int] | None = None) -> None:
        self.names = {1: "victim-1"}
        self.sizes = [64 << 20] * len(guests) if sizes is None else sizes
        self.guests = list(guests)
        self.created: list[tuple[str, int, str]] = []

    def most_bytes(self, *, guest_type: str) -> int:
        return self.sizes.pop(0) if self.sizes else 0

    def create(
        self, role: str, memory_bytes: int, actions: str, node: int | None, guest_type: str
    ) -> FakeGuest:
        assert node is None
        self.created.append((role, memory_bytes, actions))
        return self.guests[len(self.created) - 1]


def probe_of(factory: FakeFactory, **more: Any) -> Probe:
    fake: Any = factory
    return Probe(fake, **more)


def test_one_probe_that_got_all_is_enough() -> None:
    guest = FakeGuest(range(2000))
    factory = FakeFactory(guest, FakeGuest())
    verdict = probe_of(factory).read(VICTIM)
    assert verdict.clean
    assert factory.created == [("probe", 64 << 20, "scan")]
    assert guest.destroyed == "free"


def test_guests_that_have_scanned_count_as_probes_and_live_on() -> None:
    guest, beside = FakeGuest(range(500)), FakeGuest(range(500, 2000))
    fake: Any = beside
    verdict = probe_of(FakeFactory(guest)).read(VICTIM, beside=[fake])
    assert verdict.clean
    assert (guest.destroyed, beside.destroyed) == ("free", "")


def test_what_one_probe_left_is_read_by_another() -> None:
    guests = FakeGuest(range(900)), FakeGuest(range(900, 990))
    factory = FakeFactory(*guests, FakeGuest(), sizes=[512 << 20, 64 << 20, 8 << 20])
    verdict = probe_of(factory).read(VICTIM)
    assert (verdict.state, verdict.coverage) == ("clean", 0.99)
    assert [size >> 20 for _, size, _ in factory.created] == [512, 64]
    assert [guest.destroyed for guest in guests] == ["free", "free"]


def test_three_probes_are_all_there_are() -> None:
    factory = FakeFactory(*(FakeGuest(range(n * 10, n * 10 + 10)) for n in range(5)))
    verdict = probe_of(factory).read(VICTIM)
    assert (verdict.state, verdict.coverage) == ("unproven", 0.03)
    assert len(factory.created) == 3
    assert [guest.destroyed for guest in factory.guests] == ["free"] * 3 + [""] * 2


def test_no_memory_left_ends_the_reading() -> None:
    factory = FakeFactory(FakeGuest(range(500)))
    assert probe_of(factory).read(VICTIM).state == "unproven"
    assert len(factory.created) == 1


def test_no_memory_at_all_proves_nothing() -> None:
    factory = FakeFactory()
    verdict = probe_of(factory).read(VICTIM)
    assert (verdict.state, verdict.coverage, verdict.bytes_per_second) == ("unproven", 0.0, 0.0)


def test_residue_ends_the_reading_at_once() -> None:
    factory = FakeFactory(FakeGuest(range(500), range(500, 510)), FakeGuest(range(510, 1000)))
    verdict = probe_of(factory).read(VICTIM)
    assert verdict.residue_frames == BitMap64(range(500, 510))
    assert len(factory.created) == 1
    assert factory.guests[0].destroyed


def test_a_far_larger_host_has_a_first_probe_of_about_the_victims_size() -> None:
    guests = FakeGuest(range(1000)), FakeGuest(range(1000, 9000))
    factory = FakeFactory(*guests, FakeGuest(), sizes=[9 * GIB, 8 * GIB, 8 << 20])
    verdict = probe_of(factory).read(VICTIM)
    assert verdict.clean
    assert [size for _, size, _ in factory.created] == [8 << 20, 8 * GIB]
    assert len(verdict.clean_frames) == 9000, "what others had is read as well"


def test_a_first_probe_that_got_little_is_no_further_reason_to_stop() -> None:
    guests = [FakeGuest(range(100 * n, 100 * (n + 1))) for n in range(5)]
    factory = FakeFactory(*guests, sizes=[9 * GIB] * 5)
    assert probe_of(factory).read(VICTIM).coverage == 0.4
    assert [size for _, size, _ in factory.created] == [8 << 20, *[9 * GIB] * 3]


def test_the_share_that_must_be_read_is_the_users() -> None:
    factory = FakeFactory(FakeGuest(range(500)), FakeGuest(range(500, 1000)))
    assert probe_of(factory, min_coverage=0.5).read(VICTIM).clean
    assert len(factory.created) == 1


def test_a_verdict_is_told_before_anything_else_can_fail() -> None:
    told: list[Verdict] = []

    class Stubborn(FakeGuest):
        def destroy(self, *, until: str) -> None:
            raise CommandError("xl destroy: ended with 1")

    factory = FakeFactory(Stubborn(range(1000)))
    with pytest.raises(CommandError):
        probe_of(factory, judged=told.append).read(VICTIM)
    assert [verdict.state for verdict in told] == ["clean"]


def test_a_verdict_on_what_was_read_so_far_is_told_too() -> None:
    """A control that fails over it has seen the leak."""
    told: list[Verdict] = []
    fake: Any = FakeGuest(range(500), range(500, 510))
    probe_of(FakeFactory(), noted=told.append).verdict(VICTIM, [fake])
    assert [verdict.state for verdict in told] == ["residue"]


def test_where_the_victims_frames_are_unknown_nothing_is_clean() -> None:
    factory = FakeFactory(*(FakeGuest(range(2000)) for _ in range(3)))
    factory.knows_frames = False
    with pytest.raises(UndecidedError, match="frames are not known"):
        probe_of(factory).read(BitMap64())


def test_a_pattern_is_residue_whoever_knows_the_victims_frames() -> None:
    factory = FakeFactory(FakeGuest(range(2000), range(2000, 2004)))
    factory.knows_frames = False
    assert probe_of(factory).read(BitMap64()).has_residue


def test_a_guest_that_does_not_know_its_frames_is_no_probe() -> None:
    reader = FakeGuest(range(2000))
    reader.knows_frames = False
    fake: Any = reader
    with pytest.raises(NotApplicableError, match="cannot be a probe"):
        probe_of(FakeFactory()).verdict(VICTIM, [fake])


def test_a_probe_that_fails_is_no_verdict() -> None:
    told: list[Verdict] = []

    class Crashing(FakeGuest):
        def ready(self) -> None:
            raise GuestFailedError("probe-1: its console was closed")

    with pytest.raises(GuestFailedError):
        probe_of(FakeFactory(Crashing()), judged=told.append).read(VICTIM)
    assert told == []


def test_a_verdict_over_several_probes_adds_up() -> None:
    first = FakeGuest(range(600), range(600, 610), given_back=range(600, 610), unjudged=5)
    second = FakeGuest(range(590, 1000), unjudged=7)
    fakes: Any = [first, second]
    verdict = probe_of(FakeFactory()).verdict(VICTIM, fakes)
    assert verdict.clean_frames == BitMap64([*range(600), *range(610, 1000)])
    assert verdict.residue_frames == BitMap64(range(600, 610))
    assert verdict.given_back == BitMap64(range(600, 610))
    assert (verdict.unjudged_pages, verdict.pattern_pages, verdict.seconds) == (12, 10, 1.0)
    assert [page.mfn for page in verdict.dirty] == [600, 601]
    assert (verdict.names, verdict.run) == ({1: "victim-1"}, 0x12AB34)


# -- against RAM itself ------------------------------------------------------------------------


class FakeCheck:
    """Finds in each guest what is given, one after the other."""

    def __init__(self, *found: Compared) -> None:
        self.found = list(found)

    def compare(self, _guest: FakeGuest) -> Compared:
        return self.found.pop(0) if self.found else Compared()

    def complete(self, verdict: Verdict) -> Verdict:
        return verdict


def checked(factory: FakeFactory, *found: Compared, told: list[Verdict]) -> Probe:
    return probe_of(factory, check=FakeCheck(*found), judged=told.append)


MISSED = Compared(missed=BitMap64([5]), differences=("probe-1 called frames clean",))
REFUTED = Compared(disputed=BitMap64([7]), differences=("probe-1 called frames dirty",))


def test_what_a_probe_missed_and_ram_shows_is_residue() -> None:
    told: list[Verdict] = []
    factory = FakeFactory(FakeGuest(range(1000)))
    verdict = checked(factory, MISSED, told=told).read(VICTIM)
    assert verdict.state == "residue"
    assert verdict.residue_in_victim == verdict.pattern_frames == BitMap64([5])
    assert 5 not in verdict.clean_frames
    assert verdict.differences == MISSED.differences
    assert told == [verdict]
    assert factory.guests[0].destroyed == "free"


def test_a_clean_frame_called_dirty_is_an_error_that_is_recorded_and_never_clean() -> None:
    told: list[Verdict] = []
    factory = FakeFactory(FakeGuest(range(7), range(7, 8)), FakeGuest(range(8, 1000)))
    with pytest.raises(DisagreementError, match="probe-1 called frames dirty") as caught:
        checked(factory, REFUTED, told=told).read(VICTIM)
    assert "UNPROVEN" in caught.value.evidence["verdict"]
    assert [verdict.state for verdict in told] == ["unproven"]
    assert told[0].residue_frames == BitMap64()
    assert 7 not in told[0].read_frames


def test_real_residue_beside_a_clean_frame_called_dirty_is_the_verdict() -> None:
    told: list[Verdict] = []
    factory = FakeFactory(FakeGuest(range(7), range(7, 10)))
    verdict = checked(factory, REFUTED, told=told).read(VICTIM)
    assert verdict.residue_in_victim == BitMap64([8, 9])
    assert "witnesses differ: probe-1 called frames dirty" in str(verdict)


def test_a_wrong_probe_does_not_keep_the_next_one_from_seeing_residue() -> None:
    told: list[Verdict] = []
    factory = FakeFactory(
        FakeGuest(range(7), range(7, 8)), FakeGuest(range(8, 900), range(900, 999))
    )
    verdict = checked(factory, REFUTED, told=told).read(VICTIM)
    assert verdict.residue_in_victim == BitMap64(range(900, 999))
    assert verdict.differences == REFUTED.differences


def test_a_guest_that_lives_on_and_was_wrong_is_an_error_too() -> None:
    fakes: Any = [FakeGuest(range(1000), range(7, 8))]
    with pytest.raises(DisagreementError):
        checked(FakeFactory(), REFUTED, told=[]).verdict(VICTIM, fakes)


# -- what live guests gave back ----------------------------------------------------------------


def test_a_frame_is_no_longer_excused_once_its_next_owner_has_died() -> None:
    """The first guest may find it dirty; then a victim has it, and dies; the second one may not."""
    early = FakeGuest(range(100), given_back=range(500, 510))
    late = FakeGuest(range(100, 1000), range(500, 501))
    fakes: Any = [early, late]
    assert probe_of(FakeFactory()).verdict(VICTIM, fakes).residue_in_victim == BitMap64([500])


def test_what_two_guests_found_dirty_is_excused_for_both_or_not_at_all() -> None:
    excused = FakeGuest(range(100), range(500, 502), given_back=range(500, 502))
    not_excused = FakeGuest(range(100, 1000), range(500, 501))
    fakes: Any = [excused, not_excused]
    verdict = probe_of(FakeFactory()).verdict(VICTIM, fakes)
    assert (verdict.given_back, verdict.residue_in_victim) == (BitMap64([501]), BitMap64([500]))


def test_a_pattern_of_an_earlier_scan_is_not_this_ones() -> None:
    guest = FakeGuest(range(2000))
    guest.sets["pattern"] = BitMap64([1500])
    fakes: Any = [guest]
    assert probe_of(FakeFactory()).verdict(VICTIM, fakes).clean


@pytest.mark.parametrize("lost_in", ["compare", "complete"])
def test_a_host_that_is_lost_after_residue_was_read_takes_no_verdict_back(lost_in: str) -> None:
    class Lost(FakeCheck):
        def lose(self, *_: object) -> NoReturn:
            raise HostLostError("the machine is gone")

    check: Any = Lost(Compared())
    setattr(check, lost_in, check.lose)
    assert (
        probe_of(FakeFactory(FakeGuest(range(999), range(999, 1000))), check=check)
        .read(VICTIM)
        .has_residue
    )
    excused = FakeGuest(range(999), range(999, 1000), given_back=range(999, 1000))
    for guest in (FakeGuest(range(1000)), excused):
        with pytest.raises(HostLostError):
            probe_of(FakeFactory(guest), check=check).read(VICTIM)


def test_residue_that_a_guest_beside_saw_needs_no_probe() -> None:
    class NoProbe(FakeFactory):
        def create(self, *_: Any, **__: Any) -> FakeGuest:
            raise CommandError("no memory for a probe")

    judged: list[Verdict] = []
    beside: Any = FakeGuest(range(500), range(500, 507))
    factory = NoProbe(sizes=[64 << 20])
    verdict = probe_of(factory, judged=judged.append).read(VICTIM, beside=[beside])
    assert verdict.has_residue
    assert judged == [verdict]


def test_what_the_victim_had_not_filled_is_not_counted() -> None:
    guest = FakeGuest(range(1000), unfilled=range(100, 5000))
    verdict = probe_of(FakeFactory(guest)).read(VICTIM)
    assert verdict.covered == BitMap64(range(100))
    assert verdict.unfilled == BitMap64(range(100, 1000))
    assert verdict.clean


def test_only_frames_that_were_not_filled_are_no_proof() -> None:
    guest = FakeGuest(range(500, 1000), unfilled=range(500, 1000))
    assert probe_of(FakeFactory(guest)).read(VICTIM).state == "unproven"


def test_what_any_of_the_readers_knew_as_not_filled_does_not_count() -> None:
    early, late = FakeGuest(range(500), unfilled=range(100)), FakeGuest(range(500, 1000))
    fake: Any = early
    verdict = probe_of(FakeFactory(late)).read(VICTIM, beside=[fake])
    assert verdict.unfilled == BitMap64(range(100))
    assert verdict.coverage == 1.0


def test_where_no_probe_can_be_created_it_is_known_all_the_same() -> None:
    factory = FakeFactory()
    factory.unfilled = BitMap64(range(10))
    assert probe_of(factory).read(VICTIM).unfilled == BitMap64(range(10))


@pytest.mark.parametrize(("builder", "coverage"), [(range(90, 100), 1.0), (range(90, 101), 0.9)])
def test_what_a_probes_builder_wrote_to_is_no_sample(builder: range, coverage: float) -> None:
    """As long as it is no more than may be left unread of all: 10 of 1000 frames."""
    guest = FakeGuest(range(90), unfilled=range(100, 1000), builder=builder)
    verdict = probe_of(FakeFactory(guest)).read(VICTIM)
    assert verdict.coverage == coverage
    assert len(verdict.covered) == 90


def test_without_a_sample_it_is_unread() -> None:
    guest = FakeGuest(range(990), builder=range(990, 1000))
    assert probe_of(FakeFactory(guest)).read(VICTIM).coverage == 0.99
