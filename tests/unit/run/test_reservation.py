# SPDX-License-Identifier: MIT
"""Hosts of a pool that cannot be had: the next one is tried, and no step there blames Xen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock

import pytest

from pytest_xenscrub.errors import (
    DeadlineExceededError,
    HostLockedError,
    HostLostError,
    HostUnusableError,
    InfrastructureError,
)
from pytest_xenscrub.host.description import parse_host
from pytest_xenscrub.run import preflight
from pytest_xenscrub.run import reservation as reservation_module
from pytest_xenscrub.run.reservation import Reservation

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.description import HostDescription


def no_place(_: HostDescription) -> NoReturn:
    pytest.fail("none of these is a place of labgrid's")


def reservation(*names: str, wait_seconds: float = 0) -> Reservation:
    holder: Any = None
    return Reservation(
        [parse_host(name) for name in names], holder,
        config=None, wait_seconds=wait_seconds, allow_busy=False, say=lambda _: None,
        place_of=no_place,
    )  # fmt: skip


def test_the_next_host_is_tried_where_one_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def reserve(_: Reservation, described: HostDescription, _wait: float) -> HostDescription:
        if described.name == "lab1":
            raise HostLostError("lab1 does not answer")
        return described

    monkeypatch.setattr(Reservation, "_reserve", reserve)
    assert reservation("lab1", "lab2").get().name == "lab2"


def test_a_free_host_is_had_before_busy_ones_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, float]] = []

    def reserve(_: Reservation, described: HostDescription, wait: float) -> HostDescription:
        asked.append((described.name, wait))
        if described.name == "lab9" or len(asked) > 12:
            return described
        raise HostLockedError(f"{described.name} is in use")

    monkeypatch.setattr(Reservation, "_reserve", reserve)
    names = [f"lab{number}" for number in range(10)]
    assert reservation(*names, wait_seconds=3600).get().name == "lab9"
    assert asked == [(name, 0.0) for name in names]
    asked.clear()
    reservation("lab0", "lab1", wait_seconds=3600).get()
    assert [wait for _, wait in asked[:2]] == [0.0, 0.0]
    assert all(wait == reservation_module._TURN_SECONDS for _, wait in asked[2:])


def test_where_no_host_can_be_had_every_test_is_told_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []

    def reserve(_: Reservation, described: HostDescription, _wait: float) -> None:
        tried.append(described.name)
        raise HostLostError(f"{described.name} does not answer")

    monkeypatch.setattr(Reservation, "_reserve", reserve)
    pool = reservation("lab1", "lab2")
    with pytest.raises(InfrastructureError, match="none of 2 hosts can be had"):
        pool.get()
    with pytest.raises(HostUnusableError, match="no host is available: none of 2 hosts"):
        pool.get()
    assert tried == ["lab1", "lab2"]


@pytest.mark.parametrize("step", ["login.check_login", "leftovers.remove_leftovers"])
def test_no_step_on_a_host_that_is_to_be_had_blames_xen(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lets_it_pass(_host: object, deadline: Deadline, *_: object) -> NoReturn:
        raise deadline.error()

    for name in ("login.check_login", "leftovers.remove_leftovers", "leftovers.refuse_busy"):
        monkeypatch.setattr(f"pytest_xenscrub.boot.{name}", lambda *_: None)
    monkeypatch.setattr("pytest_xenscrub.host.power.try_commands", lambda _: None)
    monkeypatch.setattr("pytest_xenscrub.dom0.lock.HostLock", MagicMock())
    monkeypatch.setattr(f"pytest_xenscrub.boot.{step}", lets_it_pass)
    with pytest.raises(DeadlineExceededError, match="lab7"):
        reservation("lab7").get()


def test_looking_for_what_is_missing_is_no_wait_for_xen() -> None:
    def lets_it_pass(_: object, deadline: Deadline) -> NoReturn:
        raise deadline.error()

    wanted: Any = SimpleNamespace(suite="", variants=["stock"], toolstacks=set(), labgrid="")
    xens: Any = SimpleNamespace(missing=lets_it_pass)
    with pytest.raises(DeadlineExceededError, match="looking for what is missing"):
        preflight._lacking(wanted, xens)
