# SPDX-License-Identifier: MIT
"""A plugin that breaks a host: a program in dom0 keeps a copy of some pages of each victim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.program import start_program
from pytest_xenscrub.scrub.victim import Victim

if TYPE_CHECKING:
    import subprocess

    from pyroaring import BitMap64

COPIED = 3
fill = Victim.fill
programs: list[subprocess.Popen[bytes]] = []


def fill_and_copy(victim: Victim, actions: str = "fill") -> BitMap64:
    """Have it fill its memory, and dom0 copy three of its pages, out of their order."""
    frames = fill(victim, actions)
    program = start_program(victim._guests.dom0.host, "holder")
    programs.append(program)
    assert program.stdin is not None
    assert program.stdout is not None
    some = [str(frames[len(frames) // 2 - at]) for at in range(COPIED)]
    for line in (f"map {victim.guest.domid} {' '.join(some)}", "copy", "release"):
        program.stdin.write(line.encode() + b"\n")
        program.stdin.flush()
        assert program.stdout.readline().strip() == b"ok"
    return frames


def pytest_configure(config: pytest.Config) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(Victim, "fill", fill_and_copy)
    config.add_cleanup(patch.undo)
