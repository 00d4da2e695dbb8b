# SPDX-License-Identifier: MIT
"""Checks that a text is quoted-printable if its header says so; decoding twice changes a patch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError

if TYPE_CHECKING:
    from email.message import EmailMessage

_BARE_EQUALS = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?(?:\n|\Z))")


def is_quoted_printable(text: bytes) -> bool:
    """Whether each "=" of a text is followed by two hexadecimal digits or the end of the line."""
    return _BARE_EQUALS.search(text) is None


def check_encoded(part: EmailMessage) -> None:
    """Check that the text of a part is quoted-printable if its header says so.

    Raises:
        ConfigurationError: the text was decoded before; decoding `x=10` again would change it.
    """
    text = str(part.get_payload()).encode("utf-8", errors="replace")
    wrong = [line for line in text.splitlines() if not is_quoted_printable(line)]
    if wrong:
        raise ConfigurationError(
            "a mail says that it is quoted-printable, and its text is not: decoded before?",
            tried=wrong[0].decode(errors="replace")[:100],
            todo="save the mail as it was sent, or take its Content-Transfer-Encoding line out",
        )
