# SPDX-License-Identifier: MIT
"""Whether the test of each row of docs/blame.md fails where its place does otherwise.

    python tests/unit/spoil_rows.py [PATTERN]

An `except` or `suppress` that catches nothing, one that swallows what it should raise, a deadline
that blames the other one, a skip that does not skip, a limit without an end: each is put into a
copy of this checkout, and the tests of its row are run there. What passes all the same is told.
It takes some seconds for each row, so it is a program, and no test.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from giving_up import TOP, places, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

CATCHES_NOTHING = "UnicodeTranslateError"
BLAMES_XEN = "(lambda d: type(d).for_xen(d.seconds, d.step, lambda: 0.0))"
BLAMES_OTHERS = "(lambda d: type(d).after(d.seconds, d.step))"
ENDLESS = "1e6"
SECONDS = 300.0
"""For a row's tests to end, s."""
NOT_RUN = (4, 5)
"""Exit statuses of a pytest that found no such tests."""


def replaced(code: str, first: ast.expr | ast.stmt, last: ast.expr | ast.stmt, text: str) -> str:
    """A file's text with something else from one node to another."""
    lines = code.encode().splitlines(keepends=True)
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    before = b"".join(lines[: first.lineno - 1]) + lines[first.lineno - 1][: first.col_offset]
    after = lines[last.end_lineno - 1][last.end_col_offset :] + b"".join(lines[last.end_lineno :])
    return (before + text.encode() + after).decode()


def spoiled(code: str, node: ast.expr | ast.ExceptHandler) -> Iterator[tuple[str, str]]:
    """Each way to make a place do otherwise: what that is, and the file's text then."""
    if isinstance(node, ast.ExceptHandler):
        if node.type is not None:
            yield "catches nothing", replaced(code, node.type, node.type, CATCHES_NOTHING)
        if any(isinstance(each, ast.Raise) for part in node.body for each in ast.walk(part)):
            yield "raises nothing", replaced(code, node.body[0], node.body[-1], "pass")
    elif isinstance(node, ast.Call):
        yield from spoiled_call(code, node)
    else:
        yield "has no mark", replaced(code, node, node, "pytest.mark.filterwarnings")


def spoiled_call(code: str, node: ast.Call) -> Iterator[tuple[str, str]]:
    """As `spoiled`, of a call."""
    name, text = ast.unparse(node.func), ast.get_source_segment(code, node)
    if name.endswith("suppress"):
        yield "suppresses nothing", replaced(code, node.args[0], node.args[-1], CATCHES_NOTHING)
    elif name == "Deadline.after":
        yield "blames Xen", replaced(code, node, node, f"{BLAMES_XEN}({text})")
    elif name == "Deadline.for_xen" or name.endswith(".patience"):
        yield "blames others", replaced(code, node, node, f"{BLAMES_OTHERS}({text})")
    elif name == "NotApplicableError":
        yield (
            "is no skip",
            replaced(code, node.func, node.func, "(lambda *a, **k: OverflowError())"),
        )
    elif name.startswith("pytest."):
        yield "does not skip", replaced(code, node.func, node.func, "(lambda *a, **k: None)")
    else:
        limit = next(each.value for each in node.keywords if each.arg == "timeout")
        yield "has no end", replaced(code, limit, limit, ENDLESS)


def passes(checkout: Path, tests: list[str]) -> bool:
    """Whether tests pass in a checkout."""
    command = [
        sys.executable, "-m", "pytest", "-qx", "--timeout=60", "-p", "no:cacheprovider",
        *(f"tests/unit/{test}" for test in tests),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, timeout=SECONDS, check=False
    )
    if done.returncode in NOT_RUN:
        raise RuntimeError(f"{' '.join(tests)} cannot be run:\n{done.stdout.decode()[-2000:]}")
    return done.returncode == 0


def main(pattern: str = "") -> int:
    """Spoil each place that the pattern finds; gives the exit status."""
    named = dict(rows())
    unseen = 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        shutil.copytree(TOP, checkout, symlinks=True, ignore=shutil.ignore_patterns(".git", ".*"))
        for place in places():
            if not re.search(pattern, place.name):
                continue
            code = place.path.read_text()
            copy = checkout / place.path.relative_to(TOP)
            for how, text in (way for node in place.nodes for way in spoiled(code, node)):
                copy.write_text(text)
                seen = not passes(checkout, named[place.name])
                unseen += not seen
                print(f"{'seen  ' if seen else 'UNSEEN'} {place.name}: {how}", flush=True)
            copy.write_text(code)
    print(f"{unseen} were not seen")
    return min(unseen, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
