# SPDX-License-Identifier: MIT
"""Sizes: bytes inside, MiB and GiB at the edges."""

from __future__ import annotations

import re
from typing import Final

from pytest_xenscrub.errors import ConfigurationError

PAGE: Final = 4096
KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

_UNITS: Final = {"": 1, "K": 1 << 10, "M": MIB, "G": GIB, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Parse a size: `512M`, `1.5GiB`, `2g`; a number without a unit is bytes.

    Raises:
        ConfigurationError: the text is not a size, or is 0.
    """
    match = re.fullmatch(
        r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE | re.ASCII
    )
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if not size:
        raise ConfigurationError(f"{text!r} is not a size", todo="write it as 512M or 1.5GiB")
    return size


def gib(size: float) -> str:
    """Format a size: `2.00 GiB`; smaller sizes as `512 MiB`."""
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"
