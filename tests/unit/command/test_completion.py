# SPDX-License-Identifier: MIT
"""Completion of `xenscrub` in a shell: a real bash is asked."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.command.completion import SHELLS
from pytest_xenscrub.command.main import main

if TYPE_CHECKING:
    from pathlib import Path

ASK = 'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _xenscrub; printf "%s\\n" "${COMPREPLY[@]}"'


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "script"
    path.write_text(capsys.readouterr().out)
    (tmp_path / "results.jsonl").touch()
    (tmp_path / "nights").mkdir()
    return path


def completed(script: Path, words: list[str]) -> list[str]:
    """What a bash offers in place of the last word."""
    asked = f"COMP_WORDS=({shlex.join(words)}); {ASK}"
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source ./{script.name}; complete -p xenscrub; {asked}"],
        cwd=script.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    declared, *offered = done.stdout.split("\n")
    assert declared == "complete -o bashdefault -F _xenscrub xenscrub"
    assert not done.stderr
    return sorted(filter(None, offered))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("re", ["report"]),
        ("report --f", ["--format"]),
        ("report --format ma", ["mail", "markdown"]),
        ("report --format = ma", ["mail", "markdown"]),  # bash's three words of --format=ma
        ("prepare --xen-suite =", ["bookworm", "trixie"]),
        ("report --html = page.html --format = b", ["bmf"]),
        ("report --format = mail res", ["results.jsonl"]),
        ("report --html = res", ["results.jsonl"]),
        ("report --logs = ni", ["nights"]),
        ("report --logs = res", []),
        ("prepare --xen-variant = st", ["stock"]),
        ("prepare --xen-variant = stock --xen-variant = res", ["results.jsonl"]),
        ("bisect -k leak --go", ["--good"]),
        ("completion z", ["zsh"]),
        ("help re", ["report"]),
    ],
)
def test_bash_offers(script: Path, words: str, offered: list[str]) -> None:
    assert completed(script, ["xenscrub", *words.split()]) == offered


def test_bash_offers_all_commands(script: Path) -> None:
    commands = completed(script, ["xenscrub", ""])
    assert {"report", "bisect", "hosts", "prepare", "shell", "clean", "completion"} <= {*commands}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_knows_all_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    written = capsys.readouterr().out
    for name in ("xen-variant", "fail-if", "format", "no-image"):
        assert f"-l {name} " in written if shell == "fish" else f"--{name}" in written


def test_zsh_completes_values_behind_an_equals_sign(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    written = capsys.readouterr().out
    assert '"--format=[' in written
    assert '"*--xen-variant=[' in written
    assert '"--no-image[' in written, "it has no value"
    assert r"METRIC\:STATISTIC\:LIMIT" in written, "zsh would run STATISTIC"
