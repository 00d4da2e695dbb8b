# SPDX-License-Identifier: MIT
"""Where the run's state is kept: in pytest's own stash, under one key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_xenscrub.session import Session

SESSION: pytest.StashKey[Session] = pytest.StashKey()
