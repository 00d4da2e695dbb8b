# SPDX-License-Identifier: MIT
"""A commit is found in a repository whose commits say of themselves what they are."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.command import judge
from pytest_xenscrub.command.main import main
from pytest_xenscrub.command.manual import FAILED, INTERRUPTED, USAGE_ERROR

if TYPE_CHECKING:
    from pathlib import Path

# In place of pytest: the exit status that the tree's own file says, next of several; and results.
PYTEST = """
import json, sys
from pathlib import Path
options = dict(each.split("=", 1) for each in sys.argv if "=" in each)
limited = "--xen-fail-if" in options
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
       "verdict": "residue" if status == 1 and not limited else "clean", "started": "now",
       "id": "a.py::test_x#0"}
run = {"started": "now", "status": status, "judged": 1, "scenarios": 1, "frames_read": 9,
       "coverage": 1.0, "residue": 0 if limited else int(status == 1), "not_judged": {}}
with open(options["--xen-results"], "a") as file:
    for line in (row, {"id": "r#run", "fit": None, "run": run}):
        file.write(json.dumps(line) + "\\n")
with open(Path(options["--xen-results"]).parent / "arguments", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
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


def find(
    repository: Repository,
    *more: str,
    good: str = "a",
    bad: str = "HEAD",
    own: tuple[str, ...] = (),
) -> int:
    good, bad = (repository.commits.get(name, name) for name in (good, bad))
    arguments = [f"--source={repository.top}", f"--good={good}", f"--bad={bad}", *own]
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
    beside = said[said.index("x (xl, stock, 1024 MiB)") :].splitlines()
    assert beside[1].split() == ["verdict", "clean", "RESIDUE"]
    assert beside[2].split()[:5] == ["destroy,", "s", "1.00", "2.00", "2.00"]
    for name in "de":
        assert f" {repository.commits[name][:12]} " in f"{said} "
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


def test_figures_are_held_against_the_good_commit(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no limit itself; repeats are enough to tell noise; -k is pytest's."""
    repository = Repository(tmp_path / "xen", ["a 0", "b 0", "c 1", "d 1"])
    own = ("-k", "leaves", "--fail-if=destroy:median:30%")
    assert find(repository, own=own) == 0
    said = capsys.readouterr().out
    assert "Commit c" in said
    (ends,) = cache.glob("*/arguments")
    first, *others = ends.read_text().splitlines()
    assert "-k leaves --xen-repeat=6 --xen-variant=stock" in first
    reference = next(cache.glob(f"*/{repository.commits['a'][:12]}.jsonl"))
    for line in others:
        assert f"--xen-fail-if=destroy:median:30% --xen-compare={reference}" in line
    assert f"--xen-compare={reference}" in said, "the command that shows it"
    assert len(others) == 2 + 2 + 1, "what is bad runs twice"


def test_a_limit_that_cannot_be_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = Repository(tmp_path / "xen", ["a 0", "b 1"])
    assert find(repository, own=("--fail-if=destroy:median",)) == USAGE_ERROR
    assert "write it as METRIC:STATISTIC:LIMIT%" in capsys.readouterr().err


def test_what_noise_left_without_a_figure_runs_again(tmp_path: Path, cache: Path) -> None:
    """A commit that was judged, and not compared: a starved host's figures are not."""
    repository = Repository(tmp_path / "xen", ["a 0", "b 125 0", "c 1"])
    assert find(repository, own=("--fail-if=destroy:median:30%",)) == 0
    assert ran(cache).count("b") == 2


def test_what_could_not_be_judged_is_tried_again_by_the_next_search(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(tmp_path / "xen", ["a 0", "b 125 0", "c 1"])
    assert find(repository) == FAILED
    assert "the same command tries them again" in capsys.readouterr().err
    assert find(repository) == 0
    assert "Commit c" in capsys.readouterr().out
    assert ran(cache).count("a") == 1


def test_a_fault_that_was_mended_is_not_searched_for_without_an_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(tmp_path / "xen", ["a 1", "b 1", "c 0", "d 0"])
    assert find(repository, good="d", bad="b") == USAGE_ERROR
    error = capsys.readouterr().err
    assert "git bisect failed" in error
    assert "name as --good an ancestor of --bad" in error


def test_the_cache_may_be_cleaned_in_the_middle(tmp_path: Path, cache: Path) -> None:
    """The repository still has a record of the tree then, or the tree is of no repository."""
    repository = Repository(tmp_path / "xen", ["a 0", "b 130 0", "c 1"])
    assert find(repository) == INTERRUPTED
    assert main(["clean", "bisect"]) == 0
    assert find(repository) == INTERRUPTED
    (kept,) = cache.glob("*/tree")
    (kept / ".git").write_text("gitdir: /nowhere\n")
    repository.git("worktree", "prune")
    assert find(repository) == 0


def test_control_c_waits_for_pytest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It still has a host to end; what is killed leaves its QEMU behind."""
    waited: list[str] = []

    class Pytest:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def wait(self) -> int:
            waited.append("wait")
            if len(waited) == 1:
                raise KeyboardInterrupt
            return 130

    monkeypatch.setattr(subprocess, "Popen", Pytest)
    with pytest.raises(KeyboardInterrupt):
        judge.Judge(tmp_path, ())._run("c0ffee")
    assert waited == ["wait", "wait"]
