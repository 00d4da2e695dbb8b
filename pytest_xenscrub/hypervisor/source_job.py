# SPDX-License-Identifier: MIT
"""The common arguments of all kinds of `--xen-source`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.cache import Cache
    from pytest_xenscrub.telling import Update

DIGEST_LENGTH = 20
"""Length of the hash that names a tree, characters."""


@dataclass(frozen=True)
class Job:
    """What is asked for, and what to do it with; passed to the code of each kind of source."""

    spec: str
    cache: Cache
    deadline: Deadline
    update: Update
