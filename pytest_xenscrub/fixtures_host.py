# SPDX-License-Identifier: MIT
"""Fixtures that hand out the host, and the Xen that runs there.

Tests use `xen_host`, `dom0`, `toolstack`, `hotplug`, `oracle` and `running_xen`; the others serve
these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import OUT_OF_TIME
from pytest_xenscrub.errors import Fault
from pytest_xenscrub.run.blame import FAULT
from pytest_xenscrub.run.stash import SESSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.dom0.hotplug import Hotplug
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.hypervisor.choice import ChosenXen
    from pytest_xenscrub.outside.oracle import Oracle
    from pytest_xenscrub.run.managed_host import ManagedHost, RunningXen
    from pytest_xenscrub.run.session import Session
    from pytest_xenscrub.toolstack.drivers import Drivers
    from pytest_xenscrub.toolstack.protocol import Toolstack


@pytest.fixture(scope="session")
def _xen_session(request: pytest.FixtureRequest) -> Session:
    return request.config.stash[SESSION]


@pytest.fixture(scope="session")
def _guest_kernel(_xen_session: Session) -> Path:
    from pytest_xenscrub.guest.build import build_kernel  # noqa: PLC0415 - only with a host

    return build_kernel()


@pytest.fixture(scope="session")
def xen_variant(request: pytest.FixtureRequest, _xen_session: Session) -> ChosenXen:
    """The Xen to be tested, one of `--xen-variant`, built if needed."""
    if not _xen_session.hosts.pool:
        pytest.skip("no host: say --xen-host=emulated or --xen-host=[user@]host[:port]")
    return _xen_session.xens.get(getattr(request, "param", "as-is"))


@pytest.fixture(scope="session")
def managed_host(
    _xen_session: Session, xen_variant: ChosenXen, _guest_kernel: Path
) -> Iterator[ManagedHost]:
    """The host with the Xen to be tested; started again after it broke."""
    from pytest_xenscrub.run.managed_host import ManagedHost  # noqa: PLC0415 - only with a host

    deployment = _xen_session.deployment(xen_variant)
    managed = ManagedHost(
        _xen_session.hosts.reservation.get().name, xen_variant, deployment, _xen_session.say,
        hang_seconds=_xen_session.options.hang_seconds,
    )  # fmt: skip
    _xen_session.managed_host = managed
    yield managed
    if managed.running is not None:
        _xen_session.logs.ended(managed.running)
    managed.close()
    _xen_session.managed_host = None


@pytest.fixture
def running_xen(
    request: pytest.FixtureRequest, _xen_session: Session, managed_host: ManagedHost
) -> Iterator[RunningXen]:
    """The running host: its `host`, `dom0`, `info` and `oracle`; started again if it broke.

    Xen's log and dom0's heartbeat are watched during the test. The log is also watched after the
    test, while the test's guests are destroyed.
    """
    _xen_session.hosts.check(request.node)
    up = managed_host.bring_up()
    up.dom0.watch_log()
    request.node.user_properties.append(("xen.host", up.host.name))
    up.dom0.watch_stalls()
    yield up
    if (FAULT, Fault.XEN) not in request.node.user_properties and managed_host.healthy():
        _xen_session.watch.check_xen_log()


@pytest.fixture
def xen_host(running_xen: RunningXen) -> Host:
    """The machine of `--xen-host`, with Xen running; an emulated host is started first.

    A dom0 that does not respond for 5 s fails the test, and so does an assertion, a BUG or a WARN
    in Xen's log.
    """
    return running_xen.host


@pytest.fixture
def dom0(running_xen: RunningXen) -> Dom0:
    """The agent in the host's dom0: its clock, free memory, the backlog, Xen's log."""
    return running_xen.dom0


@pytest.fixture
def xen_toolstack(request: pytest.FixtureRequest, _xen_session: Session) -> str:
    """The name of the toolstack, one of `--xen-toolstack`: xl or libvirt."""
    return str(getattr(request, "param", _xen_session.options.toolstack[0]))


@pytest.fixture(scope="session")
def _drivers(
    _xen_session: Session, managed_host: ManagedHost, _guest_kernel: Path
) -> Iterator[Drivers]:
    """The toolstacks' drivers, closed before the host is."""
    from pytest_xenscrub.toolstack.drivers import Drivers  # noqa: PLC0415 - only with a host

    drivers = Drivers(_xen_session.tag, _guest_kernel)
    yield drivers
    if managed_host.healthy():
        drivers.close()


@pytest.fixture
def toolstack(
    managed_host: ManagedHost, dom0: Dom0, xen_toolstack: str, _drivers: Drivers
) -> Iterator[Toolstack]:
    """The toolstack. Guests that a test leaves behind are destroyed after the test."""
    managed_host.xen.unused_with(xen_toolstack)  # raises if nothing of the variant is in use
    try:
        driver = _drivers.get(xen_toolstack, dom0)
        yield driver
    finally:
        # A daemon that hangs would do so for every later test. A real machine is not rebooted for
        # that: others may use it.
        if _drivers.hangs(xen_toolstack) and dom0.host.outside is not None:
            managed_host.broke(f"{xen_toolstack} does not answer")
    # A host that hangs is started again, without its guests, so waiting for it is useless.
    if managed_host.healthy():
        driver.clean()


@pytest.fixture
def oracle(running_xen: RunningXen) -> Oracle:
    """The host's RAM seen from outside: what is in a frame, without asking Xen or a guest."""
    if running_xen.oracle is None:
        pytest.skip(
            f"{running_xen.host.name}: only an emulated host's RAM can be read from outside"
        )
    return running_xen.oracle


@pytest.fixture
def hotplug(managed_host: ManagedHost, dom0: Dom0) -> Iterator[Hotplug]:
    """Takes CPUs and pages offline. What a test leaves offline comes back after the test.

    If the backlog does not drain after the test, the host is started again for the next one.
    """
    from pytest_xenscrub.dom0.hotplug import Hotplug  # noqa: PLC0415

    taken = Hotplug(dom0)
    yield taken
    if not managed_host.healthy():
        return
    taken.close()
    try:
        dom0.wait_drained(dom0.patience("the backlog after hotplug", dom0.total_bytes))
    except OUT_OF_TIME as error:
        managed_host.broke(str(error))
