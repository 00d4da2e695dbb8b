# SPDX-License-Identifier: MIT
"""A victim whose frames, or whose destroy, are not what they must be."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    DisagreementError,
    Fault,
    UndecidedError,
    XenFaultError,
    XenHungError,
)
from pytest_xenscrub.guest.guest import Guest
from pytest_xenscrub.guest.live import LiveGuest
from pytest_xenscrub.scrub.victim import Victim, in_background


@pytest.mark.parametrize("error", [XenHungError("xl destroy hangs"), KeyboardInterrupt()])
def test_what_a_destroy_in_the_background_raised_is_raised_where_it_is_waited_for(
    error: BaseException,
) -> None:
    with pytest.raises(type(error)) as caught:
        in_background(MagicMock(side_effect=error)).result(10)
    assert caught.value is error


@pytest.mark.parametrize(("starved", "kind"), [(0.0, XenHungError), (60.0, UndecidedError)])
def test_a_backlog_of_earlier_guests_that_stays_is_xens(
    starved: float, kind: type[Exception]
) -> None:
    guests = MagicMock()
    guests.dom0.patience = lambda step, _: Deadline.for_xen(
        0.0, step, iter([0.0, *[starved] * 9]).__next__
    )

    def stays(deadline: Deadline) -> None:
        raise deadline.error()

    guests.dom0.wait_drained = stays
    with pytest.raises(kind):
        Victim(guests, 64 << 20).fill()
    guests.create.assert_not_called()


def disagreeing(mismatched: int) -> tuple[MagicMock, DisagreementError]:
    """A guest that is asked what it sees itself, and what was seen from outside."""
    guest = MagicMock()
    guest.name, guest.config.type = "victim-1", "pv"
    guest.last.return_value.mismatched = mismatched
    guest.evidence.return_value = {}
    guest.map.arrays.return_value = ([], [])
    guest.who_is_right = lambda error: LiveGuest.who_is_right(guest, error)
    return guest, DisagreementError("RAM holds something else")


@pytest.mark.parametrize(
    ("mismatched", "kind", "fault"),
    [(0, DisagreementError, Fault.INFRASTRUCTURE), (3, XenFaultError, Fault.XEN)],
)
class TestDisagreement:
    """RAM is not what a live guest wrote: Xen is to blame only if the guest misses pages too."""

    def test_of_a_victim_that_was_just_filled(
        self, mismatched: int, kind: type[Exception], fault: Fault
    ) -> None:
        guest, error = disagreeing(mismatched)
        guests = MagicMock()
        guests.witness.oracle.proven = False
        guests.witness.oracle.prove.side_effect = error
        guests.create.return_value = guest
        with pytest.raises(kind) as caught:
            Victim(guests, 64 << 20).fill()
        assert caught.value.fault is fault  # type: ignore[attr-defined]

    def test_of_a_guest_that_is_about_to_end(
        self, mismatched: int, kind: type[Exception], fault: Fault
    ) -> None:
        guest, error = disagreeing(mismatched)
        guest._listeners.witness.watch.side_effect = error
        ending: Any = guest
        with pytest.raises(kind) as caught:
            Guest._record_bytes(ending)
        assert caught.value.fault is fault  # type: ignore[attr-defined]
