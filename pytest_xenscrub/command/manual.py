# SPDX-License-Identifier: MIT
"""What `--help` says of a command besides its arguments: examples, exit statuses, files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE_ERROR: Final = 4
"""Exit status of wrong usage, the same as pytest's."""
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, the same as a shell's."""
NOBODY_READS: Final = 141
"""Exit status where the reader of the output has ended, the same as a shell's of SIGPIPE."""
FAILED: Final = 75
"""Exit status of other failures, the same as of a pytest run that cannot judge Xen."""
_CACHE: Final = """\
files:
  ~/.cache/pytest-xenscrub
      the cache; with XDG_CACHE_HOME set, pytest-xenscrub in that folder
"""


@dataclass(frozen=True)
class Manual:
    """The end of a command's help.

    Attributes:
        examples: commands, and what each is for.
        done: the meaning of exit status 0.
        wrong: the meaning of `USAGE_ERROR`.
        failed: the meaning of `FAILED`; empty if the command cannot end so.
        others: other exit statuses, and their meaning.
        cache: whether the command uses the cache.
        see: pages of the documentation.
    """

    examples: tuple[tuple[str, str], ...]
    done: str
    wrong: str = "wrong usage"
    failed: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    cache: bool = False
    see: tuple[str, ...] = ("docs/reference/command.md",)

    def __str__(self) -> str:
        """The sections, each with a heading."""
        statuses = {
            "0": self.done, **self.others, str(USAGE_ERROR): self.wrong, str(FAILED): self.failed,
            str(INTERRUPTED): "interrupted",
        }  # fmt: skip
        lines = ["examples:"]
        for command, what in self.examples:
            lines += [f"  {command}", f"      {what}"]
        lines += ["", "exit status:"]
        lines += [f"  {status:4} {what}" for status, what in statuses.items() if what]
        lines += ["", _CACHE] if self.cache else [""]
        return "\n".join([*lines, "see also:", *(f"  {page}" for page in self.see)])
