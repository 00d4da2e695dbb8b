# SPDX-License-Identifier: MIT
"""The build id in an ELF file: what `xl info` calls `build_id`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHT_NOTE = 7
_NT_GNU_BUILD_ID = 3
_MAGIC_64_LITTLE = b"\x7fELF\x02\x01"


def build_id(path: Path) -> str:
    """The GNU build id of a 64-bit ELF file (Xen's is `xen-syms`) as hexadecimal digits.

    Raises:
        InfrastructureError: it is no such file, or was linked without one.
    """
    data = path.read_bytes()
    if not data.startswith(_MAGIC_64_LITTLE):
        raise InfrastructureError(f"{path} is no 64-bit little-endian ELF file")
    (offset,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    for index in range(count):
        at = offset + index * size
        (kind,) = struct.unpack_from("<I", data, at + 4)
        if kind != _SHT_NOTE:
            continue
        start, length = struct.unpack_from("<QQ", data, at + 0x18)
        for owner, note, text in _notes(data[start : start + length]):
            if owner == b"GNU\0" and note == _NT_GNU_BUILD_ID:
                return text.hex()
    raise InfrastructureError(
        f"{path} has no build id",
        todo="the linker must support --build-id; without it nobody can tell which Xen runs",
    )


def _notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Owner, type and content of each note in a note section."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("<III", data, at)
        name_at = at + 12
        text_at = name_at + (name_size + 3 & ~3)
        yield data[name_at : name_at + name_size], kind, data[text_at : text_at + size]
        at = text_at + (size + 3 & ~3)
