# SPDX-License-Identifier: MIT
"""Find the commit of a Xen tree that leaks, or is slower: git bisect, each commit built and run.

It works in a tree of its own, and your checkout stays as it is. Interrupted, the same command goes
on where it was: what was judged is kept. What follows `--` is pytest's: which tests, which host.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.cache_folder import cache_root, writing
from pytest_xenscrub.command.judge import Judge, Word
from pytest_xenscrub.command.manual import Manual
from pytest_xenscrub.command.xen_options import typed
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor.git import git_or_raise, resolve
from pytest_xenscrub.report.beside import render_beside
from pytest_xenscrub.report.export.prose import headline
from pytest_xenscrub.report.gate import parse_limit
from pytest_xenscrub.report.results import last_rows, read_runs

if TYPE_CHECKING:
    import argparse

HELP: Final = "find the commit of a Xen tree that leaks, or is slower"
SUITE: Final = (
    "--pyargs", "pytest_xenscrub.suite", "-m", "quick", "--xen-host=emulated",
)  # fmt: skip
_GIT_SECONDS: Final = 300.0
_FOUND: Final = re.compile(r"^([0-9a-f]{40,64}) is the first '?bad'? commit$", re.MULTILINE)
_NONE_LEFT: Final = "skip'ped commits left"
_JUDGED: Final = {
    Word.GOOD: "was judged to be good",
    Word.BAD: "was judged to be bad",
    Word.SKIP: "could not be judged",
}
MANUAL: Final = Manual(
    examples=(
        ("xenscrub bisect --source=xen --good=RELEASE-4.19.0 --bad=HEAD", "which commit leaks"),
        (
            "xenscrub bisect --good=abc123 --bad=def456 -k destroyed --fail-if=destroy:median:30%",
            "which commit makes one test's destroy slower",
        ),
    ),
    done="the commit was found",
    wrong="wrong usage; or --good is not good, or --bad not bad",
    failed="git failed, or the commits that are left cannot be judged",
    cache=True,
    see=("docs/how-to/bisect.md",),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub bisect`."""
    parser.add_argument(
        "--source", type=Path, default=Path(), metavar="FOLDER",
        help="Xen's repository (default: .)",
    )  # fmt: skip
    parser.add_argument("--good", required=True, help="a commit without the fault")
    parser.add_argument("--bad", required=True, help="a later commit with the fault")
    parser.add_argument("-k", metavar="EXPRESSION", help="only tests that match, as pytest has it")
    parser.add_argument(
        "--fail-if", action="append", type=typed(_limit), default=[],
        metavar="METRIC:STATISTIC:LIMIT",
        help="a commit is bad, too, if a figure is so much worse than on the good commit, such as"
        " destroy:median:30%%; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "pytest", nargs="*", metavar="-- PYTEST ...",
        help=f"pytest's arguments (default: {' '.join(SUITE)})",
    )  # fmt: skip


def _limit(text: str) -> str:
    """A limit as it was written, which pytest is given."""
    parse_limit(text)
    return text


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
    arguments = [*(options.pytest or SUITE), *(["-k", options.k] if options.k else [])]
    known = "\0".join([str(repository), good, bad, *arguments, *options.fail_if])
    folder = cache_root() / "bisect" / hashlib.sha256(known.encode()).hexdigest()[:16]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    judge = Judge(folder, arguments, options.fail_if)
    found = bisect(repository, good, bad, judge)
    _tell(repository, found, good, judge)


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
    _make_tree(repository, tree, bad)
    try:
        for commit, word in ((good, Word.GOOD), (bad, Word.BAD)):
            _git(tree, "checkout", "-q", "--force", "--detach", commit)
            if (judged := judge.word(commit)) is not word:
                if judged is Word.SKIP:
                    judge.forget_skipped()
                raise ConfigurationError(
                    f"{commit[:12]} was given as {word}, but {_JUDGED[judged]}",
                    tried=judge.command(commit),
                    todo=f"look at {judge.log(commit)}, or name another commit",
                )
            judge.reference = judge.results(good)
        said = _git(tree, "bisect", "start", bad, good)
        while not (found := _FOUND.search(said)):
            if _NONE_LEFT in said:
                judge.forget_skipped()
                raise InfrastructureError(
                    "none of the remaining commits can be judged",
                    todo=f"look at the logs in {judge.folder}; the same command tries them again",
                    evidence={"git": said},
                )
            said = _git(tree, "bisect", judge.word(_head(tree)).value)
    finally:
        _quietly(tree, "bisect", "reset", "-q")
    judge.done(repository)
    return found[1]


def _make_tree(repository: Path, tree: Path, commit: str) -> None:
    """A tree beside the user's own; one that an interrupted search has left is used again."""
    if (tree / ".git").exists() and _quietly(tree, "rev-parse", "--verify", "HEAD"):
        _quietly(tree, "bisect", "reset", "-q")
        return
    shutil.rmtree(tree, ignore_errors=True)
    # By force: git may still know a tree that `xenscrub clean` has removed.
    argv = ["git", "-C", str(repository), "worktree", "add", "--force", "--detach"]
    git_or_raise(
        [*argv, str(tree), commit],
        "no tree of its own could be made", Deadline.after(_GIT_SECONDS, "git worktree"),
    )  # fmt: skip


def _head(tree: Path) -> str:
    return _git(tree, "rev-parse", "HEAD").strip()


def _quietly(tree: Path, *arguments: str) -> bool:
    """Whether git did it."""
    done = subprocess.run(["git", "-C", tree, *arguments], capture_output=True, check=False)
    return done.returncode == 0


def _git(tree: Path, *arguments: str) -> str:
    """Run git; returns its output, in English, even if `git bisect` cannot go on.

    Raises:
        ConfigurationError: git cannot search between these commits.
        InfrastructureError: git failed.
    """
    done = subprocess.run(
        ["git", "-C", tree, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    # `git bisect` fails where only commits are left that cannot be judged, too.
    if done.returncode and _NONE_LEFT not in said:
        bisects = arguments[0] == "bisect"
        kind = ConfigurationError if bisects else InfrastructureError
        raise kind(
            f"git {arguments[0]} failed",
            todo="name as --good an ancestor of --bad" if bisects else "",
            evidence={"git": said},
        )
    return said


def _tell(repository: Path, found: str, good: str, judge: Judge) -> None:
    """Report the commit, its changes, figures of both sides, and the command that shows it.

    The parent of a merge may never have run; then the good commit is compared.
    """
    show = ["show", "-s", "--format=%h %an, %ad%n    %s", "--date=short", found]
    print(f"\nthe first bad commit is {_git(repository, *show)}")
    parent = _git(repository, "rev-parse", f"{found}^").strip()
    before = parent if judge.results(parent).exists() else good
    runs = read_runs(judge.results(found)) if judge.results(found).exists() else []
    print("\n".join(headline(runs) if runs else ["no results: see the log"]))
    earlier = read_runs(judge.results(before)) if judge.results(before).exists() else []
    table = render_beside(
        last_rows(earlier), last_rows(runs), then_name=before[:12], now_name=found[:12]
    )
    if table:
        print(f"\n{table}")
    print(f"\nagain: {judge.command(f'{repository}#{found[:12]}')}")
    print(f"logs and results: {judge.folder}")
    sys.stdout.flush()
