# SPDX-License-Identifier: MIT
"""Xen's boot options, read as Xen reads them (`_cmdline_parse` and `parse_bool` in its source)."""

from __future__ import annotations

_NO = {"no", "off", "false", "disable", "0"}
_YES = {"yes", "on", "true", "enable", "1"}
_PREFIX = "no-"


def scrubs_domheap(command_line: str) -> bool:
    """What `scrub-domheap` comes to: a boolean parameter, off by default."""
    result = False
    for negated, value in _given(command_line, "scrub-domheap"):
        said = _boolean(value) if value else True
        if said is not None:
            result = said != negated
    return result


def scrubs_at_boot(command_line: str) -> bool:
    """Whether `bootscrub` asks for all memory to be scrubbed at boot; idle is the default."""
    result = False
    for negated, value in _given(command_line, "bootscrub"):
        # Of a parameter with a parser of its own, Xen takes no- only without a value.
        if negated:
            result = result and bool(value)
        elif value in ("", "idle"):
            result = value == ""
        else:
            said = _boolean(value)
            result = result if said is None else said
    return result


def _given(command_line: str, name: str) -> list[tuple[bool, str]]:
    """Each time that an option is given, in order: whether after `no-`, and its value."""
    found = []
    for word in command_line.split():
        if word == "--":
            break  # what follows is for dom0's kernel
        key, _, value = word.partition("=")
        if key in (name, _PREFIX + name):
            found.append((key != name, value))
    return found


def _boolean(value: str) -> bool | None:
    """What Xen takes a value for; None for one that it ignores."""
    return True if value in _YES else False if value in _NO else None
