# SPDX-License-Identifier: MIT
"""Guests whose size alone may show a fault: the time of a destroy, and who waits for it.

Run with `--xen-fill=1/16` where the host's RAM is sparse, as all of such a guest has no room there.
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
"""The guest with which one is compared has one part in so many of its memory."""
LARGER: Final = 1.25
"""The largest guest that fits is no size of its own unless it is so many times the one before."""
MOST_PROBED: Final = 16 * GIB
"""Of what is larger an emulated host's RAM is looked at from outside alone: a probe would have
QEMU find a page for each that it reads."""
MOST_STALL_SECONDS: Final = 2.0
MOST_DEPARTURE: Final = 2.5
"""An end may take so many times as long for each GiB as that of a guest of a part of the memory."""
SLACK_SECONDS: Final = 1.0
SMALL_BYTES: Final = 64 * MIB
IDLE_ROUNDS: Final = 3
MOST_WAIT: Final = 10
"""A small guest may take so many times as long while a large one dies."""
LEAST_WAIT_SECONDS: Final = 5.0


def sizes() -> list[object]:
    """The sizes, and 0 for the largest that fits; the smallest also on a Xen that must fail."""
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
        pytest.skip(f"{gib(most)} are free, hardly more than {gib(before)}, or less")
    return most


def judge(victim: Victim, probe: Probe, guests: GuestFactory, up: RunningXen) -> None:
    """Check that a dead victim's memory is clean: by a probe, or from outside where that is long.

    Call it once the backlog is 0.
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
    """What a guest's end came to, and the share of it in which other work kept the host waiting."""
    before = seconds()
    row = work()
    whole = max(row.clean or 0.0, row.destroy or 0.0)
    return row, min(1.0, (seconds() - before) / whole) if whole else 0.0


def check_growth(small: Row, large: Row, starved: float) -> None:
    """Check that each time has grown with memory, and not with its square.

    Args:
        small: the end of a guest of a part of the memory.
        large: the end of the guest itself.
        starved: share of that end in which other work kept the host from running.

    Raises:
        UndecidedError: it took too long, and may not have if the host had been left alone.
    """
    for name in ("destroy", "clean"):
        before, after = getattr(small, name), getattr(large, name)
        if before is None or after is None:
            continue
        most = MOST_DEPARTURE * before * large.memory_bytes / small.memory_bytes + SLACK_SECONDS
        what = (
            f"{name} of {gib(large.memory_bytes)} took {after:.1f} s, and {before:.1f} s of"
            f" {gib(small.memory_bytes)}: more than {most:.1f} s is no time that grows with memory"
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
    """Twice the memory dies in twice the time, leaves nothing, and dom0 goes on meanwhile.

    A guest of a part of that size comes first. A teardown without preemption keeps a CPU for as
    long as it lasts; one that begins at the head of its list whenever it goes on takes as long as
    the square of the memory. Neither shows in a guest of 1 GiB.
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
    """A small guest is created, and destroyed.

    Xen's counters do not tell whose memory came free, so it has no time for that.
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
    """Who creates or destroys a small guest does not wait for the end of a large one.

    Xen's locks (heap, domctl) are one for all domains. What small guests took on an idle host is
    measured before, and has rows of its own.
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
    """Whether a domain is in no list any more."""
    return all(domain.domid != domid for domain in dom0.domains())
