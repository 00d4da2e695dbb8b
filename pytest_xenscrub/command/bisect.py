# SPDX-License-Identifier: MIT
"""Find the commit of a Xen tree that leaks, or is slower: git bisect, each commit built and run.

It works in a tree of its own, and your checkout stays as it is. Interrupted, the same command goes
on where it was: what was judged is kept. What follows `--` is pytest's: which tests, which host.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.cache_folder import cache_root, writing
from pytest_xenscrub.command.judge import Judge, Word
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor.git import git_or_raise, resolve
from pytest_xenscrub.report.baseline import compare_runs, render_baseline
from pytest_xenscrub.report.export.prose import headline
from pytest_xenscrub.report.results import last_rows, read_runs

if TYPE_CHECKING:
    import argparse

HELP: Final = "find the commit of a Xen tree that leaks, or is slower"
SUITE: Final = (
    "--pyargs", "pytest_xenscrub.suite", "-m", "quick", "--xen-host=emulated",
)  # fmt: skip
_GIT_SECONDS: Final = 300.0
_FOUND: Final = re.compile(r"^([0-9a-f]{40}) is the first bad commit$", re.MULTILINE)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub bisect`."""
    parser.add_argument("--source", type=Path, default=Path(), help="Xen's repository (default: .)")
    parser.add_argument("--good", required=True, help="a commit without the fault")
    parser.add_argument("--bad", required=True, help="a later commit with the fault")
    parser.add_argument(
        "pytest", nargs="*", metavar="-- PYTEST ...",
        help=f"pytest's arguments (default: {' '.join(SUITE)})",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Search for the commit, and report it.

    Raises:
        ConfigurationError: the repository does not have these commits, or they are not good and
            bad.
        InfrastructureError: git, or pytest, failed.
    """
    deadline = Deadline.after(_GIT_SECONDS, "looking at the repository")
    repository = options.source.absolute()
    good, bad = (_commit(repository, name, deadline) for name in (options.good, options.bad))
    arguments = tuple(options.pytest or SUITE)
    known = "\0".join([str(repository), good, bad, *arguments])
    folder = cache_root() / "bisect" / hashlib.sha256(known.encode()).hexdigest()[:16]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    judge = Judge(folder, arguments)
    found = bisect(repository, good, bad, judge)
    _tell(repository, found, judge)


def _commit(repository: Path, name: str, deadline: Deadline) -> str:
    commit = resolve(repository, name, deadline)
    if commit is None:
        raise ConfigurationError(f"{repository} has no commit {name}")
    return commit


def bisect(repository: Path, good: str, bad: str, judge: Judge) -> str:
    """The first bad commit.

    Args:
        repository: the repository.
        good: a good commit.
        bad: a later, bad commit.
        judge: builds and runs a commit.

    Raises:
        ConfigurationError: `good` is not good, or `bad` is not bad.
        InfrastructureError: the commits around it cannot be judged.
    """
    tree = judge.tree
    if not (tree / ".git").exists():
        git_or_raise(
            ["git", "-C", str(repository), "worktree", "add", "--detach", str(tree), bad],
            "no tree of its own could be made", Deadline.after(_GIT_SECONDS, "git worktree"),
        )  # fmt: skip
    try:
        for commit, word in ((good, Word.GOOD), (bad, Word.BAD)):
            _git(tree, "checkout", "-q", "--detach", commit)
            if (judged := judge.word(commit)) is not word:
                raise ConfigurationError(
                    f"{commit[:12]} was given as {word}, but was judged to be {judged}",
                    tried=judge.command(commit),
                    todo=f"look at {judge.log(commit)}, or name another commit",
                )
        said = _git(tree, "bisect", "start", bad, good)
        while not (found := _FOUND.search(said)):
            commit = _git(tree, "rev-parse", "HEAD").strip()
            if "skip'ped commits left" in said:
                raise InfrastructureError(
                    "none of the remaining commits can be judged",
                    todo=f"look at the logs in {judge.folder}",
                    evidence={"git": said},
                )
            said = _git(tree, "bisect", judge.word(commit).value)
    finally:
        subprocess.run(
            ["git", "-C", tree, "bisect", "reset", "-q"], capture_output=True, check=False
        )
    judge.done(repository)
    return found[1]


def _git(tree: Path, *arguments: str) -> str:
    """Run git; gives its output even if it failed, as `git bisect` does when it cannot go on."""
    done = subprocess.run(
        ["git", "-C", tree, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode and arguments[0] != "bisect":
        raise InfrastructureError(f"git {arguments[0]} failed", evidence={"git": done.stderr})
    return done.stdout + done.stderr


def _tell(repository: Path, found: str, judge: Judge) -> None:
    """Report the commit, its changes, and the command that shows it."""
    show = ["show", "-s", "--format=%h %an, %ad%n    %s", "--date=short", found]
    print(f"\nthe first bad commit is {_git(repository, *show)}")
    before = _git(repository, "rev-parse", f"{found}^").strip()
    runs = read_runs(judge.results(found))
    print("\n".join(headline(runs)))
    if judge.results(before).exists():
        comparison = compare_runs(last_rows(read_runs(judge.results(before))), last_rows(runs))
        print(f"\nbeside the commit before it:\n{render_baseline(comparison)}")
    print(f"\nagain: {judge.command(f'{repository}#{found[:12]}')}")
    print(f"logs and results: {judge.folder}")
    sys.stdout.flush()
