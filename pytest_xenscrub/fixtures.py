# SPDX-License-Identifier: MIT
"""What a test is handed: fixtures, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.toolstack.xl import Xl


@pytest.fixture(scope="session")
def xen_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """The machine of `--xen-host`; an emulated one is started and, at the end, powered off."""
    from pytest_xenscrub.host.emulated import (  # noqa: PLC0415 - only when a host is used
        EmulatedHost,
        MachineSpec,
        default_memory_bytes,
    )
    from pytest_xenscrub.host.ssh import SshHost  # noqa: PLC0415
    from pytest_xenscrub.host.target import parse_target  # noqa: PLC0415

    wanted = request.config.getoption("--xen-host")
    if wanted is None:
        pytest.skip("no host: say --xen-host=emulated or --xen-host=[user@]host[:port]")
    host: Host
    if wanted == "emulated":
        host = EmulatedHost.start(
            MachineSpec(memory_bytes=default_memory_bytes()),
            progress=print,
            deadline=Deadline.after(400, "starting the emulated host"),
        )
    else:
        host = SshHost(parse_target(wanted))
    yield host
    host.close()


@pytest.fixture(scope="session")
def dom0(xen_host: Host) -> Iterator[Dom0]:
    """The agent in the host's dom0: clock, memory, backlog, Xen's log."""
    from pytest_xenscrub.dom0.client import Dom0  # noqa: PLC0415

    agent = Dom0(xen_host)
    yield agent
    agent.close()


@pytest.fixture
def toolstack(dom0: Dom0) -> Iterator[Xl]:
    """The xl toolstack; what a test leaves running is destroyed after it."""
    from pytest_xenscrub.guest.build import build_kernel  # noqa: PLC0415
    from pytest_xenscrub.toolstack.xl import Xl  # noqa: PLC0415

    xl = Xl(dom0, build_kernel())
    yield xl
    xl.close()
