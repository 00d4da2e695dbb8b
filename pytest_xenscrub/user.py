# SPDX-License-Identifier: MIT
"""The user who runs this, by name."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """The user's name; a container may run as a uid that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the second since Python 3.13
        return f"uid {os.getuid()}"
