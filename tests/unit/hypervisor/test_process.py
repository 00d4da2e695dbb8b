# SPDX-License-Identifier: MIT
"""Programs of a build that do not end: killed with all that they started, and nobody's Xen."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import Fault, InfrastructureError
from pytest_xenscrub.hypervisor import process


@pytest.mark.parametrize(
    "script",
    [
        "echo first; sleep 60",
        "echo first; exec >&- 2>&-; sleep 60",
        "echo first; sleep 60 & sleep 60",
    ],
)
def test_a_program_that_does_not_end_is_infrastructure(script: str) -> None:
    begin = time.monotonic()
    with pytest.raises(InfrastructureError, match="building: not done after") as caught:
        process.run(["sh", "-c", script], deadline=Deadline.after(0.5, "building"))
    assert caught.value.fault is Fault.INFRASTRUCTURE
    assert caught.value.evidence["last lines"] == "first\n"
    assert time.monotonic() - begin < 30


def test_output_that_another_process_holds_open_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A daemon that a build has started may keep its pipe open."""
    joined = []

    def join(_: object, timeout: float | None = None) -> None:
        joined.append(timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    assert process.run(["true"], deadline=Deadline.after(10, "building")) == (0, "")
    assert joined == [5]


def test_a_program_that_ended_before_it_was_killed_is_no_error() -> None:
    with subprocess.Popen(["true"], start_new_session=True, text=True) as child:
        child.wait()
        process._kill_group(child)
