# SPDX-License-Identifier: MIT
"""`--xen-source=FOLDER`: copies a folder as it is now, without the output of builds."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.process import run
from pytest_xenscrub.hypervisor.source_job import DIGEST_LENGTH, Job
from pytest_xenscrub.hypervisor.tree import SourceTree, describe_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

# Output of builds in a folder that is used for development, which is not source.
_LEFTOVERS = re.compile(
    r"^(\.git|.*\.o|.*\.o\.(cmd|d2?)|\..*\.(cmd|d2?)|\.config(\.old)?|xen-syms.*|xen\.(gz|efi.*)"
    r"|\.xen.*|autoconf\.h|auto\.conf.*|compile\.h|asm-offsets\.[hs]|.*\.(rej|orig))$"
)


def folder_tree(job: Job, path: Path) -> SourceTree:
    """A copy of a folder as it is now, without the output of builds."""
    if not (path / "xen" / "Makefile").is_file():
        describe_tree(path, spec=job.spec, origin="", digest="")
    job.update(f"reading {path}")
    try:
        files = list(_source_files(path))
        digest = _digest_of(path, files)
    except OSError as error:
        raise ConfigurationError(
            f"--xen-source={job.spec} cannot be read: {error.strerror}",
            tried=str(error.filename),
            todo="check who owns it and its mode, or give a copy",
        ) from None
    with job.cache.lock("source", f"folder-{digest}", deadline=job.deadline) as target:
        if not target.is_dir():
            with job.cache.scratch("folder") as scratch:
                for name in files:
                    copy = scratch / "tree" / name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path / name, copy, follow_symlinks=False)
                (scratch / "tree").rename(target)
    notes = tuple(_folder_notes(path))
    origin = _commit_of(job, path) or str(path.absolute())
    return describe_tree(target, spec=job.spec, origin=origin, digest=digest, notes=notes)


def _commit_of(job: Job, path: Path) -> str:
    """The commit that is checked out there, `+` behind it where files are changed; else nothing."""
    if not (path / ".git").exists() or not shutil.which("git"):
        return ""
    git = ["git", "-C", str(path)]
    status, commit = run([*git, "rev-parse", "--verify", "HEAD"], deadline=job.deadline)
    if status:
        return ""  # no commit yet, or a folder of somebody else's
    status, changes = run(
        [*git, "status", "--porcelain", "--untracked-files=no"], deadline=job.deadline
    )
    return f"git {commit.strip()[:12]}{'+' if status or changes.strip() else ''}"


def _folder_notes(path: Path) -> Iterator[str]:
    """Notes on a `.config` in the folder, which is not used, and on rejected hunks."""
    if (path / "xen" / ".config").is_file():
        yield f"{path}: its xen/.config is not used; --xen-config=KEY=VALUE sets options"
    rejects = sorted(str(file.relative_to(path)) for file in path.rglob("*.rej"))
    if rejects:
        yield f"{path}: rejected hunks of a patch lie in it: {', '.join(rejects[:4])}"


def _source_files(top: Path) -> list[str]:
    """Paths, relative to `top` and sorted, of all files that are not output of a build."""
    found = []
    for folder, folders, files in os.walk(top, onerror=_raise):
        folders[:] = [name for name in folders if not _LEFTOVERS.match(name)]
        here = Path(folder)
        # A link to a folder counts as a file, but os.walk() lists it among the folders.
        links = [name for name in folders if (here / name).is_symlink()]
        found += [
            str((here / name).relative_to(top))
            for name in [*files, *links]
            if not _LEFTOVERS.match(name)
        ]
    return sorted(found)


def _raise(error: OSError) -> None:
    """Raise errors of `os.walk`, which would otherwise skip unreadable folders."""
    raise error


def _digest_of(top: Path, files: list[str]) -> str:
    """Digest of the content of some files: paths, modes, bytes and link targets."""
    digest = hashlib.sha256()
    for name in files:
        path = top / name
        digest.update(f"{name}\0{path.lstat().st_mode}\0".encode())
        if path.is_symlink():
            digest.update(str(path.readlink()).encode())
        elif path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_LENGTH]
