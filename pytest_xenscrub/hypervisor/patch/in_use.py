# SPDX-License-Identifier: MIT
"""Tells which files of a patch are in the Xen and the tools that run, and which are not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

TOOLS_FOLDERS = (
    "include", "libs", "libxc", "xenstore", "xenstored", "xs-clients", "libxl", "xl", "console",
    "helpers", "python",
)  # fmt: skip
"""Folders of `tools/` that are built, in this order, if a tree has them: releases have moved
libraries."""

# Files outside of `tools/` that libxenctrl, libxenguest and libelf are compiled from.
_SHARED = re.compile(
    r"Config\.mk$|config/|xen/include/public/|xen/include/acpi/|xen/common/libelf/|xen/lib/x86/"
    r"|xen/include/xen/(lib/|libelf\.h|elfstructs\.h)|xen/common/(un[a-z0-9]+\.c|zstd/|lz4/)"
    r"|xen/tools/gen-cpuid\.py"
)
_COMPILED = re.compile(r"xen/(?!tools/|include/public/).*\.[chS]$")


def used_by_tools(paths: Iterable[str]) -> list[str]:
    """The paths that Xen's tools are built from, whether or not the hypervisor uses them, too."""
    return [path for path in paths if path.startswith("tools/") or _SHARED.match(path)]


def not_in_use(paths: Iterable[str], *, build_tools: bool) -> list[str]:
    """The paths of `tools/` that nothing that runs is built from.

    Args:
        paths: the paths that a patch changes.
        build_tools: whether the tree's own tools are used, and not dom0's.
    """
    tools = [path for path in paths if path.startswith("tools/")]
    if not build_tools:
        return tools
    parts = [(path, path.split("/")) for path in tools]
    return [path for path, names in parts if len(names) > 2 and names[1] not in TOOLS_FOLDERS]  # noqa: PLR2004


def shared_with_tools(paths: Iterable[str]) -> list[str]:
    """The paths that both hypervisor and tools are built from."""
    return [path for path in paths if _SHARED.match(path)]


def not_compiled(paths: Sequence[str], tree: Path) -> list[str]:
    """The C and assembly files that a build did not read: another architecture's, or switched off.

    Args:
        paths: the paths that a patch changes.
        tree: the tree after its build, with the compiler's dependency files.
    """
    wanted = [path for path in paths if _COMPILED.match(path) and (tree / path).is_file()]
    if not wanted:
        return []
    lists = [
        file
        for pattern in (".*.d", ".*.d2", ".*.cmd", "*.d")
        for file in (tree / "xen").rglob(pattern)
        if file.is_file()
    ]
    known = {file: file.read_text(encoding="utf-8", errors="replace") for file in lists}
    if not any(".c" in text for text in known.values()):
        return []  # this release keeps no dependency files
    return [path for path in wanted if not _is_compiled(tree / path, path, known)]


def _is_compiled(file: Path, path: str, known: dict[Path, str]) -> bool:
    """Whether a file has an object, or was included in another file that was compiled."""
    if any(file.with_suffix(suffix).exists() for suffix in (".o", ".init.o")):
        return True
    # A dependency file may name a header by a link: include/asm.
    below = file.name if file.suffix == ".h" else path.removeprefix("xen/")
    if any(_names(text, below) for text in known.values()):
        return True
    # Before 4.17 make ran in each folder, and its dependency files have paths from there.
    return any(_names(text, file.name) for at, text in known.items() if at.parent == file.parent)


def _names(text: str, name: str) -> bool:
    return name in text and re.search(rf"(^|[/\s]){re.escape(name)}([\s:)\\]|$)", text) is not None
