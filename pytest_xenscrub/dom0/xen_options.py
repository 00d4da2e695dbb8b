# SPDX-License-Identifier: MIT
"""Reads Xen's boot options as Xen does (`_cmdline_parse` and `parse_bool` in its source)."""

from __future__ import annotations

_NO = {"no", "off", "false", "disable", "0"}
_YES = {"yes", "on", "true", "enable", "1"}
_PREFIX = "no-"


def scrubs_domheap(command_line: str) -> bool:
    """The value of `scrub-domheap`: a boolean option, off by default."""
    result = False
    for negated, value in _given(command_line, "scrub-domheap"):
        said = _boolean(value) if value else True
        if said is not None:
            result = said != negated
    return result


def scrubs_at_boot(command_line: str) -> bool:
    """Whether `bootscrub` makes Xen scrub all memory at boot; its default is "idle"."""
    result = False
    for negated, value in _given(command_line, "bootscrub"):
        # For an option with its own parser, Xen accepts no- only without a value.
        if negated:
            result = result and bool(value)
        elif value in ("", "idle"):
            result = value == ""
        else:
            said = _boolean(value)
            result = result if said is None else said
    return result


def _given(command_line: str, name: str) -> list[tuple[bool, str]]:
    """All occurrences of an option, in order: whether it has `no-`, and its value."""
    found = []
    for word in command_line.split():
        if word == "--":
            break  # the rest is for dom0's kernel
        key, _, value = word.partition("=")
        if key in (name, _PREFIX + name):
            found.append((key != name, value))
    return found


def _boolean(value: str) -> bool | None:
    """Xen's interpretation of a boolean value; None for one that it ignores."""
    return True if value in _YES else False if value in _NO else None
