# SPDX-License-Identifier: MIT
"""The front door: pytest's hooks, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytest_xenscrub.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a run; `--help` touches no host."""
    group = parser.getgroup("xenscrub", "memory scrubbing of destroyed guests on a real Xen")
    group.addoption(
        "--xen-host",
        metavar="HOST",
        help="the machine to test on: [user@]host[:port] of a dom0, or 'emulated'",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Our markers, so that --strict-markers knows them."""
    config.addinivalue_line("markers", "quick: the suite for each commit")
    config.addinivalue_line("markers", "slow: the suite for each night")
