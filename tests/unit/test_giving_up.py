# SPDX-License-Identifier: MIT
"""Each place that can turn a leak green or a slow disk red has a row in docs/blame.md."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
PACKAGE = TOP / "pytest_xenscrub"
TABLE = TOP / "docs" / "blame.md"
SKIPS = {"pytest.skip", "pytest.xfail", "pytest.importorskip", "NotApplicableError"}
MARKS = {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}
DEADLINES = "Deadline."
PATIENCE = ".patience"


class Place(ast.NodeVisitor):
    """Collects what gives up in one file: (function, what)."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self._names: list[str] = []

    def _add(self, what: str) -> None:
        self.found.append((".".join(self._names) or "module", what))

    def _scope(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()

    visit_FunctionDef = visit_ClassDef = _scope  # noqa: N815 - ast's names

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._add(f"except {ast.unparse(node.type) if node.type else 'BaseException'}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if name.endswith("suppress"):
            self._add(f"suppress {', '.join(map(ast.unparse, node.args))}")
        elif name in SKIPS or name.startswith(DEADLINES):
            self._add(name)
        elif name.endswith(PATIENCE):
            self._add("patience")
        elif any(keyword.arg == "timeout" for keyword in node.keywords):
            self._add(f"timeout of {name.rpartition('.')[2]}")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if ast.unparse(node) in MARKS:
            self._add(ast.unparse(node))
        self.generic_visit(node)


def places() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        visitor = Place()
        visitor.visit(ast.parse(path.read_text()))
        for (function, what), count in sorted(Counter(visitor.found).items()):
            times = f" ({count} times)" if count > 1 else ""
            yield f"{path.relative_to(PACKAGE)} {function}: {what}{times}"


def rows() -> list[str]:
    lines = TABLE.read_text().splitlines()
    return [line.split("|")[1].strip().strip("`") for line in lines if line.startswith("| `")]


def test_each_way_to_give_up_has_a_row() -> None:
    missing = set(places()) - set(rows())
    assert not missing, f"say in {TABLE.name} what each of these meets, and whose fault that is"


def test_no_row_is_of_something_that_is_gone() -> None:
    assert not set(rows()) - set(places())


def test_no_row_stands_twice() -> None:
    assert not [row for row, count in Counter(rows()).items() if count > 1]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("try:\n    x\nexcept OSError:\n    pass", "except OSError"),
        ("with contextlib.suppress(OSError, ValueError):\n    x", "suppress OSError, ValueError"),
        ("pytest.skip('no')", "pytest.skip"),
        ("raise NotApplicableError('no')", "NotApplicableError"),
        ("Deadline.after(3, 'step')", "Deadline.after"),
        ("dom0.patience('destroy', 4096)", "patience"),
        ("child.wait(timeout=3)", "timeout of wait"),
        ("@pytest.mark.xfail(reason='a fault')\ndef test(): pass", "pytest.mark.xfail"),
    ],
)
def test_kinds_that_are_seen(code: str, what: str) -> None:
    visitor = Place()
    visitor.visit(ast.parse(code))
    assert [found for _, found in visitor.found] == [what]


if __name__ == "__main__":
    for place in places():
        print(f"| `{place}` | | | |")
