# SPDX-License-Identifier: MIT
"""What a commit of a Xen tree is: pytest says it, and it is kept."""

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
    """What git bisect is told."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


_WORDS: Final = {0: Word.GOOD, 1: Word.BAD, 125: Word.SKIP}
"""By the exit status of `--xen-exit=bisect`."""


class Judge:
    """Builds and runs commits, each once.

    Where figures are limited (`--xen-fail-if`) a machine's noise can call a commit bad: there two
    runs of three must say so. Residue needs no second look.

    Args:
        folder: where the tree, the logs, the results and what was judged are kept.
        arguments: pytest's.

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
        """What the commit that is checked out is; kept as soon as it is known.

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
        """One run was bad: it is if one of the next two is."""
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
        """The command that judges a commit, as its user types it."""
        return shlex.join(["pytest", *self._command(source)[5:]])

    def log(self, commit: str) -> Path:
        """What pytest printed."""
        return self.folder / f"{commit[:12]}.log"

    def results(self, commit: str) -> Path:
        """Its results."""
        return self.folder / f"{commit[:12]}.jsonl"

    def done(self, repository: Path) -> None:
        """Give the tree back to git; what was judged stays."""
        subprocess.run(
            ["git", "-C", repository, "worktree", "remove", "--force", self.tree],
            capture_output=True, check=False,
        )  # fmt: skip
