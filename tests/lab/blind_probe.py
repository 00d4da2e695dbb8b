# SPDX-License-Identifier: MIT
"""A plugin that breaks the project itself: probes call one page in a thousand clean, unread."""

from __future__ import annotations

from pytest_xenscrub.guest import build

build.COMPILE.append("-DPLANTED_BLINDNESS=1000")
