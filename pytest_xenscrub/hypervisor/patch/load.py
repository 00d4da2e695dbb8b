# SPDX-License-Identifier: MIT
"""`--xen-variant=FILE|FOLDER`: turns a patch, mailbox or series into a variant."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.patch.mails import Message, read_messages
from pytest_xenscrub.hypervisor.patch.series import assemble
from pytest_xenscrub.hypervisor.patch.unified import has_diff
from pytest_xenscrub.hypervisor.variant import Change, Kind, Variant

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIXES = re.compile(r"(\.(patch|diff|mbox|mbx|eml|msg))?(\.(gz|bz2|xz))?$")
_PATCH = re.compile(r"\.(patch|diff|mbox|mbx|eml|msg)(\.(gz|bz2|xz))?$")
_BACKUP = re.compile(r"(~|\.(orig|rej|bak|swp|sw[a-p]))$|^[.#]")
_LARGEST = 64 << 20


def read_patches(path: Path, spec: str) -> Variant:
    """The variant of a file or folder.

    Raises:
        ConfigurationError: there is no patch in it, or a part is missing or unusable.
        OSError: it cannot be read.
    """
    found = _read_folder(path) if path.is_dir() else _changes(_messages(path), path.name)
    changes, notes = found
    if not changes:
        raise ConfigurationError(
            f"--xen-variant={spec}: there is no patch in it",
            tried="a unified diff, a mail or mailbox, a folder with `series` or *.patch",
            todo="give what `git diff`, `git format-patch` or quilt makes",
        )
    name = path.resolve().name if path.is_dir() else _SUFFIXES.sub("", path.name)
    return Variant(name, Kind.PATCHES, None, tuple(changes), notes=tuple(notes))


def _changes(
    messages: list[Message], where: str, *, strip: int | None = None, picked: bool = False
) -> tuple[list[Change], list[str]]:
    series = assemble(messages, where, picked=picked)
    changes = [Change(name, text, strip, damage) for name, text, damage in series.patches]
    return changes, list(series.notes)


def _messages(path: Path) -> list[Message]:
    if not path.is_file():
        raise ConfigurationError(
            f"{path} is not a file", todo="give a patch, a mailbox or a folder"
        )
    if path.stat().st_size > _LARGEST:
        raise ConfigurationError(
            f"{path} is larger than any patch", todo="give a patch, a mailbox or a folder"
        )
    return read_messages(path.read_bytes(), path.name)


def _read_folder(folder: Path) -> tuple[list[Change], list[str]]:
    """Read a folder: in quilt's order if it has a `series` file, else in the messages' order."""
    if (folder / "series").is_file():
        return _read_quilt(folder)
    if (folder / "cur").is_dir() and (folder / "new").is_dir():
        mails = sorted(file for name in ("cur", "new") for file in (folder / name).iterdir())
        return _changes([m for mail in mails for m in _messages(mail)], folder.name)
    files = sorted(file for file in folder.iterdir() if _PATCH.search(file.name))
    messages = [message for file in files for message in _messages(file)]
    notes = _strays(folder, {file.name for file in files})
    if not files:
        return [], notes
    changes, said = _changes(messages, folder.name)
    return changes, [*notes, *said, *_gaps([file.name for file in files])]


def _strays(folder: Path, used: set[str]) -> list[str]:
    """Notes on other files of a folder; refuses a file that looks like another patch."""
    strays = []
    for path in sorted(folder.iterdir()):
        if path.name in used or path.name == "series" or path.name.startswith("."):
            continue
        strays.append(f"{path.name}/" if path.is_dir() else path.name)
        if not path.is_file() or _BACKUP.search(path.name) or path.stat().st_size > _LARGEST:
            continue
        if has_diff(path.read_bytes()):
            raise ConfigurationError(
                f"{folder.name}: there is a diff in {path.name}, which is not named as a patch",
                todo="name it *.patch, take it out, or list the patches in a `series` file",
            )
    return [f"{folder.name}: not read: {', '.join(strays[:5])}"] if strays else []


def _gaps(names: list[str]) -> list[str]:
    """Notes on missing numbers in file names, because the subjects may have no numbers."""
    numbers = [int(match[1]) for name in names if (match := re.match(r"(\d{4})-", name))]
    missing = sorted(set(range(1, max(numbers, default=0))) - set(numbers))
    return [f"no file is numbered {', '.join(f'{n:04}' for n in missing[:5])}"] if missing else []


def _read_quilt(folder: Path) -> tuple[list[Change], list[str]]:
    """The patches that a `series` file lists, with their levels."""
    series = folder / "series"
    changes: list[Change] = []
    notes: list[str] = []
    for line in series.read_text(encoding="utf-8", errors="replace").splitlines():
        words = shlex.split(re.sub(r"(^|\s)#.*", "", line))
        if not words:
            continue
        path = folder / words[0]
        if not path.is_file():
            raise ConfigurationError(
                f"{series} names {words[0]}, which is not there",
                todo="add the file, or take its line out of `series`",
            )
        level = _level(series, words)
        found, said = _changes(_messages(path), path.name, strip=level, picked=True)
        if not found:
            raise ConfigurationError(
                f"{series} names {words[0]}, and there is no patch in it",
                todo="give it with its diff, or take its line out of `series`",
            )
        changes += found
        notes += said
    listed = {change.name for change in changes}
    unlisted = sorted(
        file.name
        for file in folder.iterdir()
        if _PATCH.search(file.name) and file.name not in series.read_text(errors="replace")
    )
    if unlisted and listed:
        notes.append(f"not in {folder.name}/series, not used: {', '.join(unlisted[:5])}")
    return changes, notes


def _level(series: Path, words: list[str]) -> int | None:
    """The level (`-p`) in the options of a patch in a `series` file."""
    level = None
    for word in words[1:]:
        if match := re.fullmatch(r"(?:-p|--strip=)(\d+|ab)", word):
            level = 1 if match[1] == "ab" else int(match[1])
        else:
            raise ConfigurationError(
                f"{series}: {words[0]}: option {word} is not known here",
                todo="only -p0, -p1, -p2 ... are; a patch that is applied in reverse must be"
                " reversed first (interdiff, or git diff -R)",
            )
    return level
