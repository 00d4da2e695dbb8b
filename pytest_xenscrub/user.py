# SPDX-License-Identifier: MIT
"""The name of the user who runs this process."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """The user's name; the uid if it has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError; OSError since Python 3.13
        return f"uid {os.getuid()}"
