# SPDX-License-Identifier: MIT
"""A commit is found in a repository whose commits say of themselves what they are."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.command import judge
from pytest_xenscrub.command.main import FAILED, INTERRUPTED, USAGE_ERROR, main

if TYPE_CHECKING:
    from pathlib import Path

# In place of pytest: the exit status that the tree's own file says, next of several; and results.
PYTEST = """
import json, sys
from pathlib import Path
options = dict(each.split("=", 1) for each in sys.argv if "=" in each)
tree = Path(options["--xen-source"])
log = Path(options["--xen-results"]).parent / "ran"
subject = (tree / "says").read_text().split()
number = log.read_text().split().count(subject[0]) if log.exists() else 0
with log.open("a") as file:
    file.write(subject[0] + "\\n")
statuses = subject[1:]
status = int(statuses[min(number, len(statuses) - 1)])
row = {"test": "a.py::test_x", "host": "emulated", "kind": "emulated (TCG)", "toolstack": "xl",
       "variant": "stock", "xen": "4.17", "debug": False, "build_id": subject[0], "number": 0,
       "how": "destroy", "memory_bytes": 1 << 30, "vcpus": 2, "destroy": 1.0 + status,
       "verdict": "clean", "started": "now", "id": "a.py::test_x#0"}
run = {"started": "now", "status": status, "judged": 1, "scenarios": 1, "frames_read": 9,
       "coverage": 1.0, "residue": status, "not_judged": {}}
with open(options["--xen-results"], "a") as file:
    for line in (row, {"id": "r#run", "fit": None, "run": run}):
        file.write(json.dumps(line) + "\\n")
print("this is pytest")
sys.exit(status)
"""


class Repository:
    """Commits that say their names, and with which statuses runs of them end."""

    def __init__(self, top: Path, history: list[str]) -> None:
        self.top = top
        self.commits: dict[str, str] = {}
        top.mkdir()
        self.git("init", "-q", "-b", "main")
        for line in history:
            (top / "says").write_text(line)
            self.git("add", "-A")
            self.git("commit", "-q", "-m", f"Commit {line.split()[0]}")
            self.commits[line.split()[0]] = self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(
            ["git", "-C", self.top, *identity, *arguments],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a pytest that asks the tree."""
    fake = tmp_path / "fake.py"
    fake.write_text(PYTEST)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    real = judge.Judge._command

    def command(self: judge.Judge, source: str, results: Path | None = None) -> list[str]:
        return [sys.executable, str(fake), *real(self, source, results)[3:]]

    monkeypatch.setattr(judge.Judge, "_command", command)
    return tmp_path / "cache" / "pytest-xenscrub" / "bisect"


def find(repository: Repository, *more: str, good: str = "a", bad: str = "HEAD") -> int:
    good = repository.commits.get(good, good)
    arguments = [f"--source={repository.top}", f"--good={good}", f"--bad={bad}"]
    return main(["bisect", *arguments, *(["--", *more] if more else [])])


def ran(cache: Path) -> list[str]:
    (log,) = cache.glob("*/ran")
    return log.read_text().split()


def test_the_commit_is_found(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = ["a 0", "b 0", "c 0", "d 0", "e 1", "f 1", "g 1", "h 1"]
    repository = Repository(tmp_path / "xen", history)
    assert find(repository) == 0
    said = capsys.readouterr().out
    assert "Commit e" in said
    assert "RESIDUE: judged 1 of 1" in said
    assert "2.00 2.00x" in said, "the tables side by side"
    assert f"--xen-source={repository.top}#{repository.commits['e'][:12]}" in said
    assert len(ran(cache)) <= 5
    assert repository.git("status", "--porcelain") == ""
    assert len(repository.git("worktree", "list").splitlines()) == 1


def test_commits_that_cannot_be_judged_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = ["a 0", "b 0", "c 125", "d 125", "e 0", "f 1", "g 1"]
    assert find(Repository(tmp_path / "xen", history)) == 0
    assert "Commit f" in capsys.readouterr().out


def test_it_cannot_always_be_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find(Repository(tmp_path / "xen", ["a 0", "b 125", "c 125", "d 1"])) == FAILED
    assert "none of the remaining commits can be judged" in capsys.readouterr().err


def test_it_goes_on_where_it_was(tmp_path: Path, cache: Path) -> None:
    history = ["a 0", "b 0", "c 130 0", "d 0", "e 1"]
    repository = Repository(tmp_path / "xen", history)
    assert find(repository) == INTERRUPTED
    before = ran(cache)
    assert find(repository) == 0
    again = ran(cache)[len(before) :]
    assert "a" not in again
    assert "e" not in again


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("b", "HEAD", "was given as good, but was judged to be bad"),
        ("a", "HEAD~1", "was given as bad, but was judged to be good"),
        ("nothing", "HEAD", "has no commit nothing"),
    ],
)
def test_ends_that_are_not_what_they_are_called(
    good: str, bad: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(tmp_path / "xen", ["a 0", "b 1", "c 0", "d 1"])
    assert find(repository, good=good, bad=bad) == USAGE_ERROR
    assert said in capsys.readouterr().err


def test_no_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bisect", f"--source={tmp_path}", "--good=a", "--bad=b"]
    assert main(arguments) == USAGE_ERROR
    assert "not a git repository" in capsys.readouterr().err


def test_wrong_arguments_of_pytest_end_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find(Repository(tmp_path / "xen", ["a 4", "b 1"])) == USAGE_ERROR
    error = capsys.readouterr().err
    assert "pytest ended with exit status 4" in error
    assert "this is pytest" in error


def test_what_is_noisy_is_bad_if_two_of_three_runs_are(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = ["a 0", "b 1 0 0", "c 0", "d 1 0 1", "e 1"]
    repository = Repository(tmp_path / "xen", history)
    assert find(repository, "--xen-fail-if=destroy:median:10%") == 0
    assert "Commit d" in capsys.readouterr().out
    assert ran(cache).count("d") == 3
