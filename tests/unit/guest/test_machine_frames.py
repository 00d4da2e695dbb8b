# SPDX-License-Identifier: MIT
"""What a guest that knows no machine frames tells, with those that Xen says it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import DisagreementError
from pytest_xenscrub.guest.events import DirtyPage, Filled, Hello, Ranges
from pytest_xenscrub.guest.frames import Group, PfnMap
from pytest_xenscrub.guest.machine_frames import UNKNOWN_MFN, MachineFrames

if TYPE_CHECKING:
    from numpy.typing import NDArray

HELLO = Hello(3, "pvh", 4, 1, run=1, guest=1, clean=0)


class Outside:
    """What Xen says of domains.

    Attributes:
        frames: the machine frame of each page, whoever asks.
        asked: the domains that were asked for.
    """

    def __init__(self, frames: dict[int, int]) -> None:
        self.frames = frames
        self.asked: list[int] = []

    def look(self, domid: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        self.asked.append(domid)
        gfns = sorted(self.frames)
        return np.array(gfns, np.uint64), np.array([self.frames[g] for g in gfns], np.uint64)


def told(kind: str, *gfns: int) -> Ranges:
    return Ranges(kind, BitMap64(gfns), len(gfns))  # type: ignore[arg-type]


def test_pages_become_the_frames_that_xen_has_for_them() -> None:
    outside = Outside({0: 70, 1: 71, 2: 90, 0xFEFF8: 5})
    frames = MachineFrames("victim-1", outside.look)
    assert frames.translate(HELLO, 7) == HELLO
    clean = frames.translate(told("clean", 1, 2), 7)
    assert clean == told("clean", 71, 90)
    assert outside.asked == [7]
    dirty = frames.translate(DirtyPage(2, 2, 0, 4095, 512), 7)
    assert dirty == DirtyPage(2, 90, 0, 4095, 512)
    filled = Filled(3, 1, 5, 1)
    assert frames.translate(filled, 7) is filled
    assert frames.gfns(BitMap64([90, 71, 12])) == [1, 2]


def test_a_page_that_is_populated_on_demand_need_have_no_frame() -> None:
    outside = Outside({0: 70, 2: 90})
    some = MachineFrames("victim-1", outside.look, on_demand=True)
    some.translate(HELLO, 7)
    assert some.translate(told("clean", 0, 1, 2), 7) == told("clean", 70, 90)
    all_of_them = MachineFrames("victim-1", outside.look)
    all_of_them.translate(HELLO, 7)
    with pytest.raises(DisagreementError):
        all_of_them.translate(told("clean", 0, 1, 2), 7)


def test_the_map_goes_from_page_to_machine_frame() -> None:
    pages = PfnMap()
    pages.add(Group(0, 0, 4, 4, 1))
    frames = MachineFrames("victim-1", Outside({0: 70, 1: 71, 2: 90, 3: 89, 0xFEFF8: 5}).look)
    event = frames.translate(Ranges("frames", BitMap64(range(4)), 4, pages), 7)
    assert isinstance(event, Ranges)
    assert event.map is not None
    assert event.map.arrays()[1].tolist() == [70, 71, 90, 89]
    assert (event.frames, event.pages) == (BitMap64([5, 70, 71, 89, 90]), 5)


def test_frames_given_back_are_those_that_it_had() -> None:
    outside = Outside({0: 70, 1: 71})
    frames = MachineFrames("victim-1", outside.look)
    frames.translate(HELLO, 7)
    outside.frames = {0: 70}
    assert frames.translate(told("ballooned", 1), 7) == told("ballooned", 71)
    outside.frames = {0: 70, 1: 33}
    assert frames.translate(told("populated", 1), 7) == told("populated", 33)
    assert frames.translate(told("clean", 1), 7) == told("clean", 33)


def test_a_page_that_xen_does_not_know_of_is_no_verdict() -> None:
    frames = MachineFrames("victim-1", Outside({0: 70, 1: 71}).look)
    frames.translate(HELLO, 7)
    with pytest.raises(DisagreementError, match=r"2 pages that are not its own.*GFN 0x5"):
        frames.translate(told("clean", 1, 5, 6), 7)


def test_without_a_view_of_ram_no_frame_is_known() -> None:
    frames = MachineFrames("victim-1", None)
    frames.translate(HELLO, 7)
    event = frames.translate(told("clean", 0, 1), 7)
    assert isinstance(event, Ranges)
    assert (len(event.frames), event.pages) == (0, 2)
    dirty = frames.translate(DirtyPage(2, 2, 0, 4095, 512), 7)
    assert isinstance(dirty, DirtyPage)
    assert dirty.mfn == UNKNOWN_MFN
