# SPDX-License-Identifier: MIT
"""Who is told of what guests say and do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.host.sampling import Sampling
    from pytest_xenscrub.outside.exposure import Witness
    from pytest_xenscrub.telling import Update


def _unheard(_guest: str, _data: bytes) -> None:
    """Nobody wants to know what guests say."""


@dataclass(frozen=True)
class Listeners:
    """Who is told of what guests say and do.

    Attributes:
        update: shows the user a line on what a guest is doing.
        heard: gets a guest's name, and bytes of its console as they come.
        witness: sees from outside how a dead guest's bytes go; None where RAM cannot be seen.
        start_sampling: looks at the CPUs while a guest ends; None where nobody is to look.
    """

    update: Update
    heard: Callable[[str, bytes], None] = _unheard
    witness: Witness | None = None
    start_sampling: Callable[[], Sampling | None] | None = None
