# SPDX-License-Identifier: MIT
"""Releases that are older than this machine's compiler and Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import MissingToolError
from pytest_xenscrub.hypervisor.build import Builder
from pytest_xenscrub.hypervisor.old_release import (
    NEWER_WARNINGS,
    compiler_for,
    python_for,
)
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.variant import STOCK

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.cache import Cache

KNOWN = "  -Warray-bounds   Warn.\n  -Warray-bounds=<0,2>  Warn.\n"


@pytest.fixture(autouse=True)
def gcc(tools: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that knows one of the warnings."""
    monkeypatch.delenv("PYTHON", raising=False)
    program(tools / "gcc", f"cat <<'END'\n{KNOWN}END")
    return tools


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def as_release(tree: Path, minor: str) -> Path:
    makefile = tree / "xen/Makefile"
    makefile.write_text(makefile.read_text().replace("= 17", f"= {minor}"))
    return tree


def as_python_2(tree: Path) -> Path:
    script = tree / "xen/tools/compat-build-source.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text("for line in sys.stdin.readlines():\n    print line.rstrip()\n")
    return tree


def test_old_release_gets_the_warnings_that_this_compiler_knows(deadline: Deadline) -> None:
    assert compiler_for((4, 10), deadline) == ["CC=gcc -Wno-error=array-bounds"]
    assert compiler_for((4, 16), deadline) == ["CC=gcc -Wno-error=array-bounds"]


def test_each_warning_is_named_and_none_is_hidden(gcc: Path, deadline: Deadline) -> None:
    program(gcc / "gcc", "".join(f"echo '  -W{name}  Warn.'\n" for name in NEWER_WARNINGS))
    (given,) = compiler_for((4, 10), deadline)
    assert given.removeprefix("CC=gcc ").split() == [
        f"-Wno-error={name}" for name in NEWER_WARNINGS
    ]


def test_newer_release_is_as_strict_as_its_authors_made_it(deadline: Deadline) -> None:
    assert compiler_for((4, 17), deadline) == []


def test_compiler_that_knows_none_of_them_gets_none(gcc: Path, deadline: Deadline) -> None:
    program(gcc / "gcc", "echo '  -Wunused   Warn.'")
    assert compiler_for((4, 10), deadline) == []


@pytest.mark.parametrize(("minor", "given"), [("14", True), ("17", False)])
def test_each_make_of_an_old_release_has_them(
    tree: Path, cache: Cache, deadline: Deadline, minor: str, *, given: bool
) -> None:
    source = resolve_source(str(as_release(tree, minor)), cache=cache, deadline=deadline)
    log = Builder(source, cache=cache).build(STOCK, deadline=deadline).log.read_text()
    runs = [line for line in log.splitlines() if line.startswith("$ make")]
    assert len(runs) == 3
    assert all(("CC=gcc -Wno-error=array-bounds" in line) is given for line in runs)


def test_scripts_get_the_python_that_they_are_written_for(
    tree: Path, gcc: Path, deadline: Deadline
) -> None:
    assert python_for(tree, deadline) == {"PYTHON": "python3"}
    program(gcc / "python2", "exit 127")
    program(gcc / "python2.7", "exit 0")
    assert python_for(as_python_2(tree), deadline) == {"PYTHON": "python2.7"}


def test_python_that_the_user_gives_is_used(
    tree: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON", "/opt/python2")
    assert python_for(as_python_2(tree), deadline) == {}


def test_no_python_2_is_told_before_a_script_fails(
    tree: Path, gcc: Path, cache: Cache, deadline: Deadline
) -> None:
    program(gcc / "python2", "exit 127")
    program(gcc / "python2.7", "exit 127")
    source = resolve_source(str(as_python_2(tree)), cache=cache, deadline=deadline)
    with pytest.raises(MissingToolError, match="for Python 2") as raised:
        Builder(source, cache=cache).build(STOCK, deadline=deadline)
    assert "PYTHON=PATH" in raised.value.todo
