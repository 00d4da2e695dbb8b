# SPDX-License-Identifier: MIT
"""Applies one patch with GNU patch: every hunk at its place, or an error that says why not.

Allows no fuzz: a hunk that applies only if some of its context is ignored may land in the wrong
function, and the verdict would then be on a different Xen than the author's. A hunk may apply at
another line, which is reported.
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.patch.placing import PlacedFile, PlacedPatch

_SHOWN_LINES = 40
_EXECUTABLE = 0o100


@dataclass
class Patcher:
    """One patch to be applied to a tree.

    Attributes:
        variant: the variant's name, for errors.
        patch: the patch.
        tree: top of a copy of the tree.
        text: file to write the patch to.
        log: file that gets the output of `patch`.
        keep: folder for rejected hunks; made when there are any.
    """

    variant: str
    patch: PlacedPatch
    tree: Path
    text: Path
    log: Path
    keep: Path
    _before: dict[str, bytes | None] = field(default_factory=dict)

    def apply(self, deadline: Deadline) -> list[str]:
        """Apply the patch; gives notes for the user, a line each.

        Raises:
            ConfigurationError: a hunk does not apply, applies at several places, or was applied
                before.
        """
        self.text.write_bytes(self.patch.text)
        for each in self.patch.files:
            for path in filter(None, (each.old, each.new)):
                file = self.tree / path
                self._before[path] = file.read_bytes() if file.is_file() else None
        status, output = self._run("--forward", "--fuzz=0", deadline=deadline)
        if status:
            raise self._refused(output, deadline)
        self._check_done(output)
        for each in self.patch.files:
            self._check_context(each)
        return self._offsets(output)

    def _run(self, *options: str, deadline: Deadline) -> tuple[int, str]:
        return run(self._argv(*options), deadline=deadline, cwd=self.tree, log=self.log)

    def _argv(self, *options: str) -> list[str]:
        common = ("--batch", "--no-backup-if-mismatch", f"--input={self.text}")
        return ["patch", "-p1", *options, *common]

    # -- where it does not fit -----------------------------------------------------------------

    def _refused(self, output: str, deadline: Deadline) -> ConfigurationError:
        """Explain why the patch does not apply, after the tree was restored."""
        self.keep.mkdir(parents=True, exist_ok=True)
        hunks = []
        for reject in sorted(self.tree.rglob("*.rej")):
            name = str(reject.relative_to(self.tree)).replace("/", "_")
            shutil.copy(reject, self.keep / name)
            hunks.append(reject.read_text(encoding="utf-8", errors="replace"))
            reject.unlink()
        shutil.copy(self.text, self.keep)
        self._restore()
        what = f"variant {self.variant}: {self.patch.change.name}"
        if self._run("--reverse", "--force", "--fuzz=0", "--dry-run", deadline=deadline)[0] == 0:
            return ConfigurationError(
                f"{what} does not apply: this tree has it already",
                tried=" ".join(self._argv("--reverse", "--dry-run")),
                todo="a verdict on it would be one on the tree as it is: take it out, or use"
                " --xen-variant=stock, or a --xen-source without it",
            )
        todo = f"refresh it for this tree; log and rejected hunks are kept in {self.keep}"
        status, said = self._run("--forward", "--dry-run", deadline=deadline)
        if status == 0:
            fuzz = max((int(n) for n in re.findall(r"with fuzz (\d+)", said)), default=1)
            todo = f"with fuzz {fuzz} it would, which is a guess: {todo}"
        if damage := self.patch.change.damage:
            todo = f"{damage}: take the patch from an archive or `git format-patch`; {todo}"
        return ConfigurationError(
            f"{what} does not apply to this tree",
            tried=" ".join(self._argv("--forward", "--fuzz=0")),
            todo=todo,
            evidence={"patch": head(output), "hunk": head("\n".join(hunks))},
        )

    def _restore(self) -> None:
        for path, content in self._before.items():
            file = self.tree / path
            if content is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            elif file.is_file():
                file.unlink()

    def _check_context(self, each: PlacedFile) -> None:
        """Refuse hunks without context, which `patch` would apply at any line."""
        before = self._before.get(each.old)
        for number, hunk in enumerate(each.diff.hunks, 1):
            bare = not any(line.startswith(b" ") for line in hunk.lines[1:])
            if before and each.new and bare and hunk.old.strip() != before.strip():
                raise ConfigurationError(
                    f"variant {self.variant}: {self.patch.change.name}: hunk {number} of"
                    f" {each.path} has no context, so nothing tells whether its line is right",
                    todo="make it with context: git diff without -U0",
                )

    # -- where it does -------------------------------------------------------------------------

    def _check_done(self, output: str) -> None:
        """Check that `patch` understood and applied the part of each file."""
        done = len(re.findall(r"^patching (?:file|symbolic link) ", output, re.M))
        undone = [each.path for each in self.patch.files if not self._is_done(each)]
        if undone or done < len(self.patch.files):
            raise ConfigurationError(
                f"variant {self.variant}: {self.patch.change.name}: `patch` did not do all of it",
                tried=", ".join(undone) or f"{done} of {len(self.patch.files)} files",
                todo="make it with git diff --no-renames; GNU patch 2.7 or later is needed",
                evidence={"patch": head(output)},
            )

    def _is_done(self, each: PlacedFile) -> bool:
        keys = dict(each.diff.extended)
        new, old = self.tree / each.new, self.tree / each.old
        if each.new and not (new.exists() or new.is_symlink()):
            return False
        stays = each.copies or any(other.new == each.old for other in self.patch.files)
        if each.old and not stays and old.exists():
            return False
        if each.diff.moves and not each.diff.hunks and new.is_file():
            return new.read_bytes() == self._before[each.old]
        mode = keys.get("new mode") or keys.get("new file mode", "")
        if mode.startswith("100") and each.new:
            return bool(new.stat().st_mode & _EXECUTABLE) == bool(int(mode, 8) & _EXECUTABLE)
        return True

    def _offsets(self, output: str) -> list[str]:
        """Notes on hunks that applied at another line, which must be their only possible place."""
        moved: dict[str, dict[int, int]] = defaultdict(dict)
        path = ""
        for line in output.splitlines():
            if match := re.match(r"patching (?:file|symbolic link) '?([^' ]+)", line):
                path = match[1]
            elif match := re.match(r"Hunk #(\d+) succeeded at \d+ \(offset (-?\d+)", line):
                moved[path][int(match[1])] = int(match[2])
        for each in self.patch.files:
            self._check_unique(each, moved.get(each.new, {}))
        offsets = [offset for hunks in moved.values() for offset in hunks.values()]
        if not offsets:
            return []
        names = ", ".join(path.rpartition("/")[2] for path in list(moved)[:4])
        span = " to ".join(f"{n:+d}" for n in sorted({min(offsets), max(offsets)}))
        hunks = "hunk was" if len(offsets) == 1 else "hunks were"
        return [
            f"{self.patch.change.name}: {len(offsets)} {hunks} found {span} lines off ({names})"
        ]

    def _check_unique(self, each: PlacedFile, moved: dict[int, int]) -> None:
        """Refuse a moved hunk that fits elsewhere too, unless a unique hunk moved by as much."""
        before = self._before.get(each.old) or b""
        certain = {
            moved.get(number, 0)
            for number, hunk in enumerate(each.diff.hunks, 1)
            if _places(before, hunk.old) == 1
        }
        for number, hunk in enumerate(each.diff.hunks, 1):
            offset = moved.get(number, 0)
            places = _places(before, hunk.old)
            if offset and places > 1 and offset not in certain:
                raise ConfigurationError(
                    f"variant {self.variant}: {self.patch.change.name}: hunk {number} of"
                    f" {each.path} fits at {places} places, and at none of them by its line",
                    tried=f"line {hunk.start}, and {offset:+d} lines from there",
                    todo="refresh it for this tree, with more context: git diff -U10",
                )


def _places(text: bytes, lines: bytes) -> int:
    """The number of places in a text at which some lines are found."""
    count, at = 0, -1
    whole = b"\n" + text
    while (at := whole.find(b"\n" + lines, at + 1)) >= 0:
        count += 1
    return count


def head(text: str) -> str:
    """The beginning of a text, short enough for an error."""
    lines = text.strip().splitlines()
    more = [f"... {len(lines) - _SHOWN_LINES} more lines"] if len(lines) > _SHOWN_LINES else []
    return "\n".join(lines[:_SHOWN_LINES] + more)
