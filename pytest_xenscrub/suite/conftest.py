# SPDX-License-Identifier: MIT
"""What several of these tests need besides the plugin's own fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.mapping import ForeignMapping
from pytest_xenscrub.run.stash import SESSION, parameter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.scrub.victim import Victim


HAVE: dict[str, tuple[GuestType, ...]] = {"paging_pool": ("pvh", "hvm"), "device_model": ("hvm",)}
"""Which types of guest have what a fixture of that name is for."""
_SIGNAL_SECONDS = 30.0
_SIGNAL = """
pid=$(xenstore-read "/local/domain/$0/image/device-model-pid") && kill -s "$1" "$pid" || exit 1
[ "$1" != KILL ] || while kill -0 "$pid" 2> /dev/null; do sleep 0.01; done
"""


class DeviceModel:
    """A victim's device model.

    Args:
        victim: whose it is, filled when it is told something.
        dom0: where it runs.
    """

    def __init__(self, victim: Victim, dom0: Dom0) -> None:
        self._victim = victim
        self._dom0 = dom0

    def signal(self, name: str) -> None:
        """Send it a signal: "KILL", "STOP"; once killed, it is gone on return."""
        domid = self._victim.guest.domid
        deadline = Deadline.after(_SIGNAL_SECONDS, f"SIG{name} for the device model of {domid}")
        self._dom0.run(["sh", "-c", _SIGNAL, str(domid), name], deadline=deadline).check()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only some types of guest have where victims are others."""

    def left_out(item: pytest.Item) -> bool:
        names = set(getattr(item, "fixturenames", ()))
        wanted = parameter(item, "xen_guest_type") or config.stash[SESSION].options.guest_type[0]
        return any(wanted not in HAVE[name] for name in names & HAVE.keys())

    if gone := [item for item in items if left_out(item)]:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture
def paging_pool(xen_guest_type: GuestType) -> None:
    """A test of what only guests with nested paging have: run with `--xen-guest-type=pvh`."""
    assert xen_guest_type in HAVE["paging_pool"]


@pytest.fixture
def device_model(xen_guest_type: GuestType, victim: Victim, dom0: Dom0) -> DeviceModel:
    """The victim's, a process in dom0: run with `--xen-guest-type=hvm`."""
    assert xen_guest_type in HAVE["device_model"]
    return DeviceModel(victim, dom0)


@pytest.fixture
def mapping(xen_host: Host, victim: Victim) -> Iterator[ForeignMapping]:
    """Pages of a victim, mapped in dom0; let go of before guests are cleaned up: none could be."""
    taken = ForeignMapping(xen_host)
    yield taken
    taken.close()
