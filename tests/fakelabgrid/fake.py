# SPDX-License-Identifier: MIT
"""A lab whose places are in a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT = Path(__file__).parent / "client"
Resources = dict[str, dict[str, Any]]


class Lab(Protocol):
    """A lab that tests fill with places.

    Attributes:
        program: its labgrid-client.
        coordinator: what LG_COORDINATOR is for it.
    """

    program: str
    coordinator: str

    def add(self, name: str, tags: Mapping[str, str], resources: Resources) -> None:
        """Have a place more."""


class FakeLab:
    """A lab of which nothing is real.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.program = str(shutil.copy(CLIENT, folder / "labgrid-client"))
        self._state = folder / "state.json"
        self.coordinator = str(self._state)
        self._state.write_text(json.dumps({"places": {}, "turns": {}, "log": []}))

    @property
    def state(self) -> dict[str, Any]:
        """All of it: places, turns, log."""
        told: dict[str, Any] = json.loads(self._state.read_text())
        return told

    def add(self, name: str, tags: Mapping[str, str], resources: Resources) -> None:
        """Have a place more."""
        state = self.state
        place = {"tags": dict(tags), "resources": resources, "acquired": ""}
        state["places"][name] = place
        self._state.write_text(json.dumps(state))


def call(lab: Lab, user: str, *words: str) -> str:
    """What a lab's client says to a user of another name."""
    named = {"LG_COORDINATOR": lab.coordinator, "LG_HOSTNAME": "vm", "LG_USERNAME": user}
    return subprocess.run(
        [lab.program, *words], env=os.environ | named, check=True, capture_output=True, text=True
    ).stdout


def holder(lab: Lab, place: str) -> str:
    """Who has a place; empty if nobody has."""
    said = call(lab, "anybody", "-p", place, "show")
    (line,) = (line for line in said.splitlines() if line.startswith("  acquired: "))
    return line.removeprefix("  acquired: ").replace("None", "")
