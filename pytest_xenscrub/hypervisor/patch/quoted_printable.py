# SPDX-License-Identifier: MIT
"""Whether a text is quoted-printable as its header says: decoding it twice makes another patch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError

if TYPE_CHECKING:
    from email.message import EmailMessage

_BARE_EQUALS = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?(?:\n|\Z))")


def is_quoted_printable(text: bytes) -> bool:
    """Whether two hexadecimal digits or the end of the line follow on each "=" of a text."""
    return _BARE_EQUALS.search(text) is None


def check_encoded(part: EmailMessage) -> None:
    """Check that the text of a part that says quoted-printable is.

    Raises:
        ConfigurationError: it was decoded before. `x=10` decoded again is another text.
    """
    text = str(part.get_payload()).encode("utf-8", errors="replace")
    wrong = [line for line in text.splitlines() if not is_quoted_printable(line)]
    if wrong:
        raise ConfigurationError(
            "a mail says that it is quoted-printable, and its text is not: decoded before?",
            tried=wrong[0].decode(errors="replace")[:100],
            todo="save the mail as it was sent, or take its Content-Transfer-Encoding line out",
        )
