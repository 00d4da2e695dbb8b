# SPDX-License-Identifier: MIT
"""Pages of zeros are given back, and nothing else: on real memory files."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.host import holes
from pytest_xenscrub.host.emulated.content import OTHER, PATTERN, SCRUBBED, ZEROS, content_of
from pytest_xenscrub.host.emulated.drain import Drain
from pytest_xenscrub.units import MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 32 * MIB
PAGES = SIZE // PAGE
ZERO = bytes(PAGE)


@pytest.fixture
def fd() -> Iterator[int]:
    fd = os.memfd_create("ram")
    os.ftruncate(fd, SIZE)
    yield fd
    os.close(fd)


def write(fd: int, page: int, data: bytes = ZERO, pages: int = 1) -> None:
    os.pwrite(fd, data * pages, page * PAGE)


def there(fd: int) -> set[int]:
    """The pages that are no hole."""
    return {
        page
        for start, end in holes.data(fd, SIZE)
        for page in range(start // PAGE, end // PAGE)
    }  # fmt: skip


def drained(fd: int) -> int:
    drain = Drain(fd, SIZE)
    freed = drain.give_back()
    drain.close()
    return freed


def test_a_fresh_file_takes_nothing_and_a_look_leaves_it_so(fd: int) -> None:
    drain = Drain(fd, SIZE)
    assert drain.give_back() == 0
    assert len(drain.sample(100)) == 0
    assert drain.used_bytes == 0
    drain.close()


@pytest.mark.parametrize("seed", range(8))
def test_what_is_zero_goes_and_every_byte_stays_as_it_was(fd: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    dirty, zero = set(), set()
    at = 0
    while at < PAGES:
        length = chance.choice((1, 1, 2, 7, 511, 512, 513, 1024))
        kind = chance.choice("dzh")
        for page in range(at, min(at + length, PAGES)):
            if kind == "d":
                write(fd, page, chance.randbytes(PAGE))
                dirty.add(page)
            elif kind == "z":
                write(fd, page)
                zero.add(page)
        at += length
    before = os.pread(fd, SIZE, 0)
    assert there(fd) == dirty | zero
    assert drained(fd) == len(zero) * PAGE
    assert there(fd) == dirty
    assert holes.used_bytes(fd) == len(dirty) * PAGE
    assert os.pread(fd, SIZE, 0) == before


@pytest.mark.parametrize("at", [0, 1, 7, 8, 2048, PAGE - 9, PAGE - 8, PAGE - 1])
@pytest.mark.parametrize("page", [0, 1, 255, 511])
def test_a_page_with_one_bit_anywhere_stays(fd: int, page: int, at: int) -> None:
    """Alone in a chunk that is otherwise zeros, wherever it is there."""
    write(fd, 512, ZERO, 512)
    os.pwrite(fd, b"\x80", (512 + page) * PAGE + at)
    assert drained(fd) == 511 * PAGE
    assert there(fd) == {512 + page}
    assert os.pread(fd, 1, (512 + page) * PAGE + at) == b"\x80"


def test_pages_of_zeros_between_pages_that_are_not_go_too(fd: int) -> None:
    write(fd, 0, ZERO, PAGES)
    for page in range(0, PAGES, 2):
        write(fd, page, b"\xc2" * PAGE)
    assert drained(fd) == SIZE // 2
    assert there(fd) == set(range(0, PAGES, 2))


def test_it_can_be_told_to_end(fd: int) -> None:
    write(fd, 0, ZERO, PAGES)
    drain = Drain(fd, SIZE)
    turns = iter((True, True, False))
    assert drain.give_back(go_on=lambda: next(turns)) == 4 * MIB
    assert drain.used_bytes == SIZE - 4 * MIB
    drain.close()


def test_a_file_that_may_have_no_hole_says_so(fd: int) -> None:
    import fcntl  # noqa: PLC0415 - for this test alone

    sealed = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(sealed, SIZE)
    write(sealed, 3)
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    drain = Drain(sealed, SIZE)
    with pytest.raises(OSError, match="a hole cannot be made"):
        drain.give_back()
    drain.close()
    os.close(sealed)


def pattern() -> bytes:
    """As a filler writes it: every other word is one and its place, those between say more."""
    words = [(0xA9 << 56) + place if place % 2 == 0 else place * 77 for place in range(512)]
    return b"".join(word.to_bytes(8, "little") for word in words)


def test_what_fills_it_is_told(fd: int) -> None:
    write(fd, 0, pattern(), 256)
    write(fd, 3000, b"\xc2" * PAGE, 128)
    write(fd, 5000, os.urandom(PAGE), 64)
    write(fd, 7000, ZERO, 32)
    drain = Drain(fd, SIZE)
    assert content_of(drain).splitlines() == [
        f"1 MiB: {PATTERN}",
        f"0 MiB: {SCRUBBED}",
        f"0 MiB: {OTHER}",
        f"0 MiB: {ZEROS}",
    ]
    drain.close()


def test_a_sample_is_spread_over_all_that_is_there(fd: int) -> None:
    for page in range(0, PAGES, 64):
        write(fd, page, page.to_bytes(8, "little") * 512)
    drain = Drain(fd, SIZE)
    everything = drain.sample(PAGES)
    assert everything[:, 0].tolist() == list(range(0, PAGES, 64))
    some = drain.sample(PAGES // 64 // 4)
    assert some[:, 0].tolist() == list(range(0, PAGES, 256))
    drain.close()


@pytest.fixture
def sizes() -> Callable[[int], list[tuple[int, int]]]:
    return lambda fd: list(holes.data(fd, SIZE))


def test_data_and_holes_are_told_apart(
    fd: int, sizes: Callable[[int], list[tuple[int, int]]]
) -> None:
    assert sizes(fd) == []
    write(fd, 1, ZERO, 2)
    write(fd, PAGES - 1)
    assert sizes(fd) == [(PAGE, 3 * PAGE), (SIZE - PAGE, SIZE)]
    assert list(holes.data(fd, 2 * PAGE)) == [(PAGE, 2 * PAGE)]
    assert holes.next_data(fd, 3 * PAGE) == SIZE - PAGE
    assert holes.next_data(fd, SIZE) is None
    with pytest.raises(OSError, match="Bad file"):
        holes.next_data(-1, 0)
