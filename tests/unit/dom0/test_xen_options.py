# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from pytest_xenscrub.dom0.xen_options import scrubs_at_boot, scrubs_domheap


@pytest.mark.parametrize(
    ("command_line", "scrubs"),
    [
        ("", False),
        ("placeholder scrub-domheap", True),
        ("scrub-domheap=1", True),
        ("scrub-domheap=yes", True),
        ("scrub-domheap=", True),
        ("scrub-domheap=off", False),
        ("no-scrub-domheap", False),
        ("no-scrub-domheap=0", True),
        ("scrub-domheap=1 scrub-domheap=0", False),
        ("scrub-domheap=0 console=com1 scrub-domheap", True),
        ("scrub-domheap scrub-domheap=maybe", True),
        ("console=com1 -- scrub-domheap", False),
    ],
)
def test_scrub_domheap(command_line: str, scrubs: bool) -> None:
    assert scrubs_domheap(command_line) is scrubs


@pytest.mark.parametrize(
    ("command_line", "scrubs"),
    [
        ("", False),
        ("bootscrub", True),
        ("bootscrub=on", True),
        ("bootscrub=true bootscrub=idle", False),
        ("bootscrub=1 no-bootscrub", False),
        ("bootscrub=1 no-bootscrub=1", True),
        ("bootscrub=1 bootscrub=odd", True),
        ("bootscrub=0", False),
    ],
)
def test_bootscrub(command_line: str, scrubs: bool) -> None:
    assert scrubs_at_boot(command_line) is scrubs
