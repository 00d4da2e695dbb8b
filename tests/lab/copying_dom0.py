# SPDX-License-Identifier: MIT
"""A plugin that breaks a host: a program in dom0 keeps a copy of some pages of each victim."""

from __future__ import annotations

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.dom0.mapping import ForeignMapping
from pytest_xenscrub.scrub.victim import Victim

COPIED = 3
fill = Victim.fill
copies: list[ForeignMapping] = []


def fill_and_copy(victim: Victim, actions: str = "fill") -> BitMap64:
    """Have it fill its memory, and dom0 copy three of its pages."""
    frames = fill(victim, actions)
    mapping = ForeignMapping(victim._guests.dom0.host)
    copies.append(mapping)  # it lives, and its copy with it
    mapping.map(victim.guest.domid, BitMap64(frames[len(frames) // 2 - at] for at in range(COPIED)))
    mapping.copy()
    mapping.release()
    return frames


def pytest_configure(config: pytest.Config) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(Victim, "fill", fill_and_copy)
    config.add_cleanup(patch.undo)
