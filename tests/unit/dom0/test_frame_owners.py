# SPDX-License-Identifier: MIT
"""Whose a frame is, over a library that is faked."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.sent import frame_owners as owners_module
from pytest_xenscrub.dom0.sent.frame_owners import MOST_FRAMES, NOT_ITS_OWN, owners

if TYPE_CHECKING:
    import ctypes

L1_TABLE = 1 << 28


class FakeLibrary:
    """Domain 0 has even frames below 100, domain 7 has frame 5, a page table."""

    def __init__(self) -> None:
        self.handle: int | None = 42
        self.asked: list[tuple[int, int]] = []
        self.result = 0

    def xc_interface_open(self, *_: object) -> int | None:
        return self.handle

    def xc_get_pfn_type_batch(
        self, handle: int, domid: int, count: int, kinds: ctypes.Array[ctypes.c_ulong]
    ) -> int:
        assert handle == self.handle
        self.asked.append((domid, count))
        for at, mfn in enumerate(kinds):
            if domid == 0:
                kinds[at] = 0 if mfn < 100 and mfn % 2 == 0 else NOT_ITS_OWN
            else:
                kinds[at] = L1_TABLE if mfn == 5 else NOT_ITS_OWN
        return self.result


def test_each_frame_has_the_owner_that_xen_names() -> None:
    assert owners(FakeLibrary(), [0, 7], [2, 3, 4, 5, 100]) == {2: 0, 4: 0, 5: 7}


def test_xen_is_not_asked_for_more_than_it_answers() -> None:
    library = FakeLibrary()
    owners(library, [7], list(range(MOST_FRAMES + 1)))
    assert library.asked == [(7, MOST_FRAMES), (7, 1)]


def test_what_fails_is_an_error() -> None:
    library = FakeLibrary()
    library.result = -1
    with pytest.raises(OSError, match="xc_get_pfn_type_batch"):
        owners(library, [0], [1])
    library.handle = None
    with pytest.raises(OSError, match="xc_interface_open"):
        owners(library, [0], [1])


def test_dom0s_python_may_be_old() -> None:
    source = Path(owners_module.__file__).read_text()
    ast.parse(source, feature_version=(3, 7))
