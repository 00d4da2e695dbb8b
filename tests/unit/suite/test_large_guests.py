# SPDX-License-Identifier: MIT
"""What the tests of large guests call too slow, and what they leave undecided."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import ResidueError, UndecidedError
from pytest_xenscrub.suite import test_large
from pytest_xenscrub.suite.test_large import check_growth, judge, share_of
from pytest_xenscrub.units import GIB

from .parts import Parts, body


def row(gibibytes: int, destroy: float, clean: float | None = None) -> Any:
    return SimpleNamespace(memory_bytes=gibibytes * GIB, destroy=destroy, clean=clean)


@pytest.mark.parametrize(
    ("after", "clean"), [(8.0, 16.0), (20.9, 40.0), (2.0, None)], ids=["line", "noise", "faster"]
)
def test_a_time_that_grows_with_memory_passes(after: float, clean: float | None) -> None:
    check_growth(row(4, 2.0, 4.0), row(16, after, clean), 0.0)


@pytest.mark.parametrize(("after", "clean"), [(32.0, 40.0), (8.0, 64.0)], ids=["destroy", "clean"])
def test_a_time_that_grows_with_the_square_of_memory_fails(after: float, clean: float) -> None:
    with pytest.raises(AssertionError, match=r"of 16\.00 GiB took"):
        check_growth(row(4, 2.0, 4.0), row(16, after, clean), 0.0)


def test_a_starved_host_is_not_blamed_and_does_not_excuse_everything() -> None:
    with pytest.raises(UndecidedError, match="for 50% of it"):
        check_growth(row(4, 2.0), row(16, 32.0), 0.5)
    with pytest.raises(AssertionError):
        check_growth(row(4, 2.0), row(16, 64.0), 0.5)


def test_the_share_in_which_a_host_was_starved() -> None:
    told = iter([3.0, 8.0])
    assert share_of(lambda: next(told), lambda: row(4, 2.0, 20.0))[1] == 0.25
    assert share_of(lambda: 3.0, lambda: row(4, 0.0, None))[1] == 0.0


@pytest.mark.parametrize(("wanted", "most", "size"), [(4, 5, 4), (0, 24, 24), (0, 6, 6)])
def test_sizes_follow_memory(wanted: int, most: int, size: int) -> None:
    parts, request = Parts(), SimpleNamespace(param=wanted * GIB)
    parts.guests.most_bytes.return_value = most * GIB
    assert body(test_large.size)(request, parts.guests) == size * GIB


def seen(memory_bytes: int, clean: range) -> Parts:
    """A victim of that size, and which of its hundred filled frames are clean."""
    parts = Parts()
    parts.victim.guest.memory_bytes = memory_bytes
    parts.victim.guest.filled_frames = BitMap64(range(100))
    parts.xen.oracle.holding.return_value = BitMap64()
    parts.xen.oracle.frame_table.xen_heap.return_value = BitMap64()
    parts.xen.oracle.clean.return_value = BitMap64(clean)
    parts.probe.read.return_value.clean = False
    return parts


def judged(parts: Parts) -> None:
    judge(parts.victim, parts.probe, parts.guests, parts.xen)


def test_a_probe_judges_what_it_can_read_soon() -> None:
    with pytest.raises(AssertionError):
        judged(seen(16 * GIB, range(100)))


def test_what_is_larger_is_judged_from_outside_alone() -> None:
    judged(seen(17 * GIB, range(100)))
    with pytest.raises(UndecidedError, match=r"UNPROVEN: only 90\.00%"):
        judged(seen(17 * GIB, range(90)))


def test_bytes_that_stay_are_residue_whatever_is_clean() -> None:
    parts = seen(17 * GIB, range(100))
    parts.xen.oracle.holding.return_value = BitMap64([7])
    with pytest.raises(ResidueError, match="in 1 frames"):
        judged(parts)


def test_a_probe_reads_all_where_nothing_is_seen_from_outside() -> None:
    parts = seen(900 * GIB, range(100))
    parts.xen.oracle = None
    with pytest.raises(AssertionError):
        judged(parts)
