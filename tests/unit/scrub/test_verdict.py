# SPDX-License-Identifier: MIT
from __future__ import annotations

from pyroaring import BitMap64

from pytest_xenscrub.scrub.verdict import Verdict

VICTIM = BitMap64(range(1000, 2000))


def test_all_frames_read_and_none_dirty_is_clean() -> None:
    verdict = Verdict(VICTIM, BitMap64(range(500, 2000)), BitMap64())
    assert verdict.clean
    assert verdict.coverage == 1.0


def test_one_dirty_frame_is_not_clean() -> None:
    verdict = Verdict(VICTIM, VICTIM - BitMap64([1500]), BitMap64([1500]))
    assert not verdict.clean
    assert "RESIDUE: 1 frames of the victim" in str(verdict)


def test_too_little_read_is_not_clean() -> None:
    verdict = Verdict(VICTIM, BitMap64(range(1000, 1989)), BitMap64())
    assert verdict.coverage == 0.989
    assert not verdict.clean


def test_nothing_freed_proves_nothing() -> None:
    assert not Verdict(BitMap64(), BitMap64([1]), BitMap64()).clean
