# SPDX-License-Identifier: MIT
"""How long bytes stay: the recorder on a file, and the arithmetic on looks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import DisagreementError, InfrastructureError
from pytest_xenscrub.outside import exposure
from pytest_xenscrub.outside.exposure import Recorder, Witness, measure

from .conftest import ABOVE, GUEST, RUN

if TYPE_CHECKING:
    from pytest_xenscrub.outside.oracle import Oracle

    from .conftest import FakeHostRam

FRAMES = BitMap64(range(ABOVE, ABOVE + 40))
OWN = 4
AHEAD = 1000.0
FILLED = 36


@pytest.fixture
def recorder(ram: FakeHostRam, oracle: Oracle) -> Recorder:
    """Of a guest that keeps four of its frames for itself."""
    ram.fill(FRAMES[OWN:])
    return Recorder(oracle, "victim-1", FRAMES, run=RUN, guest=GUEST, filled=FILLED, ahead=AHEAD)


def until_seen(recorder: Recorder, share: float) -> None:
    end = time.monotonic() + 5
    while recorder._points[-1][1] > share:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_bytes_that_go_are_seen_going(recorder: Recorder, ram: FakeHostRam) -> None:
    recorder.issued(time.monotonic() + AHEAD)
    time.sleep(0.06)
    ram.scrub(FRAMES[: OWN + FILLED // 2])
    until_seen(recorder, 0.5)
    ram.scrub(FRAMES)
    seen = recorder.finish(5)
    assert seen.half is not None
    assert seen.last_byte is not None
    assert 0.05 < seen.half < seen.last_byte == seen.watched < 2
    assert [share for _, share in seen.curve][:1] == [1.0]
    assert {1.0, 0.5, 0.0} == {share for _, share in seen.curve}
    assert "last byte was gone" in str(seen)


def test_bytes_that_stay_are_told_with_how_long_was_looked(recorder: Recorder) -> None:
    seen = recorder.finish(0.06)
    assert (seen.last_byte, seen.half) == (None, None)
    assert seen.watched > 0
    assert "not gone within" in str(seen)
    assert "100.00%" in str(seen)


def test_a_page_scrubbed_in_part_still_exposes(recorder: Recorder, ram: FakeHostRam) -> None:
    """The words that are looked at first are gone, one in the middle is not."""
    keep = FRAMES[-1]
    middle = 2048
    ram.scrub(FRAMES[:-1])
    ram.write(keep, bytes(middle))
    ram.write(keep, bytes(4096 - middle - 16), middle + 16)
    until_seen(recorder, 1 / FILLED)
    ram.scrub([keep])
    assert recorder.finish(5).last_byte is not None


def test_pages_scrubbed_in_part_count_though_others_were_scrubbed_later(
    recorder: Recorder, ram: FakeHostRam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are out of sight of the quick looks long before all of the others are."""
    monkeypatch.setattr(exposure, "_SAMPLED_FRAMES", 4)
    middle = 2048
    for mfn in FRAMES[OWN : OWN + 10]:
        ram.write(mfn, bytes(middle))
        ram.write(mfn, bytes(4096 - middle - 16), middle + 16)
    ram.scrub(FRAMES[OWN + 10 : -1])
    until_seen(recorder, 1 / FILLED)
    ram.scrub(FRAMES[-1:])
    time.sleep(0.2)
    seen = recorder.finish()
    assert seen.last_byte is None
    assert seen.curve[-1][1] == pytest.approx(10 / FILLED, abs=1e-4)


@pytest.mark.parametrize(("heap", "gone"), [(3, True), (2, False)])
def test_what_xen_keeps_for_itself_is_gone_when_nothing_else_is_left(
    recorder: Recorder, ram: FakeHostRam, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, *,
    heap: int, gone: bool,
) -> None:  # fmt: skip
    kept = BitMap64(FRAMES[-heap:])
    monkeypatch.setattr(oracle.frame_table, "xen_heap", lambda frames: frames & kept)
    ram.scrub(FRAMES[:-3])
    until_seen(recorder, 3 / FILLED)
    seen = recorder.finish(0.1)
    assert (seen.last_byte is not None) == gone
    assert seen.curve[-1][1] == (0.0 if gone else pytest.approx(3 / FILLED, abs=1e-4))


def test_a_page_scrubbed_in_part_is_seen_beside_one_that_xen_keeps(
    recorder: Recorder, ram: FakeHostRam, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = BitMap64([FRAMES[-1]])
    monkeypatch.setattr(oracle.frame_table, "xen_heap", lambda frames: frames & kept)
    ram.scrub(FRAMES[:-2])
    in_part = FRAMES[-2]
    ram.write(in_part, bytes(2048))
    ram.write(in_part, bytes(4096 - 2048 - 16), 2048 + 16)
    until_seen(recorder, 1 / FILLED)
    assert recorder.finish(0.1).last_byte is None


def test_a_host_that_is_gone_tells_of_no_heap(
    recorder: Recorder, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(frames: BitMap64) -> BitMap64:
        raise InfrastructureError("QEMU ended")

    monkeypatch.setattr(oracle.frame_table, "xen_heap", gone)
    assert recorder.finish().last_byte is None


def test_another_guests_bytes_are_not_its_own(recorder: Recorder, ram: FakeHostRam) -> None:
    ram.fill(FRAMES, guest=GUEST + 1)
    assert recorder.finish(5).last_byte is not None


def test_frames_that_do_not_hold_the_pattern_are_an_error_of_ours(
    ram: FakeHostRam, oracle: Oracle
) -> None:
    ram.fill(FRAMES[OWN:-1])
    with pytest.raises(DisagreementError, match=r"36 filled pages, .* 35 of its frames"):
        Recorder(oracle, "victim-1", FRAMES, run=RUN, guest=GUEST, filled=FILLED)


def test_a_test_that_ends_ends_the_looking(ram: FakeHostRam, oracle: Oracle) -> None:
    ram.fill(FRAMES[OWN:])
    witness = Witness(oracle)
    recorder = witness.watch("victim-1", FRAMES, run=RUN, guest=GUEST, filled=FILLED, ahead=0.0)
    witness.close()
    assert not recorder._thread.is_alive()


def test_figures_are_since_the_end_was_asked_for() -> None:
    looks = [(9.9, 1.0), (10.1, 1.0), (10.3, 0.5), (10.5, 0.0)]
    seen = measure(looks, 10.0, 1000, 0.01)
    assert seen.curve == [(0.0, 1.0), (0.1, 1.0), (0.3, 0.5), (0.5, 0.0)]
    assert (seen.half, seen.last_byte, seen.watched) == (0.3, 0.5, 0.5)
    assert seen.byte_seconds == pytest.approx(1000 * (0.1 + 0.15 + 0.05))
    assert (seen.memory_bytes, seen.sampling_seconds) == (1000, 0.01)


def test_plateaus_are_left_out_but_for_their_ends() -> None:
    looks = [(at / 10, 1.0) for at in range(10)] + [(1.0, 0.5), (1.1, 0.5), (1.2, 0.5)]
    seen = measure(looks, 0.0, 1000, 0.0)
    assert seen.curve == [(0.0, 1.0), (0.9, 1.0), (1.0, 0.5), (1.2, 0.5)]
    assert measure([(0.0, 1.0)], 0.5, 1000, 0.0).curve == [(0.0, 1.0)]
