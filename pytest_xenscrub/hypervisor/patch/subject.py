# SPDX-License-Identifier: MIT
"""Parses the subject of a mail with a patch: series, number, version, reply."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = re.compile(r"\s*(?:((?:re|aw|sv|antw)(?:\[\d+\])?:)|fwd?:|\[([^]]*)\])\s*", re.I)
# "PATCH v2 1/3: title": some mailers and lists remove the brackets.
_NO_BRACKETS = re.compile(r"((?:rfc )?patch\b[ v\d.,]*\b\d+ ?(?:/|of) ?\d+)\b[\s:-]*", re.I)
# Not "1.5/3", which is a patch between two others.
_NUMBER = re.compile(r"(?<![\w.])(\d+)\s*(?:/|of)\s*(\d+)(?![\w./])")
_VERSION = re.compile(r"(?:\b|patch)v(\d+(?:\.\d+)*)\b", re.I)


@dataclass(frozen=True)
class Tag:
    """What a subject like "Re: [PATCH v2 1/3] title" says of its message.

    Attributes:
        title: the rest of the subject.
        reply: whether the message is a reply.
        patch: whether the subject says that it is a patch.
        versioned: whether the subject has a version.
        version: the version; 1 without one.
        number: the patch's number in its series.
        total: number of patches in the series.
    """

    title: str
    reply: bool = False
    patch: bool = False
    versioned: bool = False
    version: tuple[int, ...] = (1,)
    number: int | None = None
    total: int = 0


def parse_subject(subject: str) -> Tag:
    """Parse a subject, by the customs of git, hg, patchwork and mailing lists.

    A number counts without the word PATCH, too: "[RFC 1/3]" has none, and patchwork removes it.
    """
    rest, reply, said = subject, False, ""
    while match := _PREFIX.match(rest):
        reply = reply or match[1] is not None
        said += f" {match[2] or ''}"
        rest = rest[match.end() :]
    if match := _NO_BRACKETS.match(rest):
        said += f" {match[1]}"
        rest = rest[match.end() :]
    number, version = _NUMBER.search(said), _VERSION.search(said)
    return Tag(
        rest,
        reply,
        patch=number is not None or re.search(r"\bpatch", said, re.I) is not None,
        versioned=version is not None,
        version=tuple(int(n) for n in version[1].split(".")) if version else (1,),
        number=int(number[1]) if number else None,
        total=int(number[2]) if number else 0,
    )
