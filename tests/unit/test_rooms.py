# SPDX-License-Identifier: MIT
"""Imports between the package's rooms run one way: a room knows those before it, never one after.

Imports for type checkers count too: a name that only an annotation needs is still knowledge.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "pytest_xenscrub"
ROOMS = (
    "ground",
    "host",
    "dom0",
    "toolstack",
    "outside",
    "guest",
    "hypervisor",
    "boot",
    "scrub",
    "report",
    "testing",
    "options",
    "run",
    "front door",
    "suite",
    "command",
)
"""From the ground up; `ground` and `front door` are made of the package's own files.

`testing` is for tests, ours and others': nobody in the product imports it.
"""
FILES = {
    "option_places": "options",
    "option_values": "options",
    "options": "options",
    "plugin": "front door",
    "fixtures_guests": "front door",
    "fixtures_host": "front door",
    "hookspec": "front door",
    "__init__": "front door",
}
"""The room of each file of the package that is not of the ground."""


def room_of(module: str) -> str:
    parts = module.split(".")[1:]
    if not parts:
        return "front door"
    return parts[0] if parts[0] in ROOMS else FILES.get(parts[0], "ground")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "pytest_xenscrub":
                yield from (f"pytest_xenscrub.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_imports_run_one_way() -> None:
    upwards = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("pytest_xenscrub", *path.relative_to(PACKAGE).with_suffix("").parts)
        room = room_of(".".join(parts))
        upwards += [
            f"{'.'.join(parts)} ({room}) imports {name} ({room_of(name)})"
            for name in imports(path)
            if name.startswith("pytest_xenscrub") and ROOMS.index(room_of(name)) > ROOMS.index(room)
        ]
    assert not upwards


def test_no_other_room_imports_testing() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.is_relative_to(PACKAGE / "testing"):
            assert not [name for name in imports(path) if room_of(name) == "testing"], path


def test_each_folder_is_a_room() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders <= set(ROOMS)


def test_what_is_sent_to_dom0_imports_nothing_else_of_ours() -> None:
    for path in sorted((PACKAGE / "dom0" / "sent").glob("*.py")):
        ours = [name for name in imports(path) if name.startswith("pytest_xenscrub")]
        assert all(name.startswith("pytest_xenscrub.dom0.sent") for name in ours), path
