# SPDX-License-Identifier: MIT
"""Runs git; errors have git's own messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline

_REFUSED = re.compile(r"^(fatal|error): (?!ambiguous argument|Needed a single revision)", re.M)
"""Beginning of git's messages about a repository; without `-q` git also begins so about a
revision."""
_GIT_TODO = (
    (r"dubious ownership", "do as git says, if you trust that repository's owner"),
    (r"not a git repository", "give a folder without #REV, or a repository"),
    (r"No space left", "make room on the cache's disk, or set XDG_CACHE_HOME"),
    (r"Permission denied|Authentication failed|could not read Username", "try it by hand: a key"
     " or password may be missing"),
    (r"", "check the address, and try it by hand"),
)  # fmt: skip


def resolve(repository: Path, revision: str, deadline: Deadline) -> str | None:
    """The commit of a revision; looks in the origin's branches, too.

    Raises:
        ConfigurationError: the folder is not a repository.
        InfrastructureError: git refuses; the error has git's message.
    """
    for name in (revision, f"origin/{revision}"):
        argv = ["git", "-C", str(repository), "rev-parse", "-q", "--verify", "--end-of-options"]
        argv.append(f"{name}^{{commit}}")
        status, output = run(argv, deadline=deadline)
        if status == 0:
            return output.splitlines()[-1].strip()
        if _REFUSED.search(output):
            raise _git_error("git refuses the repository", argv, output)
    return None


def is_sha(revision: str) -> bool:
    """Whether a revision is a commit's own hash, which never moves."""
    return re.fullmatch(r"[0-9a-f]{7,40}", revision) is not None


def git_or_raise(argv: list[str], what: str, deadline: Deadline) -> None:
    """Run git; the error of a failure begins with `what`.

    Raises:
        InfrastructureError: git failed; the error has git's message.
    """
    status, output = run(argv, deadline=deadline, env={"GIT_TERMINAL_PROMPT": "0"})
    if status:
        raise _git_error(what, argv, output)


def _git_error(what: str, argv: list[str], output: str) -> ConfigurationError | InfrastructureError:
    """An error with git's own message, which often says what to do."""
    todo = next(todo for words, todo in _GIT_TODO if re.search(words, output))
    kind = ConfigurationError if "not a git repository" in output else InfrastructureError
    return kind(
        what, tried=" ".join(argv), evidence={"git": "\n".join(_sentences(output))}, todo=todo
    )


def _sentences(output: str) -> list[str]:
    """The last few non-empty lines of git's output."""
    return [line.strip() for line in output.splitlines() if line.strip()][-5:]
