# SPDX-License-Identifier: MIT
"""Recognises a run's guests: by a name that begins with its tag, and by a UUID that ends with it.

The name belongs to the toolstack, and is missing while a domain is built and while it dies. The
UUID belongs to Xen, and exists as long as the domain.
"""

from __future__ import annotations

import secrets
from uuid import UUID

_PREFIX = b"xscb"
_VERSION = 4
_RUN_BYTES = 3
_RANDOM_BYTES = 16 - len(_PREFIX) - _RUN_BYTES


def _run_of(tag: str) -> bytes:
    return bytes.fromhex(tag.rpartition("-")[2])


def new_uuid(tag: str) -> UUID:
    """A UUID for a guest of the run with that tag: `xenscrub-` and six hex digits."""
    random = secrets.token_bytes(_RANDOM_BYTES)
    return UUID(bytes=_PREFIX + random + _run_of(tag), version=_VERSION)


def is_of_run(uuid: UUID, tag: str) -> bool:
    """Whether a domain is a guest of the run with that tag."""
    return is_guest(uuid) and uuid.bytes.endswith(_run_of(tag))


def is_guest(uuid: UUID) -> bool:
    """Whether a domain is a guest of this project, of any run."""
    return uuid.version == _VERSION and uuid.bytes.startswith(_PREFIX)
