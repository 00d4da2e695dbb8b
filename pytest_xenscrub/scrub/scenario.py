# SPDX-License-Identifier: MIT
"""What a scenario needs before it can prove anything."""

from __future__ import annotations

from pytest_xenscrub.errors import UndecidedError


def require(came_about: object, what: str, todo: str = "") -> None:
    """Check that what a scenario is about came about at all, which neither Xen nor we can force.

    Args:
        came_about: true if it did.
        what: what is missing if it did not.
        todo: what to do then.

    Raises:
        UndecidedError: it did not, so the scenario proves nothing; that is no fault of Xen's.
    """
    if not came_about:
        raise UndecidedError(
            f"{what}: nothing is proven",
            todo=todo or "run it again, while nothing else keeps this machine busy",
        )
