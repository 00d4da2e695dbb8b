# SPDX-License-Identifier: MIT
"""Rows as tests make them."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.report.table import Chosen
from pytest_xenscrub.scrub.row import Row, Setting

if TYPE_CHECKING:
    from collections.abc import Callable

# An extra of the package: where it was not asked for, its tests cannot even be imported.
collect_ignore = [] if importlib.util.find_spec("matplotlib") else ["test_plots.py"]

EVERY = Chosen(every=True)
SETTING = Setting(
    "tests/test_x.py::test_destroyed_guest", "emulated", "emulated (TCG)", "xl", "stock",
    "4.17.5", debug=False, build_id="c0ffee",
)  # fmt: skip


def make_row(destroy: float | None = 1.0, **changed: Any) -> Row:
    names = {field.name for field in dataclasses.fields(Setting)}
    setting = {key: changed.pop(key) for key in list(changed) if key in names}
    row = Row(
        dataclasses.replace(SETTING, **setting), 0, "destroy", 1 << 30, 2, destroy=destroy,
        verdict="clean",
    )  # fmt: skip
    return dataclasses.replace(row, **changed)


@pytest.fixture
def a_row() -> Callable[..., Row]:
    """Makes a row: its destroy in s, and any field of it or of its setting."""
    return make_row
