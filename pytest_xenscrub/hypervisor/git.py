# SPDX-License-Identifier: MIT
"""git, and its own words where it refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline

_REFUSED = re.compile(r"^(fatal|error): (?!ambiguous argument|Needed a single revision)", re.M)
"""How git begins what it says of a repository; without `-q` also of a revision."""
_GIT_TODO = (
    (r"dubious ownership", "do as git says, if you trust that repository's owner"),
    (r"not a git repository", "give a folder without #REV, or a repository"),
    (r"No space left", "make room on the cache's disk, or set XDG_CACHE_HOME"),
    (r"Permission denied|Authentication failed|could not read Username", "try it by hand: a key"
     " or password may be missing"),
    (r"", "check the address, and try it by hand"),
)  # fmt: skip


def resolve(repository: Path, revision: str, deadline: Deadline) -> str | None:
    """The commit that a revision names, in the branches of the origin too.

    Raises:
        ConfigurationError: it is no repository.
        InfrastructureError: git refuses it; its own words are in the error.
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
    """Whether a revision is a commit's own name, which never moves."""
    return re.fullmatch(r"[0-9a-f]{7,40}", revision) is not None


def git_or_raise(argv: list[str], what: str, deadline: Deadline) -> None:
    """Run git; `what` begins the error where it fails.

    Raises:
        InfrastructureError: it did; its own words are in the error.
    """
    status, output = run(argv, deadline=deadline, env={"GIT_TERMINAL_PROMPT": "0"})
    if status:
        raise _git_error(what, argv, output)


def _git_error(what: str, argv: list[str], output: str) -> ConfigurationError | InfrastructureError:
    """An error in git's own words; it often says itself what to do."""
    todo = next(todo for words, todo in _GIT_TODO if re.search(words, output))
    kind = ConfigurationError if "not a git repository" in output else InfrastructureError
    return kind(
        what, tried=" ".join(argv), evidence={"git": "\n".join(_sentences(output))}, todo=todo
    )


def _sentences(output: str) -> list[str]:
    """What git says, without empty lines: the last few of them."""
    return [line.strip() for line in output.splitlines() if line.strip()][-5:]
