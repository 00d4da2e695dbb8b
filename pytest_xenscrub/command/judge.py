# SPDX-License-Identifier: MIT
"""Judges a commit of a Xen tree by a run of pytest, and stores the result."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    from pathlib import Path

_NOISY: Final = "--xen-fail-if"
_LAST_LINES: Final = 15


class Word(StrEnum):
    """The answers for git bisect."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


_WORDS: Final = {0: Word.GOOD, 1: Word.BAD, 125: Word.SKIP}
"""Answers by the exit status of `--xen-exit=bisect`."""


class Judge:
    """Builds and runs commits, each once.

    With limits (`--xen-fail-if`), noise can make a commit seem bad, so two runs of three must be
    bad. Residue in a single run is enough.

    Args:
        folder: keeps the tree, the logs, the results and the answers.
        arguments: pytest's arguments.

    Attributes:
        folder: as above.
        tree: where a commit is checked out.
    """

    def __init__(self, folder: Path, arguments: tuple[str, ...]) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self._arguments = arguments
        self._kept = folder / "judged.json"
        self._known: dict[str, str] = {}
        if self._kept.exists():
            self._known = json.loads(self._kept.read_text(encoding="utf-8"))

    def word(self, commit: str) -> Word:
        """The answer for the commit that is checked out; stored as soon as it is known.

        Raises:
            KeyboardInterrupt: the run was interrupted.
            ConfigurationError: pytest does not know an argument.
            InfrastructureError: pytest failed.
        """
        if commit not in self._known:
            print(f"{commit[:12]}: building and running it", flush=True)
            word = self._run(commit)
            if word is Word.BAD and any(each.startswith(_NOISY) for each in self._arguments):
                word = self._again(commit)
            self._known[commit] = word
            new = self._kept.with_suffix(".new")
            new.write_text(json.dumps(self._known), encoding="utf-8")
            new.rename(self._kept)
        print(f"{commit[:12]}: {self._known[commit]}", flush=True)
        return Word(self._known[commit])

    def _again(self, commit: str) -> Word:
        """Run a commit again that was bad once; it is bad if one of two further runs is."""
        words = []
        for _ in range(2):
            words.append(self._run(commit))
            if words[-1] is Word.BAD:
                return Word.BAD
        return Word.GOOD if Word.GOOD in words else Word.SKIP

    def _run(self, commit: str) -> Word:
        with self.log(commit).open("ab") as log:
            status = subprocess.call(
                self._command(str(self.tree), self.results(commit)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        if status in _WORDS:
            return _WORDS[status]
        if status == 130:  # noqa: PLR2004 - of Ctrl-C, as git bisect has it
            raise KeyboardInterrupt
        last = self.log(commit).read_text(errors="replace").splitlines()[-_LAST_LINES:]
        kind = ConfigurationError if status == 4 else InfrastructureError  # noqa: PLR2004 - pytest's
        raise kind(
            f"pytest ended with exit status {status} on {commit[:12]}",
            tried=self.command(commit),
            evidence={"pytest": "\n".join(last)},
        )

    def _command(self, source: str, results: Path | None = None) -> list[str]:
        written = [] if results is None else [f"--xen-results={results}", "--xen-exit=bisect"]
        return [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *self._arguments,
            "--xen-variant=stock", f"--xen-source={source}", *written,
        ]  # fmt: skip

    def command(self, source: str) -> str:
        """The command that judges a commit, for the user to run."""
        return shlex.join(["pytest", *self._command(source)[5:]])

    def log(self, commit: str) -> Path:
        """The file of pytest's output for a commit."""
        return self.folder / f"{commit[:12]}.log"

    def results(self, commit: str) -> Path:
        """The file of a commit's results."""
        return self.folder / f"{commit[:12]}.jsonl"

    def done(self, repository: Path) -> None:
        """Remove the tree from git; the answers stay."""
        subprocess.run(
            ["git", "-C", repository, "worktree", "remove", "--force", self.tree],
            capture_output=True, check=False,
        )  # fmt: skip
