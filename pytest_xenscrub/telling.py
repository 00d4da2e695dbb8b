# SPDX-License-Identifier: MIT
"""How the user is told what goes on: a line that stays, or one that the next takes the place of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Say: TypeAlias = Callable[[str], None]
"""Prints a line that stays: something has happened, or takes long."""
Update: TypeAlias = Callable[[str], None]
"""Shows a line in place of the last one: what is done just now."""


def quiet(_line: str) -> None:
    """An `Update` that shows nothing."""
