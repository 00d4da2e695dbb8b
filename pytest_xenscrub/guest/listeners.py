# SPDX-License-Identifier: MIT
"""Receivers of what guests print and do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.host.sampling import Sampling
    from pytest_xenscrub.outside.exposure import Witness
    from pytest_xenscrub.telling import Update


def _unheard(_guest: str, _data: bytes) -> None:
    """Ignore the output of a guest."""


@dataclass(frozen=True)
class Listeners:
    """Receivers of what guests print and do.

    Attributes:
        update: shows the user a line on what a guest is doing.
        heard: gets a guest's name, and bytes of its console as they come.
        witness: watches from outside how a dead guest's bytes leave RAM; None if RAM cannot be
            seen.
        start_sampling: starts to sample the CPUs while a guest ends; None without --xen-profile.
    """

    update: Update
    heard: Callable[[str, bytes], None] = _unheard
    witness: Witness | None = None
    start_sampling: Callable[[], Sampling | None] | None = None
