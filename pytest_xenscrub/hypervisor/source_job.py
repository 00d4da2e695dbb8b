# SPDX-License-Identifier: MIT
"""What each kind of `--xen-source` works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.cache import Cache
    from pytest_xenscrub.telling import Update

DIGEST_LENGTH = 20
"""Characters of a hash that name a tree."""


@dataclass(frozen=True)
class Job:
    """What is asked for and what there is to do it with, handed to the code of each kind."""

    spec: str
    cache: Cache
    deadline: Deadline
    update: Update
