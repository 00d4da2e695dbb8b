# SPDX-License-Identifier: MIT
"""Saves a machine, and goes on from a saved one: QEMU's own state, its RAM, and its disk."""

from __future__ import annotations

import shlex
import shutil
import time
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host import holes
from pytest_xenscrub.units import GIB, gib

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.emulated.machine import Machine
    from pytest_xenscrub.host.emulated.ram import Ram


_MOST_SPARSE = 4 * GIB
"""Largest sparse RAM that is saved: of a very large host, Xen's tables alone would fill the
disk."""


def _check_size(ram: Ram) -> None:
    """Raise `InfrastructureError` if sparse RAM has too much data to be saved."""
    used = holes.used_bytes(ram.fd)
    if ram.sparse and used > _MOST_SPARSE:
        raise InfrastructureError(
            f"{gib(used)} of its RAM hold something, and {gib(_MOST_SPARSE)} are kept at most"
        )


def _prepare(machine: Machine) -> None:
    on = [{"capability": "x-ignore-shared", "state": True}]
    machine.qmp("migrate-set-capabilities", {"capabilities": on})
    machine.qmp("migrate-set-parameters", {"max-bandwidth": 1 << 40})


def go_on(machine: Machine, snapshot: Path, deadline: Deadline) -> None:
    """Load a saved state into a machine that waits for it and has the saved RAM; run the machine.

    Raises:
        InfrastructureError: QEMU could not load the state.
        DeadlineExceededError: it took too long.
    """
    _prepare(machine)
    state = shlex.quote(str(snapshot / "state"))
    machine.qmp("migrate-incoming", {"uri": f"exec:cat {state}"})
    while machine.qmp("query-status")["status"] in ("inmigrate", "postmigrate"):
        deadline.check(qemu=machine.qemu_log())
        time.sleep(0.02)
    if not machine.qmp("query-status")["running"]:
        machine.qmp("cont")


def save(machine: Machine, folder: Path, deadline: Deadline) -> None:
    """Save a machine to `folder`, and let it go on.

    Raises:
        InfrastructureError: QEMU could not save it, or there is too much to save.
        DeadlineExceededError: it took too long.
    """
    assert machine.ram is not None  # noqa: S101 - for the type checker
    _check_size(machine.ram)
    with machine.standing.still():
        _prepare(machine)
        state = shlex.quote(str(folder / "state"))
        machine.qmp("migrate", {"uri": f"exec:cat > {state}"})
        while True:
            status = machine.qmp("query-migrate")
            if status.get("status") == "completed":
                break
            if status.get("status") in ("failed", "cancelled"):
                raise InfrastructureError("QEMU could not save its state", tried=str(status))
            deadline.check(qemu=machine.qemu_log())
            time.sleep(0.05)
        machine.ram.save(folder)
        shutil.copyfile(machine.folder / "disk.qcow2", folder / "disk.qcow2")
