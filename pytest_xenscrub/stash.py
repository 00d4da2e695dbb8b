# SPDX-License-Identifier: MIT
"""What pytest's own objects hold of ours: the run's state, and which tests are for a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_xenscrub.session import Session

SESSION: pytest.StashKey[Session] = pytest.StashKey()


def uses_host(item: pytest.Item) -> bool:
    """Whether a test has to do with a host."""
    return "xen_host" in getattr(item, "fixturenames", ())


def parameter(item: pytest.Item, name: str) -> str | None:
    """A test's parameter, or None if it has no such."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(name)
