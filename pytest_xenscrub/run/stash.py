# SPDX-License-Identifier: MIT
"""What pytest's own objects hold of ours: the run's state, and which tests are for a host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_xenscrub.run.session import Session

SESSION: pytest.StashKey[Session] = pytest.StashKey()


def uses_host(item: pytest.Item) -> bool:
    """Whether a test has to do with a host."""
    return not {"running_xen", "xen_host"}.isdisjoint(getattr(item, "fixturenames", ()))


def takes_limit(item: pytest.Item) -> bool:
    """Whether pytest-timeout is there and has no limit of the user's for this test.

    It prefers a marker to command line, environment and ini file: one of ours must give way itself.
    """
    config = item.config
    if not config.pluginmanager.hasplugin("timeout") or item.get_closest_marker("timeout"):
        return False
    given = config.getoption("timeout", None) is not None
    return not (given or os.environ.get("PYTEST_TIMEOUT") or config.getini("timeout"))


def parameter(item: pytest.Item, name: str) -> str | None:
    """A test's parameter, or None if it has no such."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(name)
