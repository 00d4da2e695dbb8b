# SPDX-License-Identifier: MIT
"""Every place of the package that gives up, and its row in docs/blame.md."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = Path(__file__).parent
TOP = UNIT.parents[1]
PACKAGE = TOP / "pytest_xenscrub"
TABLE = TOP / "docs" / "blame.md"
SKIPS = {"pytest.skip", "pytest.xfail", "pytest.importorskip", "NotApplicableError"}
MARKS = {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}
DEADLINES = "Deadline."
PATIENCE = ".patience"
COLUMNS = 5


class Visitor(ast.NodeVisitor):
    """Collects what gives up in one file.

    Attributes:
        found: of each: the function, what it is, and where that stands.
    """

    def __init__(self) -> None:
        self.found: list[tuple[str, str, ast.expr | ast.ExceptHandler]] = []
        self._names: list[str] = []

    def _add(self, what: str, node: ast.expr | ast.ExceptHandler) -> None:
        self.found.append((".".join(self._names) or "module", what, node))

    def _scope(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()

    visit_FunctionDef = visit_ClassDef = _scope  # noqa: N815 - ast's names

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._add(f"except {ast.unparse(node.type) if node.type else 'BaseException'}", node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if name.endswith("suppress"):
            self._add(f"suppress {', '.join(map(ast.unparse, node.args))}", node)
        elif name in SKIPS or name.startswith(DEADLINES):
            self._add(name, node)
        elif name.endswith(PATIENCE):
            self._add("patience", node)
        elif any(keyword.arg == "timeout" for keyword in node.keywords):
            self._add(f"timeout of {name.rpartition('.')[2]}", node)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if ast.unparse(node) in MARKS:
            self._add(ast.unparse(node), node)
        self.generic_visit(node)


def found_in(code: str) -> list[tuple[str, str, ast.expr | ast.ExceptHandler]]:
    """What gives up in a file's text."""
    visitor = Visitor()
    visitor.visit(ast.parse(code))
    return visitor.found


@dataclass(frozen=True)
class Place:
    """A place of the package that gives up.

    Attributes:
        path: the file.
        name: as the table has it.
        nodes: each that this stands for: there may be several of one kind in a function.
    """

    path: Path
    name: str
    nodes: tuple[ast.expr | ast.ExceptHandler, ...]


def places() -> Iterator[Place]:
    """All of the package, in the order of its files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        found = found_in(path.read_text())
        kinds = Counter((function, what) for function, what, _ in found)
        for (function, what), count in sorted(kinds.items()):
            times = f" ({count} times)" if count > 1 else ""
            nodes = tuple(node for *kind, node in found if kind == [function, what])
            yield Place(path, f"{path.relative_to(PACKAGE)} {function}: {what}{times}", nodes)


def rows() -> list[tuple[str, list[str]]]:
    """The table's rows: the place of each, and the tests that it names."""
    lines = TABLE.read_text().splitlines()
    cells = [line.strip("| ").split("|") for line in lines if line.startswith("| `")]
    assert all(len(row) == COLUMNS for row in cells), "a row has another number of columns"
    return [
        (place.strip(" `"), [test.strip(" `") for test in tests.split(",") if test.strip()])
        for place, *_, tests in cells
    ]


def unit_tests() -> set[str]:
    """Every unit test, as the table names it."""
    found = set()
    for path in UNIT.rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            of_class = node.body if isinstance(node, ast.ClassDef) else []
            prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
            for each in of_class or [node]:
                if isinstance(each, ast.FunctionDef) and each.name.startswith("test_"):
                    found.add(f"{path.relative_to(UNIT)}::{prefix}{each.name}")
    return found


if __name__ == "__main__":
    for place in places():
        print(f"| `{place.name}` | | | | |")
