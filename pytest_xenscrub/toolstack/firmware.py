# SPDX-License-Identifier: MIT
"""The guest's kernel as the firmware of an HVM guest: what xl loads in place of Xen's hvmloader.

Firmware is a 32-bit ELF file without Xen's notes, which libxc starts in protected mode, with
`hvm_start_info` as a PVH kernel gets it. It has no command line. It has a module instead, which is
a BIOS by rights: the content of a file, of which nobody but the firmware knows what it is.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from pytest_xenscrub.toolstack.protocol import DomainConfig

_PHYS32_ENTRY: Final = 18
"""XEN_ELFNOTE_PHYS32_ENTRY, of xen/elfnote.h: where a kernel starts without paging."""
_HEADER: Final = struct.Struct("<16s2H5I6H")
_SEGMENT: Final = struct.Struct("<8I")
_MAGIC: Final = b"\x7fELF\x01\x01\x01"  # 32 bits, little endian, version 1
_EXECUTABLE, _I386, _VERSION = 2, 3, 1
_LOAD, _RWX, _PAGE = 1, 7, 4096


def firmware(kernel: bytes) -> bytes:
    """The same image with 32-bit headers, loaded to the same physical addresses.

    Args:
        kernel: the 64-bit ELF file that PV and PVH guests are built from.

    Raises:
        InfrastructureError: it is no such file.
    """
    try:
        elf = ELFFile(io.BytesIO(kernel))
        entry = _entry(elf)
        (load,) = (each for each in elf.iter_segments() if each["p_type"] == "PT_LOAD")
        content = load.data()
    except (ELFError, ValueError) as error:
        raise InfrastructureError(f"the guest's kernel cannot be firmware: {error}") from None
    headers = _HEADER.size + _SEGMENT.size
    header = _HEADER.pack(
        _MAGIC, _EXECUTABLE, _I386, _VERSION, entry, _HEADER.size, 0, 0,
        _HEADER.size, _SEGMENT.size, 1, 0, 0, 0,
    )  # fmt: skip
    at = load["p_paddr"]
    segment = _SEGMENT.pack(_LOAD, headers, at, at, len(content), load["p_memsz"], _RWX, _PAGE)
    return header + segment + content


def _entry(elf: ELFFile) -> int:
    """Where the kernel starts in 32 bits, without paging."""
    for section in elf.iter_sections():
        for note in section.iter_notes() if isinstance(section, NoteSection) else ():
            kind: object = note["n_type"]  # a name only where it is one of GNU's
            if note["n_name"] == "Xen" and kind == _PHYS32_ENTRY:
                return int.from_bytes(note["n_descdata"], "little")
    raise ValueError("it has no note of where it starts without paging")


def module(config: DomainConfig) -> str:
    """What is in the file that is called a BIOS: the command line, as C has a string."""
    return f"{config.command_line}\0"


def settings(path: str, module_path: str) -> dict[str, object]:
    """What xl is told of an HVM guest in place of a kernel: as few devices as there can be.

    Args:
        path: of the firmware, in dom0.
        module_path: of the module, in dom0.
    """
    return {
        "firmware_override": path,
        # Without a name of a BIOS, xl warns that its path was given.
        "bios": "seabios",
        "bios_path_override": module_path,
        # A video card would have memory of the guest's for its frame buffer.
        "vga": "none",
        "nographic": 1,
        "vnc": 0,
        "usb": 0,
        "xen_platform_pci": 0,
    }
