# SPDX-License-Identifier: MIT
"""A login of each kind; its shell runs here."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot.login import check_login
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.protocol import CommandResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Login:
    """Runs commands here as sshd does: as one line, by a login shell.

    Args:
        folder: for its programs.
        start: what its shell's start files do.
    """

    name = "lab7"

    def __init__(self, folder: Path, start: str = "") -> None:
        self.bin = folder
        self.start = start
        self.tool("id", "case $1 in -u) echo 0;; *) echo root;; esac")

    def tool(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, argv: Sequence[str], *, deadline: Deadline, check: bool = True) -> CommandResult:
        line = f"{self.start}\n{shlex.join(argv)}"
        done = subprocess.run(
            ["/bin/sh", "-c", line], capture_output=True, text=True, check=check,
            timeout=deadline.remaining,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "SHELL": "/bin/bash"},
        )  # fmt: skip
        return CommandResult(tuple(argv), done.returncode, done.stdout, done.stderr)


def refusal(login: Login) -> str:
    with pytest.raises(InfrastructureError) as caught:
        check_login(login, Deadline.after(10, "login"))  # type: ignore[arg-type]
    return str(caught.value)


def test_root_with_a_plain_shell_is_what_is_wanted(tmp_path: Path) -> None:
    check_login(Login(tmp_path), Deadline.after(10, "login"))  # type: ignore[arg-type]


def test_a_shell_that_prints_is_named_with_what_it_printed(tmp_path: Path) -> None:
    said = refusal(Login(tmp_path, start="echo Welcome to lab7"))
    assert "/bin/bash, prints lines" in said
    assert "Welcome to lab7" in said
    assert ".bashrc" in said


def test_a_shell_that_does_not_understand_is_told(tmp_path: Path) -> None:
    said = refusal(Login(tmp_path, start="echo 'Unmatched quote.' >&2; exit 1"))
    assert "chsh" in said
    assert "Unmatched quote." in said


def test_another_user_than_root_is_told_to_log_in_as_root(tmp_path: Path) -> None:
    login = Login(tmp_path)
    login.tool("id", "case $1 in -u) echo 1000;; *) echo ci;; esac")
    assert "log in as root" in refusal(login)


@pytest.mark.parametrize(
    ("script", "said"), [("exit 127", "has no python3"), ("echo 3 5", "Python 3.5, which is too")]
)
def test_a_python_that_will_not_do_is_named(script: str, said: str, tmp_path: Path) -> None:
    login = Login(tmp_path)
    login.tool("python3", script)
    assert said in refusal(login)
