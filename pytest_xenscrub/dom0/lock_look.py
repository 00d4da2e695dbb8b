# SPDX-License-Identifier: MIT
"""Reads who has a machine, without taking its lock."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.dom0 import lock
from pytest_xenscrub.dom0.program import run_program
from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host


@dataclass(frozen=True)
class LockState:
    """A machine's lock.

    Attributes:
        in_use: whether a run has the machine.
        who: the run that has the machine, or a dead run that had it, from the lock's file; None
            without one.
    """

    in_use: bool
    who: dict[str, Any] | None


def look(host: Host, deadline: Deadline) -> LockState:
    """Read a machine's lock, without changing anything there.

    Raises:
        InfrastructureError: the machine cannot be reached, or its lock cannot be read.
        DeadlineExceededError: it took too long.
    """
    done = run_program(
        host, "lock_look", lock.PATH, str(lock.GRACE_SECONDS), deadline=deadline
    )  # fmt: skip
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise InfrastructureError(
            f"{host.name}: its lock cannot be read",
            tried=lock.PATH,
            evidence={"dom0": done.stderr[-1000:]},
        ) from None
    return LockState(bool(told["in_use"]), told["who"])
