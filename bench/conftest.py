# SPDX-License-Identifier: MIT
"""A bench judges by figures of its own; a run of benches has not judged nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _measured(record_property: Callable[[str, object], None]) -> None:
    record_property("xen.measured", "bench")
