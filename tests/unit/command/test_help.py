# SPDX-License-Identifier: MIT
"""What `xenscrub help` says: examples that are right, exit statuses, pages that exist."""

from __future__ import annotations

import importlib
import pydoc
import shlex
from pathlib import Path

import pytest

import pytest_xenscrub
from pytest_xenscrub.command.main import main, parser
from pytest_xenscrub.command.manual import USAGE_ERROR

TOP = Path(pytest_xenscrub.__file__).parent.parent
COMMANDS = tuple(parser().parse_args(["help"]).commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_that_of_the_option_and_has_all_sections(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["help", name]) == 0
    told = capsys.readouterr().out
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out == told
    for heading in (f"usage: xenscrub {name}", "examples:", "exit status:\n  0 ", "see also:"):
        assert heading in told
    assert f"\n  {USAGE_ERROR} " in told


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_right_and_pages_exist(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fix.patch").write_text("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    (tmp_path / "xen").mkdir()
    (tmp_path / "lab.toml").write_text('[hosts.lab7]\nuser = "root"\n')
    manual = importlib.import_module(f"pytest_xenscrub.command.{name}").MANUAL
    for example, _ in manual.examples:
        program, *words = shlex.split(example.partition(" > ")[0])
        assert program == "xenscrub"
        assert words[0] == name
        parser().parse_args(words)
    for page in manual.see:
        assert (TOP / page).is_file()


def test_help_without_a_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n    {name}" in told for name in COMMANDS)


def test_a_command_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "sofa"]) == USAGE_ERROR
    assert "there is no command 'sofa'\n  next: name one of: report, " in capsys.readouterr().err


def test_a_terminal_gets_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    paged: list[str] = []
    monkeypatch.setattr(pydoc, "pager", paged.append)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["help", "report"]) == 0
    assert "usage: xenscrub report" in paged[0]
