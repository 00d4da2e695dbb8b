# SPDX-License-Identifier: MIT
"""Fixtures that several of these tests need, besides the plugin's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.mapping import ForeignMapping
from pytest_xenscrub.run.stash import SESSION, parameter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.scrub.victim import Victim


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests of what only PVH guests have, unless victims are PVH guests."""

    def left_out(item: pytest.Item) -> bool:
        if "pvh" not in getattr(item, "fixturenames", ()):
            return False
        wanted = parameter(item, "xen_guest_type") or config.stash[SESSION].options.guest_type[0]
        return wanted != "pvh"

    if gone := [item for item in items if left_out(item)]:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture
def pvh(xen_guest_type: GuestType) -> None:
    """Marks a test of what only PVH guests have: run it with `--xen-guest-type=pvh`."""
    assert xen_guest_type == "pvh"


@pytest.fixture
def mapping(xen_host: Host, victim: Victim) -> Iterator[ForeignMapping]:
    """Pages of a victim, mapped in dom0; unmapped before guests are cleaned up."""
    taken = ForeignMapping(xen_host)
    yield taken
    taken.close()
