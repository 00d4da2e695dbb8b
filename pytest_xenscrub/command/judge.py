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
from pytest_xenscrub.report.results import read_runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_GATE: Final = "--xen-fail-if"
_REPEAT: Final = "--xen-repeat"
_REPEATS: Final = 6
"""The first one after a boot is left out; of five on either side ranks can tell noise."""
_MOST_RUNS: Final = 3
_LAST_LINES: Final = 15
_INTERRUPTED: Final = 130
"""The status of `--xen-exit=bisect` after Ctrl-C, as `git bisect run` has it."""
_WRONG_USAGE: Final = 4
"""pytest's."""


class Word(StrEnum):
    """The answers for git bisect."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


_WORDS: Final = {0: Word.GOOD, 1: Word.BAD, 125: Word.SKIP}
"""Answers by the exit status of `--xen-exit=bisect`."""


class Judge:
    """Builds and runs commits, each once.

    With limits (`--xen-fail-if`), noise can make a commit seem bad, or leave nothing to compare.
    Such a commit runs up to three times, and two runs must be bad. Residue in a single run is
    enough.

    Args:
        folder: keeps the tree, the logs, the results and the answers.
        arguments: pytest's arguments.
        limits: limits of `--xen-fail-if` on how much worse than `reference` a figure may be.

    Attributes:
        folder: as above.
        tree: where a commit is checked out.
        reference: results that `limits` are held against; None until there are some.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], limits: Sequence[str] = ()) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.reference: Path | None = None
        repeats = bool(limits) and not any(each.startswith(_REPEAT) for each in arguments)
        self._arguments = [*arguments, *([f"{_REPEAT}={_REPEATS}"] if repeats else [])]
        self._limits = tuple(limits)
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
            self._known[commit] = self._look(commit)
            self._keep()
        print(f"{commit[:12]}: {self._known[commit]}", flush=True)
        return Word(self._known[commit])

    def forget_skipped(self) -> None:
        """Forget the commits that could not be judged, so that the next search tries them again."""
        self._known = {key: word for key, word in self._known.items() if word != Word.SKIP}
        self._keep()

    def _keep(self) -> None:
        new = self._kept.with_suffix(".new")
        new.write_text(json.dumps(self._known), encoding="utf-8")
        new.rename(self._kept)

    def _look(self, commit: str) -> Word:
        """Run a commit until its figures can be told from the noise of the machine."""
        words: list[Word] = []
        while True:
            words.append(self._run(commit))
            if not self._noisy(commit):
                return words[-1]
            bad = words.count(Word.BAD)
            if bad > 1:
                return Word.BAD
            if Word.GOOD in words and not bad:
                return Word.GOOD
            if len(words) == _MOST_RUNS:
                return Word.GOOD if Word.GOOD in words else Word.SKIP

    def _noisy(self, commit: str) -> bool:
        """Whether noise may have decided the last run: figures are limited, and it was judged."""
        if not any(each.startswith(_GATE) for each in self._command("")):
            return False
        runs = read_runs(self.results(commit)) if self.results(commit).exists() else []
        known = runs[-1].known if runs else None
        return known is not None and bool(known.get("judged")) and not known.get("residue")

    def _run(self, commit: str) -> Word:
        with self.log(commit).open("ab") as log:
            process = subprocess.Popen(
                self._command(str(self.tree), self.results(commit)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                status = process.wait()
            except KeyboardInterrupt:
                # A terminal's Ctrl-C is pytest's as well: it still has a host to end.
                process.wait()
                raise
        if status in _WORDS:
            return _WORDS[status]
        if status == _INTERRUPTED:
            raise KeyboardInterrupt
        last = self.log(commit).read_text(errors="replace").splitlines()[-_LAST_LINES:]
        kind = ConfigurationError if status == _WRONG_USAGE else InfrastructureError
        raise kind(
            f"pytest ended with exit status {status} on {commit[:12]}",
            tried=self.command(commit),
            evidence={"pytest": "\n".join(last)},
        )

    def _command(self, source: str, results: Path | None = None) -> list[str]:
        gate = [f"{_GATE}={limit}" for limit in self._limits] if self.reference else []
        gate += [f"--xen-compare={self.reference}"] if gate else []
        written = [] if results is None else [f"--xen-results={results}", "--xen-exit=bisect"]
        return [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *self._arguments, *gate,
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
