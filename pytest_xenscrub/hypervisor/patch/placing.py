# SPDX-License-Identifier: MIT
"""Finds the files of a tree that a patch names, and tells which of them are built."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.patch.steps import steps
from pytest_xenscrub.hypervisor.patch.unified import FileDiff, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pytest_xenscrub.hypervisor.variant import Change

NOT_BUILT = (".git", "docs", "stubdom", "debian", "automation")
"""Folders of a tree that neither the hypervisor nor its tools are built from."""

_TEXTS = re.compile(
    r"\.|(LICENSES|misc)/|(CHANGELOG|CODE_OF_CONDUCT|CODING_STYLE|CONTRIBUTING|COPYING|CREDITS"
    r"|INSTALL|MAINTAINERS|README|SUPPORT)[^/]*$|[^/]+\.(md|rst|txt)$"
)
_IGNORED = (".gitignore", ".gitattributes", ".hgignore", ".clang-format")
_GENERATED = {"configure": "configure.ac", "tools/configure": "tools/configure.ac",
              "tools/config.h.in": "tools/configure.ac"}  # fmt: skip
"""Files that autoconf generates, with their sources; a build generates them if the tree lacks
them."""

_LEVELS = ((1, ""), (0, ""), (1, "xen/"), (0, "xen/"))


@dataclass(frozen=True)
class PlacedFile:
    """The change of one file, and which file of the tree it changes.

    Attributes:
        diff: the change.
        old: path in the tree before; empty for a new file.
        new: path in the tree after; empty for a deleted file.
    """

    diff: FileDiff = field(repr=False)
    old: str
    new: str

    @property
    def path(self) -> str:
        """The path, for messages."""
        return self.new or self.old

    @property
    def copies(self) -> bool:
        """Whether the old file stays."""
        return "copy from" in dict(self.diff.extended)

    @property
    def built(self) -> bool:
        """Whether something is built from the file."""
        return any(path and not is_left_out(path) for path in (self.old, self.new))


@dataclass(frozen=True)
class PlacedPatch:
    """A patch with paths of one tree.

    Attributes:
        change: the patch.
        files: its changes of files that something is built from.
        left_out: paths of its other changes.
    """

    change: Change
    files: tuple[PlacedFile, ...]
    left_out: tuple[str, ...]

    @property
    def text(self) -> bytes:
        """The text that `patch -p1` is to apply at the top of the tree."""
        return b"".join(each.diff.render(each.old, each.new) for each in self.files)


def place(changes: Sequence[Change], tree: Path) -> list[PlacedPatch]:
    """Find the files that patches name, each in the tree that the earlier ones leave.

    Raises:
        ConfigurationError: files do not exist, or the names fit two sets of files.
    """
    view = _View(tree)
    placed: list[PlacedPatch] = []
    for change in changes:
        patch = _place(change, view)
        for step in steps(patch.files, view.has):
            view.after(step)
            placed.append(replace(patch, files=tuple(step)))
        if not patch.files:
            placed.append(patch)
    return placed


def is_left_out(path: str) -> bool:
    """Whether nothing is built from a path."""
    top, _, rest = path.partition("/")
    if rest and top in NOT_BUILT:
        return True
    return path.rpartition("/")[2] in _IGNORED or _TEXTS.match(path) is not None


class _View:
    """The files that a tree has, after earlier patches have added and deleted some."""

    def __init__(self, tree: Path, there: dict[str, bool] | None = None) -> None:
        self._tree = tree
        self._there = dict(there or {})

    def copy(self) -> _View:
        """Another view that starts from here."""
        return _View(self._tree, self._there)

    def has(self, path: str) -> bool:
        return self._there.get(path, (self._tree / path).is_file())

    def has_folder(self, path: str) -> bool:
        return (self._tree / path).is_dir() or any(p.startswith(f"{path}/") for p in self._there)

    def text(self, path: str) -> bytes:
        file = self._tree / path
        return file.read_bytes() if file.is_file() else b""

    def is_generated(self, path: str) -> bool:
        """Whether a file is missing because the build generates it."""
        return not self.has(path) and path in _GENERATED and self.has(_GENERATED[path])

    def after(self, files: Iterable[PlacedFile]) -> None:
        """Apply the renames and deletions of one diff, in which two files may swap their names."""
        files = list(files)
        for file in files:
            if file.old and file.new != file.old and not file.copies:
                self._there[file.old] = False
        for file in files:
            if file.new:
                self._there[file.new] = True


def _place(change: Change, view: _View) -> PlacedPatch:
    """Place one patch at the only level at which its names fit."""
    diffs = parse(change.text, change.name)
    levels = _LEVELS if change.strip is None else ((change.strip, ""),)
    missing: dict[str, str] = {}
    fitting: dict[tuple[tuple[str, str], ...], list[PlacedFile]] = {}
    for strip, below in levels:
        found = _all_at_level(diffs, strip, below, view.copy())
        if isinstance(found, str):
            missing[_level_name(strip, below)] = found
            continue
        kept = [file for file in found if _counts(file, view)]
        fitting.setdefault(tuple((file.old, file.new) for file in kept), found)
    if not fitting:
        raise _names_nothing(change, missing)
    files_found = _choose(change, list(fitting.values()), view)
    kept = [file for file in files_found if _counts(file, view)]
    _check_readable(change, kept)
    return PlacedPatch(
        change, tuple(kept), tuple(file.path for file in files_found if file not in kept)
    )


def _counts(file: PlacedFile, view: _View) -> bool:
    return file.built and not view.is_generated(file.path)


def _all_at_level(
    diffs: list[FileDiff], strip: int, below: str, view: _View
) -> list[PlacedFile] | str:
    """The files that a patch names at one level, or the first name that does not fit."""
    found = []
    before = view.copy()
    for diff in diffs:
        file = _at_level(diff, strip, below, view, before)
        if isinstance(file, str):
            return file
        found.append(file)
        if _counts(file, view):
            view.after([file])
    return found


def _at_level(
    diff: FileDiff, strip: int, below: str, view: _View, before: _View
) -> PlacedFile | str:
    """The file that a change names at one level, or the name that does not fit."""
    old, new = _stripped(diff.old, strip, below), _stripped(diff.new, strip, below)
    if old is None or new is None:
        return diff.new or diff.old
    if not diff.git and old and new:
        # diff may name a copy beside the tree instead of the tree; the existing file is meant.
        old = new = new if view.has(new) or not view.has(old) or is_left_out(new) else old
    placed = PlacedFile(diff, old, new)
    if not placed.built or view.is_generated(placed.path):
        return placed
    # git's names refer to the tree before the patch; in a log, to the tree before the commit.
    if old and not view.has(old) and not before.has(old):
        return old
    if not old or diff.moves:
        top = "/".join(new.split("/")[: 2 if below else 1])
        if top != new and not view.has_folder(top):
            return new
    return placed


def _stripped(name: str, strip: int, below: str) -> str | None:
    """A name without its first components; None if it has too few, or leads out of the tree."""
    if not name:
        return ""
    parts = [part for part in name.split("/") if part != "."]
    if len(parts) <= strip or ".." in parts or not parts[0]:
        return None
    return below + "/".join(parts[strip:])


def _choose(change: Change, fitting: list[list[PlacedFile]], view: _View) -> list[PlacedFile]:
    """Choose one of several possible placements by the lines that the hunks expect."""
    if len(fitting) > 1:
        by_text = [files for files in fitting if all(_text_fits(file, view) for file in files)]
        fitting = by_text if len(by_text) == 1 else fitting
    if len(fitting) > 1:
        shown = [", ".join(file.path for file in files[:3]) for files in fitting]
        raise ConfigurationError(
            f"{change.name}: two sets of files could be meant",
            tried=" / ".join(shown),
            todo="make the patch at the top of the tree with git diff, or name its level in a"
            " `series` file: -p0 or -p1",
        )
    return fitting[0]


def _text_fits(file: PlacedFile, view: _View) -> bool:
    if not file.built or not file.old:
        return True
    text = view.text(file.old)
    return all(hunk.old in text for hunk in file.diff.hunks)


def _check_readable(change: Change, files: list[PlacedFile]) -> None:
    for file in files:
        if file.diff.binary:
            raise ConfigurationError(
                f"{change.name}: a binary change of {file.path} cannot be applied",
                todo="give a --xen-source that has it, and a patch without it",
            )


def _level_name(strip: int, below: str) -> str:
    what = f"-p{strip}"
    return f"{what} in {below}" if below else what


def _names_nothing(change: Change, missing: dict[str, str]) -> ConfigurationError:
    tried = "; ".join(f"{level}: no {path}" for level, path in missing.items())
    return ConfigurationError(
        f"{change.name} does not apply to this tree: it names files that are not there",
        tried=tried,
        todo="refresh it for this tree, or give the --xen-source that it was made for",
    )
