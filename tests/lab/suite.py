# SPDX-License-Identifier: MIT
"""The suite proper, run as its user runs it, for tests of what it says of broken Xens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .runs import run_pytest

if TYPE_CHECKING:
    from pathlib import Path

RUN_SECONDS = 540


def run_suite(*arguments: str | Path, seconds: float = RUN_SECONDS) -> tuple[int, str]:
    """The suite proper on the emulated host, which may take so long: exit code and output."""
    done = run_pytest(
        "tests/scrub", "--xen-host=emulated", "--xen-host-memory=3G", *arguments,
        seconds=seconds,
    )  # fmt: skip
    return done.status, done.output
