# SPDX-License-Identifier: MIT
"""What several of these tests need besides the plugin's own fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.mapping import ForeignMapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.scrub.victim import Victim


@pytest.fixture
def mapping(xen_host: Host, victim: Victim) -> Iterator[ForeignMapping]:
    """Pages of a victim, mapped in dom0; let go of before guests are cleaned up: none could be."""
    taken = ForeignMapping(xen_host)
    yield taken
    taken.close()
