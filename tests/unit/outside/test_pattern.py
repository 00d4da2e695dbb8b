# SPDX-License-Identifier: MIT
"""The twin of pattern.h: what C writes is what Python expects."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_xenscrub.guest.compile import SOURCES
from pytest_xenscrub.outside.pattern import matches, owner_word

from .conftest import GUEST, RUN, page

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
#include <stdio.h>
#include "pattern.h"
int main(void)
{{
    unsigned long owner = pattern_owner({run}ul, {guest}ul);
    struct pattern p = {{ owner, pattern_frame(KIND_PFN, {pfn}ul, owner),
                          pattern_frame(KIND_MFN, {mfn}ul, owner) }};
    for ( unsigned int i = 0; i < 512; i++ )
        printf("%lx\\n", pattern_word(&p, i));
}}
"""


@pytest.mark.parametrize(
    ("run", "guest", "pfn", "mfn"), [(RUN, GUEST, 0, 1), (1, 1, 0xFFFFF, 0x10FFFF), (5, 90, 9, 9)]
)
def test_c_and_python_write_the_same(
    tmp_path: Path, run: int, guest: int, pfn: int, mfn: int
) -> None:
    source = tmp_path / "writer.c"
    source.write_text(WRITER.format(run=run, guest=guest, pfn=pfn, mfn=mfn))
    program = tmp_path / "writer"
    try:
        subprocess.run(["gcc", "-w", f"-I{SOURCES}", source, "-o", program], check=True)
    except FileNotFoundError:
        pytest.skip("gcc is not installed")
    written = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    expected = np.frombuffer(page(pfn, mfn, guest=guest, run=run), np.uint64)
    assert [int(word, 16) for word in written] == expected.tolist()


def one(data: bytes) -> bool:
    pages = np.frombuffer(data, np.uint64).reshape(1, -1)
    pfns, mfns = np.array([3], np.uint64), np.array([9], np.uint64)
    return bool(matches(pages, pfns, mfns, owner_word(RUN, GUEST))[0])


def test_a_page_matches_in_every_byte_or_not_at_all() -> None:
    good = page(3, 9)
    assert one(good)
    for at in (0, 8, 9, 24, 2055, 4095):
        assert not one(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])


def test_a_page_of_another_place_or_guest_does_not_match() -> None:
    assert not one(page(4, 9))
    assert not one(page(3, 8))
    assert not one(page(3, 9, guest=8))
    assert not one(page(3, 9, run=1))
