# SPDX-License-Identifier: MIT
"""Parses unified diffs, and refuses lines that look like changes but do not belong to one.

`patch` skips lines that it does not understand, and applies a diff that is indented in a commit
message. So this module parses a diff first, and `patch` gets only what was parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from pytest_xenscrub.errors import ConfigurationError

_EXTENDED = re.compile(
    rb"(old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename from|rename to"
    rb"|similarity index|dissimilarity index|index) (.*)"
)
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_HALF_HUNK = re.compile(rb"@@? *[-+] *\d|@@\s*$")
_GIT = re.compile(rb"diff --git (\S+) (\S+)\s*$")
# Formats that are refused; none of them marks the end of a file's changes.
_OTHER_FORMATS = (
    (re.compile(rb"(diff --(cc|combined) |@@@+ -)"), "a merge's combined diff"),
    (re.compile(rb"\*\*\* .*\t|\*{15}$|\*\*\* \d+,\d+ \*\*\*\*"), "a context diff"),
    (re.compile(rb"Only in [^:]+: .*(\.[chS]|Makefile|Kconfig|\.mk|\.lds)$"), "`diff` without -N"),
)
_NORMAL_DIFF = re.compile(rb"^\d+(,\d+)?[acd]\d+(,\d+)?\n[<>] ", re.M)
# `patch` takes other lines for text between diffs, but they may be the rest of an added line.
_AFTER_HUNK = re.compile(
    rb"\s*$|@@|--- \S|---?\s*$|diff |Index: |={5,}$|Only in |Binary files |Property |From |# "
    rb"|commit [0-9a-f]|_{5,}$|\\ "
)
_CHANGED = re.compile(rb"\+(?!\+\+ )|-(?!-- |--?\s*$)")
"""A line that adds or removes something, and is neither a file name nor the start of a
signature."""
_EPOCH = re.compile(rb"\t(1970-01-01|1969-12-31|Thu Jan +1 .* 1970|Wed Dec 31 .* 1969)")


@dataclass(frozen=True)
class Hunk:
    """One hunk.

    Attributes:
        lines: all of its lines, the header first.
        start: its first line in the old file, from 1.
    """

    lines: tuple[bytes, ...]
    start: int

    @property
    def old(self) -> bytes:
        """The lines that the hunk expects in the old file."""
        kept = [line[1:] for line in self.lines[1:] if not line.startswith((b"+", b"\\"))]
        return b"".join(line + b"\n" for line in kept)


@dataclass(frozen=True)
class FileDiff:
    """The change of one file.

    Attributes:
        old: the old file's name in the diff; empty if the diff creates the file.
        new: the new file's name; empty if the diff deletes the file.
        git: whether git wrote the diff.
        extended: git's lines on modes, renames and indexes, by their first words.
        binary: whether the change is binary, with or without its content.
        apart: whether other text is between this and the previous file, as in `git log -p`.
        hunks: the hunks, in order.
    """

    old: str
    new: str
    git: bool = False
    extended: tuple[tuple[str, str], ...] = ()
    binary: bool = False
    apart: bool = field(default=False, compare=False)
    hunks: tuple[Hunk, ...] = field(default=(), repr=False)

    @property
    def moves(self) -> bool:
        """Whether the file is renamed or copied."""
        return any(key.endswith(" from") for key, _ in self.extended)

    def render(self, old: str, new: str) -> bytes:
        """The diff with other names, in git's format, for `patch -p1`."""
        lines: list[bytes] = []
        if self.git:
            lines.append(f"diff --git a/{old or new} b/{new or old}".encode())
            names = {"from": old, "to": new}
            for key, value in self.extended:
                lines.append(f"{key} {names.get(key.split()[-1], value)}".encode())
        if self.hunks:
            lines.append(f"--- a/{old}".encode() if old else b"--- /dev/null")
            lines.append(f"+++ b/{new}".encode() if new else b"+++ /dev/null")
        for hunk in self.hunks:
            lines += hunk.lines
        return b"\n".join(lines) + b"\n"


def parse(text: bytes, name: str) -> list[FileDiff]:
    """Parse the changes of a diff, which may have other text around them.

    Args:
        text: the diff.
        name: the diff's name in errors.

    Raises:
        ConfigurationError: a change is incomplete; the error names the line.
    """
    found = _Parser(text, name).files()
    if not found and _NORMAL_DIFF.search(text):
        raise ConfigurationError(
            f"{name}: a diff without context cannot be applied safely",
            todo="make a unified one: git diff, or diff -u",
        )
    return found


def has_diff(text: bytes) -> bool:
    """Whether a text has anything that looks like a change, complete or not."""
    return re.search(
        rb"^(@@ -\d|diff --(git|cc|combined) |\*{15}$|@@@ -|GIT binary patch)", text, re.M
    ) is not None or bool(_NORMAL_DIFF.search(text))


class _Parser:
    """Parses the lines of a diff in one pass."""

    def __init__(self, text: bytes, name: str) -> None:
        self._lines = text.split(b"\n")
        self._name = name
        self._at = 0

    def files(self) -> list[FileDiff]:
        found: list[FileDiff] = []
        apart = False
        while self._at < len(self._lines):
            diff = self._file()
            if diff is None:
                apart = apart or bool(self._here().strip())
                self._check_text()
                self._at += 1
            else:
                found.append(replace(diff, apart=apart))
                apart = False
        return found

    def _file(self) -> FileDiff | None:
        """Parse the change of a file, if one starts here."""
        line = self._here()
        if line.startswith(b"diff --git "):
            return self._git()
        if self._is_header():
            return self._plain()
        if line.startswith(b"Binary files ") and line.endswith(b" differ"):
            return self._binary(line)
        return None

    def _check_text(self) -> None:
        """Refuse a line outside of all changes that looks like a part of one."""
        line = self._here()
        if _HUNK.match(line):
            raise self._wrong("a hunk that belongs to no file")
        if _HALF_HUNK.match(line):
            raise self._wrong("a hunk's header that is not whole: wrapped, or edited by hand")
        if line.startswith(b"--- ") and self._here(1).startswith(b"+++ "):
            raise self._wrong("a file without its hunks")
        for pattern, what in _OTHER_FORMATS:
            if pattern.match(line):
                raise self._wrong(f"{what} is not all of a change")

    def _is_header(self) -> bool:
        """Whether the two names of a file and a hunk come next."""
        first, second, third = [*self._lines[self._at : self._at + 3], b"", b"", b""][:3]
        return first.startswith(b"--- ") and second.startswith(b"+++ ") and bool(_HUNK.match(third))

    def _git(self) -> FileDiff:
        line = self._lines[self._at]
        named = _GIT.match(line)
        if named is None or b'"' in line:
            raise self._wrong("names with blanks or quotes are not read")
        self._at += 1
        extended: list[tuple[str, str]] = []
        while match := _EXTENDED.match(self._here()):
            extended.append((match[1].decode(), match[2].decode(errors="replace").strip()))
            self._at += 1
        keys = dict(extended)
        if any(value.endswith("160000") for value in keys.values()):
            raise self._wrong("a submodule's commit is not a change of the tree's files")
        old, new = named[1].decode(errors="replace"), named[2].decode(errors="replace")
        diff = FileDiff(
            "" if "new file mode" in keys else old,
            "" if "deleted file mode" in keys else new,
            git=True,
            extended=tuple(extended),
        )
        if self._here().startswith((b"GIT binary patch", b"Binary files ")):
            self._at += 1
            return replace(diff, binary=True)
        if self._is_header():
            self._at += 2
            return replace(diff, hunks=self._hunks())
        if self._here().startswith(b"--- ") and self._here(1).startswith(b"+++ "):
            raise self._wrong("a file without its hunks")
        if not extended:
            raise self._wrong("a file without a change")
        if set(keys) <= {"index", "similarity index"}:
            raise self._wrong("a file without its hunks")
        return diff

    def _plain(self) -> FileDiff:
        old_line, new_line = self._here()[4:], self._here(1)[4:]
        self._at += 2
        hunks = self._hunks()
        old, new = _name(old_line), _name(new_line)
        if _EPOCH.search(old_line) and re.match(rb"@@ -0(,0)? ", hunks[0].lines[0]):
            old = ""
        if _EPOCH.search(new_line) and re.match(rb"@@ -\S+ \+0(,0)? ", hunks[0].lines[0]):
            new = ""
        if not old and not new:
            raise self._wrong("a change of no file")
        return FileDiff(old, new, hunks=hunks)

    def _binary(self, line: bytes) -> FileDiff:
        names = re.match(rb"Binary files (\S+) and (\S+) differ$", line)
        if names is None:
            raise self._wrong("a binary change without names")
        self._at += 1
        return FileDiff(_name(names[1]), _name(names[2]), binary=True)

    def _hunks(self) -> tuple[Hunk, ...]:
        hunks: list[Hunk] = []
        while match := _HUNK.match(self._here()):
            hunks.append(self._hunk(match))
        return tuple(hunks)

    def _hunk(self, header: re.Match[bytes]) -> Hunk:
        """Parse one hunk, of the length that its header gives."""
        lines = [self._here()]
        old, new = (1 if count is None else int(count) for count in header.group(2, 4))
        self._at += 1
        if self._here()[:1] not in b" +-\\" and header.string[header.end() :].strip():
            # The function's name after a header is not needed; a mailer may have wrapped it.
            self._at += 1
        while old > 0 or new > 0:
            line = self._here()
            kind = line[:1] or b" "
            if self._at >= len(self._lines) or (not line and self._at == len(self._lines) - 1):
                raise self._wrong("it ends within a hunk")
            if kind not in b" +-\\":
                raise self._wrong("not a line of a hunk: wrapped by a mailer, or edited by hand")
            old -= kind in b" -"
            new -= kind in b" +"
            lines.append(line or b" ")
            self._at += 1
        if old or new:
            raise self._wrong("the hunk before it does not have the lines that its header says")
        if self._here().startswith(b"\\ "):
            lines.append(self._here())
            self._at += 1
        self._check_over()
        return Hunk(tuple(lines), int(header[1]))

    def _check_over(self) -> None:
        """Refuse lines after a hunk that may belong to it, which `patch` would take for text."""
        why = (
            "it follows on a hunk that is over: wrapped by a mailer, or the hunk has more lines"
            " than its header says"
        )
        if not _AFTER_HUNK.match(self._here()):
            raise self._wrong(why)
        # Editors and mailers remove the blank of an empty context line.
        ahead = 0
        while self._at + ahead < len(self._lines) and self._here(ahead)[:1] in (b"", b" ", b"\t"):
            ahead += 1
        if ahead and _CHANGED.match(self._here(ahead)):
            self._at += ahead
            raise self._wrong(why)

    def _here(self, ahead: int = 0) -> bytes:
        at = self._at + ahead
        return self._lines[at] if at < len(self._lines) else b""

    def _wrong(self, what: str) -> ConfigurationError:
        at = min(self._at, len(self._lines) - 1)
        return ConfigurationError(
            f"{self._name}: line {at + 1}: {what}",
            tried=self._lines[at].decode(errors="replace")[:100],
            todo="give it as `git format-patch` or `git diff` writes it, unchanged by a mailer",
        )


def _name(text: bytes) -> str:
    """A file's name without the time after it; empty for no file."""
    name = re.split(rb"\t| +\d{4}-\d\d-\d\d \d\d:", text)[0].strip().decode(errors="replace")
    return "" if name == "/dev/null" else name
