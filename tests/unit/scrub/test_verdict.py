# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.guest.events import DirtyPage, PatternResidue
from pytest_xenscrub.scrub.verdict import Verdict
from pytest_xenscrub.units import GIB

VICTIM = BitMap64(range(1000, 2000))
NONE = BitMap64()
RUN, GUEST = 0x12AB34, 7
PATTERN = PatternResidue(run=RUN, guest=GUEST, pfn=1234, mfn=1500, position=0, at=0)


def dirty_page(mfn: int, **changed: Any) -> DirtyPage:
    page = DirtyPage(
        pfn=77, mfn=mfn, first=1, last=4095, words=512, pattern=PATTERN, at=0,
        data=bytes.fromhex("000e000034ab12a9"),
    )  # fmt: skip
    return dataclasses.replace(page, **changed)


def found(mfns: list[int], **more: Any) -> Verdict:
    """All of the victim's frames were read, and those were dirty with a pattern of ours."""
    dirty = BitMap64(mfns)
    return Verdict(VICTIM, VICTIM - dirty, dirty, pattern_frames=dirty, **more)


# -- its state ---------------------------------------------------------------------------------


def test_all_frames_read_and_none_dirty_is_clean() -> None:
    verdict = Verdict(VICTIM, BitMap64(range(500, 2000)), NONE)
    assert verdict.clean
    assert verdict.state == "clean"
    assert verdict.coverage == 1.0


def test_one_dirty_frame_is_not_clean() -> None:
    verdict = found([1500])
    assert not verdict.clean
    assert verdict.state == "residue"
    assert "RESIDUE: 1 frames of the victim" in str(verdict)


def test_a_victims_dirty_frame_condemns_whatever_it_holds() -> None:
    verdict = Verdict(VICTIM, VICTIM - BitMap64([1500]), BitMap64([1500]), other_pages=1)
    assert verdict.state == "residue"


def test_too_little_read_is_not_clean() -> None:
    verdict = Verdict(VICTIM, BitMap64(range(1000, 1989)), NONE)
    assert verdict.coverage == 0.989
    assert verdict.state == "unproven"


def test_residue_in_the_little_that_was_read_is_residue() -> None:
    assert Verdict(VICTIM, NONE, BitMap64([1500])).state == "residue"


def test_how_much_is_enough_may_be_asked_for() -> None:
    half = BitMap64(range(1000, 1500))
    assert Verdict(VICTIM, half, NONE, min_coverage=0.5).clean
    assert not Verdict(VICTIM, half, NONE, min_coverage=0.51).clean


def test_frames_that_were_read_and_are_not_the_victims_cover_nothing() -> None:
    assert Verdict(VICTIM, BitMap64(range(5000, 9000)), NONE).coverage == 0


def test_a_dirty_frame_is_a_frame_that_was_read() -> None:
    assert found([1500]).coverage == 1.0


def test_nothing_freed_proves_nothing() -> None:
    assert Verdict(NONE, BitMap64([1]), NONE).state == "unproven"


def test_witnesses_that_differ_prove_nothing() -> None:
    verdict = Verdict(VICTIM, VICTIM, NONE, differences=("probe-2 called frames dirty",))
    assert (verdict.state, verdict.clean) == ("unproven", False)
    text = str(verdict)
    assert text.startswith("UNPROVEN: no residue was seen, but a probe's report contradicts RAM")
    assert "\n  witnesses differ: probe-2 called frames dirty" in text
    assert "next:" not in text


@pytest.mark.parametrize(
    "seen",
    [{"pattern_frames": BitMap64([7])}, {"outside_residue": BitMap64([1500])}],
)
def test_residue_is_the_verdict_though_witnesses_differ(seen: dict[str, Any]) -> None:
    verdict = Verdict(VICTIM, VICTIM, NONE, differences=("probe-2 called frames clean",), **seen)
    assert verdict.state == "residue"
    assert str(verdict).startswith("RESIDUE: ")
    assert "witnesses differ: probe-2 called frames clean" in str(verdict)


# -- frames that are dirty by contract ---------------------------------------------------------


def test_what_a_live_guest_gave_back_may_be_dirty() -> None:
    verdict = found([3000, 3001], given_back=BitMap64([3000, 3001, 3002]))
    assert verdict.clean
    assert verdict.dirty_by_contract == BitMap64([3000, 3001])


def test_what_the_victim_gave_back_before_it_died_may_be_dirty() -> None:
    assert found([1500], given_back=BitMap64([1500])).clean


def test_frames_given_back_excuse_no_frame_of_the_victims() -> None:
    verdict = found([1500, 3000], given_back=BitMap64([3000, *range(4000, 5000)]))
    assert verdict.residue_in_victim == BitMap64([1500])
    assert verdict.state == "residue"


def test_a_pattern_anywhere_else_condemns() -> None:
    assert found([3000]).state == "residue"


def test_more_patterns_than_frames_given_back_condemn() -> None:
    assert found([3000, 3001], given_back=BitMap64([3000])).state == "residue"


def test_a_pattern_seen_elsewhere_is_not_excused_by_the_number_of_frames_given_back() -> None:
    verdict = Verdict(
        VICTIM, VICTIM, BitMap64([3000, 3001]), given_back=BitMap64([3000]),
        pattern_frames=BitMap64([3001]), other_pages=1, dirty=(dirty_page(3001),),
    )  # fmt: skip
    assert verdict.state == "residue"
    assert "RESIDUE: a guest's pattern was found in frames that were not the victim's" in str(
        verdict
    )


def test_foreign_bytes_in_other_frames_are_not_residue() -> None:
    stranger = dirty_page(3000, pattern=None, hash=1, data=b"")
    verdict = Verdict(VICTIM, VICTIM, BitMap64([3000]), other_pages=1, dirty=(stranger,))
    assert verdict.clean
    assert "0 of the victim's frames and 1 other frames" in str(verdict)


# -- what it tells -----------------------------------------------------------------------------


def test_a_clean_report_tells_how_much_was_read_and_how_fast() -> None:
    frames = BitMap64(range(1 << 18))
    text = str(Verdict(frames, frames, NONE, seconds=0.5, unjudged_pages=3))
    assert text.splitlines()[0] == "CLEAN: 1.00 GiB read at 2.0 GiB/s, no byte of residue"
    assert "coverage: 100.00% of 262144 freed frames were read (99.00% are needed)" in text
    assert "3 pages of the probes cannot be judged" in text
    assert "next:" not in text


def test_an_unproven_report_tells_where_to_look() -> None:
    text = str(Verdict(VICTIM, BitMap64(range(1000, 1100)), NONE))
    assert text.startswith("UNPROVEN: ")
    assert "coverage: 10.00%" in text
    assert "--p--d" in text


def test_a_residue_report_names_guest_frame_page_offset_and_bytes() -> None:
    text = str(found([1500], dirty=(dirty_page(1500),), names={GUEST: "run-victim-7"}, run=RUN))
    assert (
        "MFN 0x5dc, page 77 of the probe, bytes 1-4095: the victim's frame,"
        " run-victim-7 wrote it to its page 1234: 00 0e 00 00 34 ab 12 a9" in text
    )
    assert "dirty: 1 of the victim's frames and 0 other frames, and 0 that a live guest" in text
    assert "this Xen handed out memory that it had not scrubbed" in text


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (PATTERN, "guest 7 of this run wrote it to its page 1234: "),
        (dataclasses.replace(PATTERN, run=0x999), "guest 7 of run 000999 wrote it"),
        (dataclasses.replace(PATTERN, guest=None), "a guest whose name is gone wrote it"),
        (dataclasses.replace(PATTERN, pfn=None), "wrote it to some page"),
        (dataclasses.replace(PATTERN, mfn=0x42), "page 1234, written to MFN 0x42: "),
        (dataclasses.replace(PATTERN, mfn=None), "to its page 1234: "),
    ],
)
def test_who_wrote_a_page(pattern: PatternResidue, says: str) -> None:
    page = dirty_page(1500, pattern=pattern)
    assert says in str(found([1500], dirty=(page,), run=RUN))


def test_bytes_that_are_not_ours_are_told_by_their_hash() -> None:
    page = dirty_page(3000, pattern=None, hash=0xABC, data=b"")
    text = str(found([1500], dirty=(page,)))
    assert "not the victim's frame, no pattern of ours, hash 0000000000000abc\n" in text


def test_bytes_that_are_not_ours_are_shown_where_the_guest_was_told_to() -> None:
    page = dirty_page(3000, pattern=None, hash=0xABC, data=b"secret")
    assert "hash 0000000000000abc, 73 65 63 72 65 74" in str(found([1500], dirty=(page,)))


def test_a_report_of_many_pages_stays_short() -> None:
    pages = tuple(dirty_page(mfn) for mfn in range(1000, 1100))
    text = str(found(list(range(1000, 1100)), dirty=pages))
    assert text.count("MFN 0x3") == 8
    assert "dirty: 100 of the victim's frames" in text


def test_speed_counts_what_cannot_be_judged_too() -> None:
    frames = BitMap64(range((1 << 18) - 8))
    assert Verdict(frames, frames, NONE, unjudged_pages=8, seconds=2).bytes_per_second == GIB / 2
    assert Verdict(frames, frames, NONE).bytes_per_second == 0


def test_its_repr_is_short() -> None:
    assert repr(found([1500])) == "<Verdict residue: coverage 100.00%>"


# -- a sample ----------------------------------------------------------------------------------

FILLED = BitMap64(range(1000, 1100))
UNFILLED = VICTIM - FILLED


def test_what_was_not_filled_is_no_coverage() -> None:
    everything_else = Verdict(VICTIM, UNFILLED, NONE, unfilled=UNFILLED)
    assert (everything_else.state, everything_else.coverage) == ("unproven", 0.0)
    half = Verdict(VICTIM, UNFILLED | BitMap64(range(1050)), NONE, unfilled=UNFILLED)
    assert (half.state, half.coverage, half.judged) == ("unproven", 0.5, 0.5)
    assert half.covered == BitMap64(range(1000, 1050))


def test_all_that_was_filled_is_enough() -> None:
    verdict = Verdict(VICTIM, FILLED, NONE, unfilled=UNFILLED)
    assert (verdict.state, verdict.coverage, verdict.judged) == ("clean", 1.0, 1.0)


def test_a_victim_that_filled_nothing_proves_nothing() -> None:
    assert Verdict(VICTIM, VICTIM, NONE, unfilled=VICTIM).state == "unproven"


def test_what_lies_outside_and_was_not_filled_is_not_judged() -> None:
    verdict = Verdict(VICTIM, NONE, NONE, unfilled=UNFILLED, outside_clean=UNFILLED)
    assert verdict.judged == 0.0


@pytest.mark.parametrize("mfn", [1050, 1500])
def test_a_dirty_frame_condemns_whether_it_was_filled_or_not(mfn: int) -> None:
    assert found([mfn], unfilled=UNFILLED).state == "residue"


def test_a_verdict_on_a_sample_says_what_it_can_miss() -> None:
    verdict = Verdict(VICTIM, VICTIM, NONE, unfilled=UNFILLED)
    assert verdict.sampled is not None
    assert (verdict.sampled.share, verdict.sampled.spread) == (0.1, 50)
    # Of 50 pages: (1 - p)^50 = 0.001.
    assert (1 - verdict.sampled.found) ** 50 == pytest.approx(0.001)
    text = str(verdict)
    assert "a sample" in text.splitlines()[0]
    assert "100.00% of 100 freed and filled frames" in text
    assert "10.0000% of the victim's pages" in text
    assert "probability (1-p)^50: one of 12.9037% or more is found with 99.9% certainty" in text


def test_an_unread_sample_finds_nothing() -> None:
    verdict = Verdict(VICTIM, NONE, NONE, unfilled=UNFILLED)
    assert verdict.sampled is not None
    assert verdict.sampled.found == 1.0


def test_without_a_sample_nothing_is_said_of_one() -> None:
    verdict = Verdict(VICTIM, VICTIM, NONE)
    assert verdict.sampled is None
    assert "sample" not in str(verdict)
