# SPDX-License-Identifier: MIT
"""Finds the function of Xen at an address."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SHF_EXECINSTR = 4


class Symbols:
    """Xen's functions by address.

    Attributes:
        origin: where the names come from: "xen-syms"; empty without names.
    """

    def __init__(self, named: Iterable[tuple[int, str]] = (), origin: str = "") -> None:
        # The first of several names for one address counts.
        names: dict[int, str] = {}
        for address, name in named:
            names.setdefault(address, name)
        self._names = names
        self._addresses = sorted(names)
        self.origin = origin if names else ""

    def __bool__(self) -> bool:
        return bool(self._names)

    def name(self, address: int) -> str:
        """The function at an address; empty if unknown.

        The last name marks the end of the code, so no function begins there.
        """
        at = bisect.bisect_right(self._addresses, address)
        inside = 0 < at < len(self._addresses)
        return self._names[self._addresses[at - 1]] if inside else ""

    @classmethod
    def from_elf(cls, path: Path) -> Symbols:
        """Read the symbols of a hypervisor with symbols (`xen-syms`); none if it is stripped.

        Raises:
            OSError: the file cannot be read.
            elftools.common.exceptions.ELFError: the file is not an ELF file.
        """
        # Imported only when symbols are needed.
        from elftools.elf.elffile import ELFFile  # noqa: PLC0415
        from elftools.elf.sections import SymbolTableSection  # noqa: PLC0415

        with path.open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            if not isinstance(table, SymbolTableSection):
                return cls()
            code = {
                number
                for number, section in enumerate(elf.iter_sections())
                if section["sh_flags"] & _SHF_EXECINSTR
            }
            found = [
                (symbol["st_value"], symbol.name, symbol["st_info"]["type"] == "STT_FUNC")
                for symbol in table.iter_symbols()
                if symbol["st_shndx"] in code and symbol.name
            ]
        # Assembly files have labels as well as functions.
        found.sort(key=lambda each: (each[0], not each[2]))
        return cls(((address, name) for address, name, _ in found), path.name)

    @classmethod
    def from_listing(cls, text: str, origin: str) -> Symbols:
        """Parse a listing as `nm` prints it: address, type and name on a line."""
        lines = (line.split() for line in text.splitlines())
        return cls(
            (
                (int(words[0], 16), words[2])
                for words in lines
                if len(words) == 3 and words[1] in "tT"  # noqa: PLR2004
            ),
            origin,
        )
