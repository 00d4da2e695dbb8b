# SPDX-License-Identifier: MIT
"""Reads the build id in an ELF file, which `xl info` calls `build_id`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from pathlib import Path


def build_id(path: Path) -> str:
    """The GNU build id of an ELF file (Xen's is `xen-syms`), in hexadecimal digits.

    Raises:
        InfrastructureError: the file is not an ELF file, or has no build id.
    """
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - only where Xen is built
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - as above
    from elftools.elf.sections import NoteSection  # noqa: PLC0415 - as above

    try:
        with path.open("rb") as file:
            for section in ELFFile(file).iter_sections():
                notes = section.iter_notes() if isinstance(section, NoteSection) else ()
                for note in notes:
                    # Xen's own notes of type 3 have another meaning.
                    if (note["n_name"], note["n_type"]) == ("GNU", "NT_GNU_BUILD_ID"):
                        return str(note["n_desc"])
    except ELFError as error:
        raise InfrastructureError(f"{path} is not an ELF file: {error}") from None
    raise InfrastructureError(
        f"{path} has no build id",
        todo="the linker must support --build-id; without it a running Xen cannot be identified",
    )
