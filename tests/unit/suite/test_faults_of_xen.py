# SPDX-License-Identifier: MIT
"""A fault is expected of the releases of Xen that have it, and of no other."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest

from pytest_xenscrub.suite import conftest

from .parts import body

MENDED = {19: 5, 20: 3}
UNTIL = 22


def marks(version: str) -> list[Any]:
    """Marks that a test gets which meets a fault on a Xen of this version."""
    request, xen = MagicMock(), MagicMock()
    xen.info.version = version
    body(conftest.xen_has_fault)(request, xen)("pages stay", mended=MENDED, until=UNTIL)
    return [call.args[0].mark for call in request.applymarker.call_args_list]


@pytest.mark.parametrize(
    "version", ["4.10.4", "4.17.5", "4.17", "4.19.4", "4.19-rc", "4.20.2-pre", "4.21.7"]
)
def test_a_fault_is_expected_of_a_xen_that_has_it(version: str) -> None:
    (mark,) = marks(version)
    assert mark.name == "xfail"
    assert mark.kwargs["raises"] is AssertionError
    assert mark.kwargs["reason"] == f"pages stay: a fault of Xen {version}"


@pytest.mark.parametrize("version", ["4.19.5", "4.20.3", "4.22.0", "4.22-unstable", "5.0", "?"])
def test_a_fault_is_not_expected_of_another(version: str) -> None:
    assert not marks(version)
