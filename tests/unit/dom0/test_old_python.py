# SPDX-License-Identifier: MIT
"""What is sent to dom0 runs there under Python 3.6: XCP-ng 8.3 and SLES 15 have no other."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.program import BOOTSTRAP

if TYPE_CHECKING:
    from pathlib import Path

SENT = {
    item.name: item.read_text()
    for item in files("pytest_xenscrub.dom0.sent").iterdir()
    if item.name.endswith(".py")
} | {
    "BOOTSTRAP": BOOTSTRAP.format(parts=[], module="agent", size=1),
}


@pytest.mark.parametrize("name", SENT)
def test_python_3_6_can_read_it(name: str) -> None:
    tree = ast.parse(SENT[name], feature_version=(3, 6))
    futures = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in [node.module for node in futures]


@pytest.mark.parametrize("name", SENT)
def test_python_3_6_has_what_it_uses(name: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SENT[name])
    command = [
        sys.executable, "-c", "import vermin; vermin.main()", "--target=3.6-", "--violations",
        "--eval-annotations", "--no-tips", str(program),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
