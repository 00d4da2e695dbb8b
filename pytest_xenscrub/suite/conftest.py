# SPDX-License-Identifier: MIT
"""Fixtures for several of these tests, besides the plugin's own."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.mapping import ForeignMapping
from pytest_xenscrub.run.stash import SESSION, parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_xenscrub.dom0.answers import DomainInfo
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.victim import Victim

    WaitZombie = Callable[[int, int], DomainInfo]


class XenHasFault(Protocol):
    """Says that a test meets a fault of Xen's; of a Xen without it nothing is expected."""

    def __call__(self, what: str, *, mended: Mapping[int, int], until: int) -> None:
        """Expect the assertion that comes next to fail on a Xen that has the fault.

        Args:
            what: the fault.
            mended: of each stable branch 4.N that was mended: in which release.
            until: the first release 4.N that never had it.
        """


HAVE: dict[str, tuple[GuestType, ...]] = {"paging_pool": ("pvh", "hvm"), "device_model": ("hvm",)}
"""Types of guest that have the thing which a fixture is named after."""
_SIGNAL_SECONDS = 30.0
_PID = "/local/domain/{}/image/device-model-pid"
_KILL = 'kill -KILL "$0" && while kill -0 "$0" 2> /dev/null; do sleep 0.01; done'


class DeviceModel:
    """A victim's device model.

    Args:
        domid: the victim's domid.
        dom0: the victim's dom0.
    """

    def __init__(self, domid: int, dom0: Dom0) -> None:
        self._domid = domid
        self._dom0 = dom0
        self._pid = self._run("xenstore-read", _PID.format(domid))

    def _run(self, *command: str) -> str:
        what = f"the device model of domain {self._domid}: {command[0]}"
        deadline = Deadline.after(_SIGNAL_SECONDS, what)
        return self._dom0.run(command, deadline=deadline).check().stdout.strip()

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._run("sh", "-c", _KILL, self._pid)

    def stop(self) -> None:
        """Stop it, while it keeps everything that it has mapped."""
        self._run("kill", "-STOP", self._pid)

    def cont(self) -> None:
        """Let it continue."""
        self._run("kill", "-CONT", self._pid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of things that the run's types of guest do not have."""

    def left_out(item: pytest.Item) -> bool:
        names = set(getattr(item, "fixturenames", ()))
        wanted = parameter(item, "xen_guest_type") or config.stash[SESSION].options.guest_type[0]
        return any(wanted not in HAVE[name] for name in names & HAVE.keys())

    if gone := [item for item in items if left_out(item)]:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture
def paging_pool(xen_guest_type: GuestType) -> None:
    """Marks a test for guests with nested paging: run with `--xen-guest-type=pvh`."""
    assert xen_guest_type in HAVE["paging_pool"]


@pytest.fixture
def device_model(xen_guest_type: GuestType, dom0: Dom0) -> Callable[[int], DeviceModel]:
    """Gives a domain's device model, a process in dom0: run with `--xen-guest-type=hvm`."""
    assert xen_guest_type in HAVE["device_model"]
    return lambda domid: DeviceModel(domid, dom0)


@pytest.fixture
def mapping(xen_host: Host, victim: Victim) -> Iterator[ForeignMapping]:
    """Pages of a victim, mapped in dom0; unmapped before guests are cleaned up."""
    taken = ForeignMapping(xen_host)
    yield taken
    taken.close()


@pytest.fixture
def wait_zombie(dom0: Dom0) -> WaitZombie:
    """Waits until a dying domain has only so many bytes left, which something still uses."""

    def wait(domid: int, memory_bytes: int) -> DomainInfo:
        step = f"domain {domid}: dying but for what is held of it"
        deadline = dom0.patience(step, dom0.total_bytes)
        while True:
            found = [d for d in dom0.domains() if d.domid == domid]
            assert found, "it is gone, and somebody in dom0 still has pages of it mapped"
            if found[0].dying and found[0].memory_bytes <= memory_bytes:
                return found[0]
            deadline.check(**dom0.evidence())
            time.sleep(0.02)

    return wait


def has_fault(version: str, mended: Mapping[int, int], until: int) -> bool:
    """Whether a Xen of this version has a fault, told as `XenHasFault` has it."""
    found = re.match(r"4\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        return False
    branch, release = int(found[1]), int(found[2] or 0)
    return branch < until and (branch not in mended or release < mended[branch])


@pytest.fixture
def xen_has_fault(request: pytest.FixtureRequest, running_xen: RunningXen) -> XenHasFault:
    """Makes the test XFAIL on a Xen whose release has a fault that docs/findings.md tells of."""

    def expect(what: str, *, mended: Mapping[int, int], until: int) -> None:
        version = running_xen.info.version
        if has_fault(version, mended, until):
            reason = f"{what}: a fault of Xen {version}"
            request.applymarker(pytest.mark.xfail(raises=AssertionError, reason=reason))

    return expect
