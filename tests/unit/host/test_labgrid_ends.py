# SPDX-License-Identifier: MIT
"""What does not end as it should around labgrid is not Xen's fault, and holds nothing up."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    DeadlineExceededError,
    HostLockedError,
    InfrastructureError,
)
from pytest_xenscrub.host import labgrid, labgrid_owner, labgrid_place
from pytest_xenscrub.host.labgrid import Reserved
from pytest_xenscrub.host.labgrid_owner import Guard
from pytest_xenscrub.host.labgrid_place import LabgridPlace
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from pathlib import Path

WAITING = Reserved("A1", "waiting", "")


def raising(error: BaseException) -> Any:
    def raise_it(*_: object, **__: object) -> NoReturn:
        raise error

    return raise_it


def place(**parts: Any) -> Any:
    """A place in the midst of what it does."""
    made: Any = LabgridPlace.__new__(LabgridPlace)
    made._labgrid = SimpleNamespace(**parts)
    made._described = SimpleNamespace(name="labgrid:xen=yes", place=("xen=yes",))
    made._say = lambda _: None
    made._turn = made._guard = made._alive = made._console = None
    return made


def test_a_uid_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LG_USERNAME", raising=False)
    for error in (KeyError("uid"), OSError("no name")):
        monkeypatch.setattr(getpass, "getuser", raising(error))
        owner = labgrid.Labgrid("true", "xenscrub-0000a1").owner
        assert owner.endswith(f"/uid-{os.getuid()}.xenscrub-0000a1")


def test_a_call_that_hangs_is_not_xens(tmp_path: Path) -> None:
    program = tmp_path / "labgrid-client"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(DeadlineExceededError, match="looking") as caught:
        labgrid.Labgrid(str(program), "xenscrub-0000a1").run("looking", "who", seconds=0.2)
    assert not isinstance(caught.value, HostLockedError)
    assert caught.value.fault.value == "infrastructure"


class TestGuard:
    """The process that gives a place back."""

    def guard(self, monkeypatch: pytest.MonkeyPatch, does: str) -> Guard:
        monkeypatch.setattr(labgrid_owner, "_AT_THE_END", does)
        monkeypatch.setattr(labgrid_owner, "RELEASE_SECONDS", 0.3)
        program: Any = SimpleNamespace(
            owner="vm/alice.xenscrub-0000a1", command=lambda *words: ["labgrid-client", *words]
        )
        return Guard(program, "lab7")

    def test_one_that_does_not_end_is_killed_and_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin = time.monotonic()
        with pytest.raises(InfrastructureError, match="labgrid did not take lab7 back"):
            self.guard(monkeypatch, "exec sleep 60").release()
        assert time.monotonic() - begin < 30

    def test_one_that_is_dead_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        guard = self.guard(monkeypatch, "exit 1")
        guard._process.wait(10)
        assert guard._process.stdin is not None
        guard._process.stdin.close()
        guard._process.stdin = MagicMock(close=raising(BrokenPipeError()))
        with pytest.raises(InfrastructureError, match="the next run tries it, too"):
            guard.release()


def test_a_console_that_does_not_end_is_killed() -> None:
    console = labgrid_place._Console(["sh", "-c", "trap '' TERM; echo up; exec sleep 60"])
    while b"up" not in console.log.read_bytes():
        time.sleep(0.01)
    begin = time.monotonic()
    console.close()
    assert time.monotonic() - begin < 30
    assert console._process.returncode == -signal.SIGKILL


def test_all_places_in_use_is_not_xens(monkeypatch: pytest.MonkeyPatch) -> None:
    late = Deadline.after(0, "waiting for a place").error()
    waits = place(wait=raising(late))
    waits._turn = WAITING
    monkeypatch.setattr(LabgridPlace, "_locked", lambda _: HostLockedError("in use: lab7"))
    with pytest.raises(HostLockedError, match="in use"):
        waits._queue(5)
    assert waits._turn is WAITING


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InfrastructureError("gone")])
def test_a_wait_that_is_interrupted_leaves_the_queue(error: BaseException) -> None:
    left: list[str] = []
    waits = place(wait=raising(error), run=lambda *words: left.append(words[-1]))
    waits._turn = WAITING
    with pytest.raises(type(error)):
        waits._queue(5)
    assert left == ["A1"]


def test_a_turn_that_cannot_be_cancelled_changes_nothing() -> None:
    leaves = place(run=raising(InfrastructureError("the coordinator is gone")))
    leaves._turn = WAITING
    leaves.leave()
    assert leaves._turn is None


def test_power_that_labgrid_cannot_switch_is_none_and_any_other_failure_is_told() -> None:
    assert place(run=raising(InfrastructureError("no compatible resource")))._power("lab7") == ()
    with pytest.raises(InfrastructureError, match="coordinator"):
        place(run=raising(InfrastructureError("coordinator is gone")))._power("lab7")


def test_an_ssh_that_does_not_tell_its_configuration_has_no_jump_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "run", raising(subprocess.TimeoutExpired("ssh", 10)))
    host = SshHost(Target("lab7"))
    assert not host._proxied()
    host.close()
