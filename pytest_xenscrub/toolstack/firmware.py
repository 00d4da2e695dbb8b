# SPDX-License-Identifier: MIT
"""Makes firmware for HVM guests of the guests' kernel; xl loads it in place of Xen's hvmloader.

Firmware is a 32-bit ELF file without Xen's notes. libxc starts it in protected mode, and passes
`hvm_start_info` as to a PVH kernel. Firmware gets no command line. It gets the content of a file as
a module instead, which normally is a BIOS; only the firmware itself interprets it.
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
"""XEN_ELFNOTE_PHYS32_ENTRY of xen/elfnote.h: the kernel's entry without paging."""
_HEADER: Final = struct.Struct("<16s2H5I6H")
_SEGMENT: Final = struct.Struct("<8I")
_MAGIC: Final = b"\x7fELF\x01\x01\x01"  # 32 bits, little endian, version 1
_EXECUTABLE, _I386, _VERSION = 2, 3, 1
_LOAD, _RWX, _PAGE = 1, 7, 4096


def firmware(kernel: bytes) -> bytes:
    """The kernel's image with 32-bit headers, loaded to the same physical addresses.

    Args:
        kernel: the 64-bit ELF file that PV and PVH guests are built from.

    Raises:
        InfrastructureError: the file is not such a kernel.
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
    """The kernel's 32-bit entry, without paging."""
    for section in elf.iter_sections():
        for note in section.iter_notes() if isinstance(section, NoteSection) else ():
            kind: object = note["n_type"]  # pyelftools has names only for GNU's types of notes
            if note["n_name"] == "Xen" and kind == _PHYS32_ENTRY:
                return int.from_bytes(note["n_descdata"], "little")
    raise ValueError("it has no note of where it starts without paging")


def module(config: DomainConfig) -> str:
    """The content of the module: the command line, as a C string."""
    return f"{config.command_line}\0"


def settings(path: str, module_path: str) -> dict[str, object]:
    """Settings of xl for an HVM guest, in place of a kernel, with as few devices as possible.

    Args:
        path: path of the firmware in dom0.
        module_path: path of the module in dom0.
    """
    return {
        "firmware_override": path,
        # xl warns about a BIOS path without a BIOS name.
        "bios": "seabios",
        "bios_path_override": module_path,
        # A video card's frame buffer would take memory of the guest.
        "vga": "none",
        "nographic": 1,
        "vnc": 0,
        "usb": 0,
        "xen_platform_pci": 0,
    }
