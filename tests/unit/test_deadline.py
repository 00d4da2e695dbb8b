# SPDX-License-Identifier: MIT
"""A deadline knows whom it blames, on a clock that moves as it is told."""

from __future__ import annotations

import pytest

from pytest_xenscrub.deadline import MOST_STRETCH, Deadline
from pytest_xenscrub.errors import DeadlineExceededError, Fault, UndecidedError, XenHungError


class World:
    """This machine's clock, and how long a host has been starved so far."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.starved = 7.0

    def sleep(self, seconds: float, *, share: float = 0.0) -> None:
        """Time passes; for a share of it the host does not run."""
        self.now += seconds
        self.starved += share * seconds

    def deadline(self, seconds: float = 60.0) -> Deadline:
        return Deadline.for_xen(seconds, "xl destroy", lambda: self.starved)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr("pytest_xenscrub.deadline.time.monotonic", lambda: world.now)
    return world


def test_what_is_around_xen_is_infrastructures(world: World) -> None:
    deadline = Deadline.after(10, "power cycle")
    deadline.check()
    world.sleep(10, share=0.9)
    with pytest.raises(DeadlineExceededError, match="power cycle: not done after 10 s") as caught:
        deadline.check(log="nothing")
    assert caught.value.fault is Fault.INFRASTRUCTURE
    assert caught.value.evidence == {"log": "nothing"}


def test_xen_that_had_all_the_time_is_to_blame(world: World) -> None:
    deadline = world.deadline()
    world.sleep(59)
    deadline.check()
    world.sleep(1)
    with pytest.raises(XenHungError, match="xl destroy: not done after 60 s"):
        deadline.check()


def test_the_clock_stands_still_while_the_host_is_starved(world: World) -> None:
    deadline = world.deadline()
    world.sleep(70, share=0.15)
    assert deadline.remaining == pytest.approx(0.5)
    world.sleep(0.6)
    with pytest.raises(XenHungError, match="not done after 71 s"):
        deadline.check()


def test_a_deadline_on_a_starved_host_is_undecided(world: World) -> None:
    deadline = world.deadline()
    world.sleep(119, share=0.5)
    deadline.check()
    world.sleep(2, share=0.5)
    with pytest.raises(UndecidedError, match="for 60 of 121 s other work kept") as caught:
        deadline.check()
    assert caught.value.fault is Fault.UNKNOWN
    assert "nothing else keeps this machine's CPUs busy" in caught.value.todo


def test_a_clock_that_hardly_moves_has_an_end(world: World) -> None:
    deadline = world.deadline()
    world.sleep(60 * MOST_STRETCH - 1, share=0.99)
    deadline.check()
    world.sleep(1, share=0.99)
    with pytest.raises(UndecidedError):
        deadline.check()


def test_a_host_that_has_ended_is_not_starved_backwards(world: World) -> None:
    deadline = world.deadline()
    world.starved = 0.0
    world.sleep(60)
    with pytest.raises(XenHungError):
        deadline.check()


def test_a_part_blames_whom_the_whole_does_and_ends_no_later(world: World) -> None:
    part = world.deadline(10).within(60, "its console")
    assert part.blames_xen
    assert part.remaining == 10
    part = Deadline.after(10, "boot").within(3, "ssh")
    assert not part.blames_xen
    world.sleep(3)
    with pytest.raises(DeadlineExceededError, match="ssh: not done after 3 s"):
        part.check()
