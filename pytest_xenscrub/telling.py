# SPDX-License-Identifier: MIT
"""Types of functions that tell the user what goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Say: TypeAlias = Callable[[str], None]
"""Prints a line: something has happened, or takes long."""
Update: TypeAlias = Callable[[str], None]
"""Shows a line in place of the last one: what is being done."""


def quiet(_line: str) -> None:
    """An `Update` that shows nothing."""
