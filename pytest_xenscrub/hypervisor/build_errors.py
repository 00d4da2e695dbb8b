# SPDX-License-Identifier: MIT
"""Finds the lines of a build's output that tell why it failed; a parallel build scatters them."""

from __future__ import annotations

import re

# In the order of how much they tell: a place in a file, what a linker or script misses, make's own.
_TELLING = (
    re.compile(
        r"^\S+?:\d+(?::\d+)?:? (?:fatal |internal compiler )?error\b|: (?:fatal |Fatal )?[Ee]rror: "
        r"|^\S*Kconfig\S*:\d+:|: syntax error|^Error: |^\w*(?:Error|Exception)\b: "
        r"|internal compiler error|parse error|recursive dependency detected"
    ),
    re.compile(
        r"undefined reference|multiple definition|relocation truncated|cannot find -l|\bld: "
        r"(?!warning|NOTE)|: not found$|command not found|No such file or directory|Fatal error|"
        r"No rule to make target|will not fit|overlaps section"
    ),
    re.compile(r"\*\*\* "),
)
_NOISE = re.compile(
    r"\*\*\* (Default configuration|Waiting for)|\(ignored\)|warnings being treated"
)
_MACHINE = re.compile(
    r"No space left on device|Killed signal terminated|virtual memory exhausted|out of memory"
    r"|Cannot allocate memory|Resource temporarily unavailable|Read-only file system"
    r"|Disk quota exceeded",
    re.I,
)
_LINES = 12
"""Number of lines that are shown."""


def telling_lines(output: str) -> str:
    """The lines that tell why a build failed; its last lines if none do.

    Args:
        output: the build's output.
    """
    lines = output.splitlines()
    found: dict[str, None] = {}
    for pattern in _TELLING:
        found |= {_shorter(line): None for line in lines if _tells(pattern, line)}
    if not found:
        return "\n".join(lines[-_LINES:])
    chosen = list(found)
    more = [f"... {len(chosen) - _LINES} more"] if len(chosen) > _LINES else []
    return "\n".join(chosen[:_LINES] + more)


def machine_fault(output: str) -> str:
    """The line that shows a fault of this machine, and not of the source; empty without one."""
    return next((line for line in output.splitlines() if _MACHINE.search(line)), "")


def _tells(pattern: re.Pattern[str], line: str) -> bool:
    return pattern.search(line) is not None and _NOISE.search(line) is None


def _shorter(line: str) -> str:
    return line if len(line) <= 300 else f"{line[:300]} ..."  # noqa: PLR2004 - a line of a terminal
