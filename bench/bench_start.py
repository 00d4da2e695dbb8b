# SPDX-License-Identifier: MIT
"""How long the emulated host takes from the start of QEMU to the first answered command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _bench import Limit, emulated_memory, report

from pytest_xenscrub.deadline import HANG_SECONDS, Deadline
from pytest_xenscrub.host.emulated import EmulatedHost, MachineSpec
from pytest_xenscrub.host.emulated.image import ensure_image
from pytest_xenscrub.host.emulated.snapshot import SnapshotStore

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LIMITS = {"cold": Limit(0, 30.0), "warm": Limit(0, 5.0)}


def test_start(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    spec = MachineSpec(memory_bytes=emulated_memory(request.config))
    deadline = Deadline.after(600, "starting hosts")
    image = ensure_image(spec.suite, say=print, deadline=deadline)
    for how in ("cold", "warm"):
        host = EmulatedHost(spec, image, lambda _: None, HANG_SECONDS)
        # A store of its own: the user's saved machines are neither used nor pushed out.
        host._store = SnapshotStore(tmp_path)
        try:
            host._power_on(deadline)
            assert host.started == ("cold" if how == "cold" else "warm")
            seconds = host.boot_seconds
        finally:
            host.close()
        report(f"{how} start of the emulated host", seconds, " s", LIMITS[how])
