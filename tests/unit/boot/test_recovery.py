# SPDX-License-Identifier: MIT
"""A machine that broke, over one that is faked: what is done to it, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from pytest_xenscrub.boot import reboot, recovery
from pytest_xenscrub.boot.reboot import Running
from pytest_xenscrub.errors import (
    DeadlineExceededError,
    HostUnusableError,
    InfrastructureError,
)
from pytest_xenscrub.host.protocol import CommandResult
from pytest_xenscrub.identity import new_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.deadline import Deadline

TAG = "xenscrub-12ab34"
OTHER = UUID("5f0c1d5e-0000-4000-8000-000000000001")


class FakeMachine:
    """Answers as `boot` of it says; None is no answer at all.

    Attributes:
        guests: by domid, a UUID and a name.
        stuck: whether xl hangs though a shell answers.
    """

    name = "lab7"

    def __init__(self, boot: str | None = "first") -> None:
        self.boot = boot
        self.after_cycle: str | None = "second"
        self.stuck = False
        self.guests: dict[str, tuple[UUID, str]] = {}
        self.cycled: list[str] = []

    def run(self, argv: Sequence[str], *, deadline: Deadline, check: bool = True) -> CommandResult:
        if self.boot is None:
            raise InfrastructureError("lab7 does not answer")
        words = list(argv)
        if words[0] == "xl" and self.stuck:
            raise deadline.error()
        if words[:2] == ["xl", "destroy"]:
            del self.guests[words[2]]
        lines = [f"{uuid}  {domid}    {name:<30}" for domid, (uuid, name) in self.guests.items()]
        listing = "\n".join(["UUID                                  ID    name", *lines])
        said = listing if words == ["xl", "vm-list"] else f"{self.boot}\nc0ffee\n"
        return CommandResult(tuple(argv), 0, said, "")

    def disconnect(self) -> None: ...

    def serial_tail(self, _lines: int = 20) -> str:
        return "(XEN) last words"

    # -- as its power switch --------------------------------------------------------------------

    def switch(self, action: str) -> str:
        self.cycled.append(action)
        self.boot, self.stuck = self.after_cycle, False
        return ""


class Switch:
    def __init__(self, machine: FakeMachine) -> None:
        self.run = machine.switch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "REBOOT_SECONDS", 0.2)
    monkeypatch.setattr(reboot, "_PAUSE_SECONDS", 0.01)


def recover(machine: FakeMachine, *, power: bool = True) -> list[str]:
    said: list[str] = []
    recovery.recover(
        machine,  # type: ignore[arg-type]
        Switch(machine) if power else None,  # type: ignore[arg-type]
        since=Running("first", "c0ffee"),
        patience=0.1,
        say=said.append,
    )
    return said


def test_one_that_answers_is_left_as_it_is() -> None:
    machine = FakeMachine()
    assert recover(machine) == []
    assert machine.cycled == []


@pytest.mark.parametrize("stuck", [False, True])
def test_one_that_does_not_is_power_cycled(stuck: bool) -> None:
    """Also one whose shell answers, while Xen's toolstack does not."""
    machine = FakeMachine("first" if stuck else None)
    machine.stuck = stuck
    said = recover(machine)
    assert machine.cycled == ["cycle"]
    assert said == [
        "lab7: does not answer: power-cycled",
        "lab7: answers again after 0 s",
    ]


def test_a_switch_that_does_nothing_is_noticed() -> None:
    machine = FakeMachine()
    machine.stuck = True
    machine.after_cycle = "first"
    with pytest.raises(DeadlineExceededError, match="did not come back") as caught:
        recover(machine)
    assert caught.value.evidence["serial log before"] == "(XEN) last words"


def test_without_a_switch_the_error_says_that_one_is_needed() -> None:
    with pytest.raises(HostUnusableError, match="no power command to recover it with") as caught:
        recover(FakeMachine(None), power=False)
    assert "--xen-power" in caught.value.todo


def test_guests_of_a_run_are_swept_by_name_and_uuid_and_no_others() -> None:
    machine = FakeMachine()
    machine.guests = {
        "0": (UUID(int=0), "Domain-0"),
        "3": (OTHER, f"{TAG}-victim-1"),
        "4": (new_uuid(TAG), "(null)"),
        "5": (OTHER, "web1"),
        "6": (new_uuid("xenscrub-12ab35"), "xenscrub-12ab35-victim-1"),
    }
    assert recovery.destroy_run_guests(machine, TAG) == [f"{TAG}-victim-1", "(null)"]  # type: ignore[arg-type]
    assert list(machine.guests) == ["0", "5", "6"]
