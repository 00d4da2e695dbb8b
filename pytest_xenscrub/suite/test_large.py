# SPDX-License-Identifier: MIT
"""Large guests: how long a destroy takes, and how long others wait meanwhile.

On a host with sparse RAM, run these tests with `--xen-fill=1/16`: a full guest does not fit there.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import pytest

from pytest_xenscrub.deadline import NOT_STARVED
from pytest_xenscrub.dom0.silence import check_stalls
from pytest_xenscrub.errors import UndecidedError
from pytest_xenscrub.host.outside import starvation
from pytest_xenscrub.scrub.copies import wait_gone
from pytest_xenscrub.scrub.verdict import MIN_COVERAGE
from pytest_xenscrub.units import GIB, MIB, gib

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Ended
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.row import Row
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

SIZES: Final = (4 * GIB, 16 * GIB, 64 * GIB, 256 * GIB)
PART: Final = 8
"""Each guest is compared with one of 1/`PART` of its memory."""
LARGER: Final = 1.25
"""The largest guest that fits is tested only if it is so many times the next smaller size."""
MOST_PROBED: Final = 16 * GIB
"""On an emulated host, larger guests are judged from outside alone: a probe that reads a page makes
QEMU allocate it."""
MOST_STALL_SECONDS: Final = 2.0
MOST_DEPARTURE: Final = 2.5
"""A GiB of the large guest may take so many times as long as a GiB of the small one."""
SLACK_SECONDS: Final = 1.0
SMALL_BYTES: Final = 64 * MIB
IDLE_ROUNDS: Final = 3
MOST_WAIT: Final = 10
"""While a large guest dies, a small one may take so many times as long as on an idle host."""
LEAST_WAIT_SECONDS: Final = 5.0


def sizes() -> list[object]:
    """The sizes, and 0 for the largest that fits; the smallest is also a control."""
    named = [pytest.param(size, id=f"{size // GIB}GiB") for size in SIZES]
    named[0] = pytest.param(SIZES[0], id=f"{SIZES[0] // GIB}GiB", marks=pytest.mark.control)
    return [*named, pytest.param(0, id="largest")]


@pytest.fixture(params=sizes())
def size(request: pytest.FixtureRequest, guests: GuestFactory) -> int:
    """Memory of a large guest, bytes."""
    most, wanted = guests.most_bytes(), int(request.param)
    if wanted > most:
        pytest.skip(f"{gib(most)} are free, and {gib(wanted)} are needed")
    if wanted:
        return wanted
    before = max((size for size in SIZES if size <= most), default=SIZES[0])
    if most < LARGER * before:
        pytest.skip(f"only {gib(most)} are free: {gib(before)} is tested already, or does not fit")
    return most


def judge(victim: Victim, probe: Probe, guests: GuestFactory, up: RunningXen) -> None:
    """Check that a dead victim's memory is clean: by a probe, or from outside if it is too large.

    Call this once the backlog is 0.
    """
    guest = victim.guest
    if up.oracle is None or guest.memory_bytes <= MOST_PROBED:
        verdict = probe.read(guest.frames)
        assert verdict.clean, str(verdict)
        return
    wait_gone(up.oracle, guests, guest, guests.dom0.hang_seconds)
    filled = guest.filled_frames
    clean = len(up.oracle.clean(filled)) / len(filled)
    if clean < MIN_COVERAGE:
        # The other frames hold no word of the guest's pattern, so they may have a new owner.
        raise UndecidedError(
            f"UNPROVEN: only {clean:.2%} of the frames that {guest.name} filled are clean, and the"
            " others hold bytes of something else",
            todo="look what took the memory: guests or tasks of dom0 that this run did not start",
        )


def share_of(seconds: Callable[[], float], work: Callable[[], Row]) -> tuple[Row, float]:
    """Do `work`, which ends a guest; gives its row, and the share of it that starved the host."""
    before = seconds()
    row = work()
    whole = max(row.clean or 0.0, row.destroy or 0.0)
    return row, min(1.0, (seconds() - before) / whole) if whole else 0.0


def check_growth(small: Row, large: Row, starved: float) -> None:
    """Check that times grow with memory, and not with its square.

    Args:
        small: the row of the small guest.
        large: the row of the large guest.
        starved: the share of the large guest's end in which other work starved the host.

    Raises:
        UndecidedError: it took too long, but other work starved the host meanwhile.
    """
    for name in ("destroy", "clean"):
        before, after = getattr(small, name), getattr(large, name)
        if before is None or after is None:
            continue
        most = MOST_DEPARTURE * before * large.memory_bytes / small.memory_bytes + SLACK_SECONDS
        what = (
            f"{name} of {gib(large.memory_bytes)} took {after:.1f} s, and {before:.1f} s of"
            f" {gib(small.memory_bytes)}: at most {most:.1f} s would grow with memory"
        )
        assert after * (1 - starved) <= most, what
        if after > most:
            raise UndecidedError(
                f"{what}; other work kept the host from running for {starved:.0%} of it",
                todo=NOT_STARVED,
            )


@pytest.mark.large
def test_end_of_large_guest_takes_as_long_as_its_memory_asks_for(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, *,
    running_xen: RunningXen, size: int,
) -> None:  # fmt: skip
    """A destroy takes time in proportion to memory, leaves nothing, and does not stall dom0.

    A smaller guest is destroyed first, for comparison. A teardown without preemption keeps a CPU
    until it is done. A teardown whose continuations restart at the head of the page list takes time
    with the square of the memory. A guest of 1 GiB shows neither.
    """
    host_starved = starvation(running_xen.host)
    ends: list[tuple[Row, float]] = []
    for memory_bytes in (size // PART, size):
        victim.memory_bytes = memory_bytes
        victim.fill()
        ends.append(share_of(host_starved, lambda: timings.record(victim.destroy(until="clean"))))
    judge(victim, probe, guests, running_xen)
    (small, _), (large, starved) = ends
    check_stalls(running_xen.dom0, MOST_STALL_SECONDS)
    check_growth(small, large, starved)


def come_and_go(guests: GuestFactory) -> Ended:
    """Create and destroy a small guest.

    Its time until free is left out: Xen's counters do not tell whose memory came free.
    """
    guest = guests.create("small", SMALL_BYTES, "")
    guest.ready()
    ended = guest.destroy(until="gone")
    return dataclasses.replace(ended, reclaim=dataclasses.replace(ended.reclaim, free=None))


def longest(ends: Sequence[Ended]) -> tuple[float, float]:
    """The longest creation and the longest destroy of several small guests, s."""
    return (
        max(ended.guest.created.seconds for ended in ends),
        max((ended.reclaim.returned or 0.0) - ended.reclaim.issued for ended in ends),
    )


@pytest.mark.large
def test_small_guests_come_and_go_while_large_one_dies(
    victim: Victim, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """Creating and destroying a small guest does not wait for the end of a large one.

    All domains share Xen's heap lock and domctl lock. The times on an idle host are measured first,
    and have rows of their own.
    """
    most_bytes = guests.most_bytes() - 2 * SMALL_BYTES
    fits = [size for size in SIZES[:2] if size <= most_bytes]
    if not fits:
        pytest.skip(f"{gib(most_bytes)} are free, and {gib(SIZES[0])} are needed")
    victim.memory_bytes = fits[-1]
    victim.fill()
    before = [come_and_go(guests) for _ in range(IDLE_ROUNDS)]
    for ended in before:
        timings.record(ended)
    idle = max(longest(before))
    most = max(LEAST_WAIT_SECONDS, MOST_WAIT * idle)
    beside: list[Ended] = []
    dying = victim.start_destroy(until="clean")
    while not (dying.done() or gone(dom0, victim.guest.domid)):
        limit = dom0.patience("a small guest while a large one dies", seconds=most)
        beside.append(come_and_go(guests))
        if (took := max(longest(beside[-1:]))) > most:
            raise limit.error(
                f"a small guest took {took:.1f} s while one of {gib(victim.memory_bytes)} died, and"
                f" at most {idle:.1f} s before it"
            )
    timings.record(dying.result())
    if len(beside) < 2:  # the last one may have outlived the large one
        pytest.skip(f"{gib(victim.memory_bytes)} died before a small guest had come and gone")
    timings.beside(*longest(beside[:-1]))


def gone(dom0: Dom0, domid: int) -> bool:
    """Whether Xen does not list the domain any more."""
    return all(domain.domid != domid for domain in dom0.domains())
