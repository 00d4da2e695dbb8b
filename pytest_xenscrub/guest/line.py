# SPDX-License-Identifier: MIT
"""One line of the guest's console protocol: its checksum, its number, its verb and its keys."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE = re.compile(r"(\d+) ([a-z-]+)((?: [a-z-]+=(?:\"[^\"]*\"|[^ \"]*))*)")
_PAIR = re.compile(r" ([a-z-]+)=(?:\"([^\"]*)\"|([^ ]*))")


class Values(dict[str, str]):
    """The keys of one line; a getter raises ValueError for a missing or malformed value."""

    def text(self, key: str) -> str:
        """The value as text."""
        try:
            return self[key]
        except KeyError:
            raise ValueError(f"no {key}=") from None

    def dec(self, key: str) -> int:
        """A decimal number, at least 0."""
        text = self.text(key)
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{key}={text} is not a number")
        return int(text)

    def hex(self, key: str) -> int:
        """A hex number."""
        text = self.text(key)
        if not re.fullmatch("[0-9a-f]+", text):
            raise ValueError(f"{key}={text} is not a hex number")
        return int(text, 16)

    def unless_gone(self, key: str, read: Callable[[str], int]) -> int | None:
        """A number, or None if the guest could not read it any more."""
        return None if self.text(key) == "-" else read(key)


class Line(NamedTuple):
    """A complete line."""

    seq: int
    verb: str
    rest: str

    def values(self) -> Values:
        """The line's keys and values.

        Raises:
            ValueError: a key occurs twice.
        """
        pairs = [(key, quoted or bare) for key, quoted, bare in _PAIR.findall(self.rest)]
        values = Values(pairs)
        if len(values) != len(pairs):
            raise ValueError("a key stands there twice")
        return values


def parse_line(raw: bytes) -> Line:
    """Parse a line, from its ``$`` to the end of its checksum.

    Raises:
        ValueError: the line is mangled.
    """
    body, star, crc = raw[1:].rpartition(b"*")
    if not star or crc != b"%08x" % zlib.crc32(body):
        raise ValueError("has no valid checksum")
    line = _LINE.fullmatch(body.decode("latin-1"))
    if line is None:
        raise ValueError("is not of the protocol")
    return Line(int(line[1]), line[2], line[3])
