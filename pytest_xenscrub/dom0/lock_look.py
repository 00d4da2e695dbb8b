# SPDX-License-Identifier: MIT
"""Who has a machine, for one who only looks."""

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
        in_use: whether a run has it.
        who: the run that has it, or had it and is dead, as the lock's file says; None where nothing
            is known of any.
    """

    in_use: bool
    who: dict[str, Any] | None


def look(host: Host, deadline: Deadline) -> LockState:
    """Look at a machine's lock; nothing there is changed.

    Raises:
        InfrastructureError: the machine cannot be reached, or its lock not be read.
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
