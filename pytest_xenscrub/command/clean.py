# SPDX-License-Identifier: MIT
"""Show what the cache holds, with its sizes, and remove it: all, or a part."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.cache_folder import cache_root, writing
from pytest_xenscrub.command.manual import Manual
from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

HELP: Final = "show and remove what is in the cache"
MANUAL: Final = Manual(
    examples=(
        ("xenscrub clean", "what is in the cache, with sizes; nothing is removed"),
        ("xenscrub clean bisect", "removes one part"),
        ("xenscrub clean all", "removes everything"),
    ),
    done="shown, and removed if a part was named",
    wrong="wrong usage, or there is no such part",
    failed="the cache cannot be changed",
    cache=True,
    see=("docs/how-to/install.md",),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub clean`."""
    parser.add_argument("part", nargs="*", help="part to remove: a folder of the cache, or `all`")


def run(options: argparse.Namespace) -> None:
    """Show the cache's folders; remove those that were named.

    No run may use the cache meanwhile.

    Raises:
        ConfigurationError: there is no such folder.
        CacheUnusableError: a folder cannot be removed.
    """
    root = cache_root()
    folders = sorted(path for path in root.glob("*") if path.is_dir())
    names = [folder.name for folder in folders]
    wanted = names if options.part == ["all"] else options.part
    if unknown := [name for name in wanted if name not in names]:
        raise ConfigurationError(
            f"{unknown[0]!r} is not in the cache, {root}",
            todo=f"name of: {', '.join([*names, 'all'])}" if names else "there is nothing in it",
        )
    for folder in folders:
        removed = folder.name in wanted
        print(f"{gib(_size(folder)):>10}  {folder}{'  removed' if removed else ''}", flush=True)
        if removed:
            with writing(folder):
                shutil.rmtree(folder)
    if not folders:
        print(f"nothing is in {root}")


def _size(folder: Path) -> int:
    """Size of a folder's files on the disk, bytes."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
