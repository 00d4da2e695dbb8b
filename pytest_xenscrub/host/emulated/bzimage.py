# SPDX-License-Identifier: MIT
"""Unpacks Linux's bzImage, which an emulated Xen would do slowly."""

from __future__ import annotations

import lzma
import struct
import zlib


def unpack_kernel(image: bytes) -> bytes | None:
    """The ELF file inside a bzImage; None if its compression is not supported here."""
    if image[0x202:0x206] != b"HdrS":
        return None
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start : start + length]
    try:
        if payload.startswith(b"\xfd7zXZ"):
            unpacked = lzma.LZMADecompressor().decompress(payload)
        elif payload.startswith(b"\x1f\x8b"):
            unpacked = zlib.decompressobj(31).decompress(payload)
        else:
            return None
    except (lzma.LZMAError, zlib.error):
        return None
    return unpacked if unpacked.startswith(b"\x7fELF") else None
