# SPDX-License-Identifier: MIT
"""A plugin that breaks the project itself: probes call one page in a thousand clean, unread."""

from __future__ import annotations

from pytest_xenscrub.guest import compile as kernel

kernel.COMPILE.append("-DPLANTED_BLINDNESS=1000")
