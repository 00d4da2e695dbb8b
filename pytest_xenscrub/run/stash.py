# SPDX-License-Identifier: MIT
"""What this plugin keeps in pytest's objects: the run, and facts about tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_xenscrub.run.session import Session

SESSION: pytest.StashKey[Session] = pytest.StashKey()


def uses_host(item: pytest.Item) -> bool:
    """Whether a test uses a host."""
    return not {"running_xen", "xen_host"}.isdisjoint(getattr(item, "fixturenames", ()))


def takes_limit(item: pytest.Item) -> bool:
    """Whether pytest-timeout is installed and the user set no limit for this test.

    Asks for the user's limits, because a `timeout` marker of this plugin would win over command
    line, environment and ini file.
    """
    config = item.config
    if not config.pluginmanager.hasplugin("timeout") or item.get_closest_marker("timeout"):
        return False
    given = config.getoption("timeout", None) is not None
    return not (given or os.environ.get("PYTEST_TIMEOUT") or config.getini("timeout"))


def parameter(item: pytest.Item, name: str) -> str | None:
    """A test's parameter, or None if it has no such parameter."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(name)
