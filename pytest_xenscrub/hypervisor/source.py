# SPDX-License-Identifier: MIT
"""`--xen-source=SPEC`: from what the user names to a pristine tree in the cache.

Whatever is named is only read; builds happen in copies of the tree that is kept here.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import lzma
import os
import re
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor.apt import PrivateApt
from pytest_xenscrub.hypervisor.git import git_or_raise, is_sha, resolve
from pytest_xenscrub.hypervisor.process import need, run
from pytest_xenscrub.hypervisor.tree import SourceTree, describe_tree
from pytest_xenscrub.option_paths import is_no_path, path_of
from pytest_xenscrub.telling import Update, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.cache import Cache

DEBIAN = "debian"
DIGEST_LENGTH = 20

# What a build leaves behind in a folder that is used for development; none of it is source.
_LEFTOVERS = re.compile(
    r"^(\.git|.*\.o|.*\.o\.(cmd|d2?)|\..*\.(cmd|d2?)|\.config(\.old)?|xen-syms.*|xen\.(gz|efi.*)"
    r"|\.xen.*|autoconf\.h|auto\.conf.*|compile\.h|asm-offsets\.[hs]|.*\.(rej|orig))$"
)


@dataclass(frozen=True)
class _Job:
    """What is asked for and what there is to do it with, handed to the code of each kind."""

    spec: str
    cache: Cache
    deadline: Deadline
    update: Update


def resolve_source(
    spec: str, *, cache: Cache, deadline: Deadline, update: Update = quiet
) -> SourceTree:
    """The tree that SPEC means, from the cache where it is there already.

    Args:
        spec: `debian` or `debian=VERSION`; a folder; a repository, path or URL, with `#REV`; or
            a tarball.
        cache: where trees are kept.
        deadline: until when it must be there.
        update: told what is being done.

    Raises:
        ConfigurationError: SPEC means nothing, or not a Xen tree.
        InfrastructureError: the tree could not be had.
        MissingToolError: a program that is needed to get it is missing.
    """
    job = _Job(spec, cache, deadline, update)
    if spec == DEBIAN or spec.startswith(f"{DEBIAN}="):
        return _debian(job)
    if _names_git(spec):
        repository, _, revision = spec.partition("#")
        return _git(job, repository, revision or "HEAD")
    path = path_of(spec)
    if path.is_dir():
        if (path / "HEAD").is_file() and (path / "objects").is_dir():
            return _git(job, str(path), "HEAD")
        return _folder(job, path)
    if path.is_file():
        return _tarball(job, path)
    raise ConfigurationError(
        f"--xen-source={spec}: no such folder or file",
        tried=str(path.absolute()),
        todo="give `debian`, a folder, a git repository as PATH#REV or URL#REV, or a tarball",
    )


def programs_for(spec: str, cache: Cache) -> tuple[str, ...]:
    """The programs that are needed to get what SPEC means."""
    if spec == DEBIAN or spec.startswith(f"{DEBIAN}="):
        kept = _kept_debian(cache, spec.partition("=")[2])
        return (("dpkg",) if len(kept) > 1 else ()) if kept else ("apt-get", "dpkg", "dpkg-source")
    path = path_of(spec)
    bare = (path / "HEAD").is_file() and (path / "objects").is_dir()
    return ("git",) if _names_git(spec) or bare else ()


def is_remote(spec: str, cache: Cache) -> bool:
    """Whether getting what SPEC means takes a network."""
    if spec == DEBIAN or spec.startswith(f"{DEBIAN}="):
        return not _kept_debian(cache, spec.partition("=")[2])
    return _names_git(spec) and not Path(spec.partition("#")[0]).expanduser().is_dir()


def _names_git(spec: str) -> bool:
    return "#" in spec or is_no_path(spec)


def _kept_debian(cache: Cache, wanted: str) -> list[Path]:
    """The cache's trees of Debian's, all versions or the one wanted."""
    return [path.parent for path in cache.path("source").glob(f"debian-{wanted or '*'}/xen")]


def _debian(job: _Job) -> SourceTree:
    """Debian's source package `xen`: the newest version that the mirror really has."""
    wanted = job.spec.partition("=")[2]
    with job.cache.lock("source", DEBIAN, deadline=job.deadline):
        if kept := {_version_of(path): path for path in _kept_debian(job.cache, wanted)}:
            newest = newest_first(list(kept), deadline=job.deadline)[0]
            return _described_debian(job.spec, kept[newest], ())
        with job.cache.scratch("debian") as scratch:
            apt = PrivateApt(scratch / "apt")
            job.update("asking apt for Xen's source package")
            apt.update(deadline=job.deadline)
            versions = [v for v in apt.versions("xen", deadline=job.deadline) if wanted in ("", v)]
            versions = newest_first(versions, deadline=job.deadline)
            notes: list[str] = []
            for version in versions:
                files = scratch / "files"
                shutil.rmtree(files, ignore_errors=True)
                files.mkdir()
                job.update(f"fetching Xen {version}")
                dsc, said = apt.download("xen", version, files, deadline=job.deadline)
                if dsc is None:
                    notes.append(f"Debian's xen {version}: in the index, not on the mirror\n{said}")
                    continue
                argv = ["dpkg-source", "--no-check", "-x", str(dsc), str(scratch / "tree")]
                status, output = run(argv, deadline=job.deadline)
                if status:
                    raise InfrastructureError(
                        f"Debian's xen {version} could not be unpacked",
                        tried=" ".join(argv),
                        evidence={"dpkg-source": output[-1000:]},
                    )
                target = job.cache.path("source", f"debian-{version}")
                (scratch / "tree").rename(target)
                return _described_debian(job.spec, target, tuple(notes))
    raise InfrastructureError(
        f"no source package of Xen could be had for --xen-source={job.spec}",
        tried=f"apt-get source xen, versions: {', '.join(versions) or 'none in the index'}",
        todo="give --xen-source a folder, a git repository or a tarball",
        evidence={"apt": "\n".join(notes)},
    )


def _described_debian(spec: str, path: Path, notes: tuple[str, ...]) -> SourceTree:
    version = _version_of(path)
    digest = hashlib.sha256(path.name.encode()).hexdigest()[:DIGEST_LENGTH]
    return describe_tree(path, spec=spec, origin=f"Debian {version}", digest=digest, notes=notes)


def _version_of(tree: Path) -> str:
    return tree.name.removeprefix("debian-")


def newest_first(versions: list[str], *, deadline: Deadline) -> list[str]:
    """Debian versions in dpkg's own order, in which `4.20.0~rc1-1` is older than `4.20.0-1`.

    Raises:
        MissingToolError: there is no dpkg.
    """

    def compare(one: str, other: str) -> int:
        for operator, order in (("lt", -1), ("gt", 1)):
            argv = ["dpkg", "--compare-versions", one, operator, other]
            if run(argv, deadline=deadline)[0] == 0:
                return order
        return 0

    if len(versions) > 1:
        need("dpkg", purpose="--xen-source=debian")
    return sorted(versions, key=functools.cmp_to_key(compare), reverse=True)


def _git(job: _Job, repository: str, revision: str) -> SourceTree:
    """One commit of a repository; the repository itself gets no worktree and no new object."""
    need("git", purpose=f"--xen-source={job.spec}")
    local = Path(repository) if is_no_path(repository) else path_of(repository)
    if local.is_dir():
        return _commit(job, local, revision)
    name = hashlib.sha256(repository.encode()).hexdigest()[:DIGEST_LENGTH]
    with job.cache.lock("git", name, deadline=job.deadline) as clone:
        if not clone.is_dir():
            with job.cache.scratch("clone") as scratch:
                job.update(f"cloning {repository}")
                argv = ["git", "clone", "-q", "--bare", "--", repository, str(scratch / "clone")]
                git_or_raise(argv, f"{repository} could not be cloned", job.deadline)
                (scratch / "clone").rename(clone)
        elif resolve(clone, revision, job.deadline) is None or not is_sha(revision):
            job.update(f"fetching {repository}")
            argv = ["git", "-C", str(clone), "fetch", "-q", "--tags", "origin", "+refs/*:refs/*"]
            git_or_raise(argv, f"{repository} could not be fetched", job.deadline)
        return _commit(job, clone, revision)


def _commit(job: _Job, repository: Path, revision: str) -> SourceTree:
    """Unpack one commit into the cache."""
    commit = resolve(repository, revision, job.deadline)
    if commit is None:
        raise ConfigurationError(
            f"--xen-source={job.spec}: the repository has no revision {revision}",
            tried=f"git -C {repository} rev-parse {revision}",
            todo="give a branch, tag or commit that is there after the #",
        )
    with job.cache.lock("source", f"git-{commit}", deadline=job.deadline) as target:
        if not target.is_dir():
            with job.cache.scratch("git") as scratch:
                job.update(f"unpacking {commit[:12]}")
                archive = scratch / "tree.tar"
                argv = ["git", "-C", str(repository), "archive", f"--output={archive}", commit]
                git_or_raise(argv, f"{commit} could not be unpacked", job.deadline)
                _unpack(job.spec, archive, scratch / "tree")
                (scratch / "tree").rename(target)
    return describe_tree(
        target, spec=job.spec, origin=f"git {commit[:12]}", digest=commit[:DIGEST_LENGTH]
    )


def _folder(job: _Job, path: Path) -> SourceTree:
    """A copy of a folder as it is now, what builds have left in it apart."""
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
    origin = str(path.absolute())
    return describe_tree(target, spec=job.spec, origin=origin, digest=digest, notes=notes)


def _folder_notes(path: Path) -> Iterator[str]:
    """What a user may take for part of a tree, and what looks like half of a patch."""
    if (path / "xen" / ".config").is_file():
        yield f"{path}: its xen/.config is not used; --xen-config=KEY=VALUE sets options"
    rejects = sorted(str(file.relative_to(path)) for file in path.rglob("*.rej"))
    if rejects:
        yield f"{path}: rejected hunks of a patch lie in it: {', '.join(rejects[:4])}"


def _source_files(top: Path) -> list[str]:
    """Paths, relative to `top` and sorted, of everything that is not a build's leftover."""
    found = []
    for folder, folders, files in os.walk(top, onerror=_raise):
        folders[:] = [name for name in folders if not _LEFTOVERS.match(name)]
        here = Path(folder)
        # A link to a folder is content of its own, and os.walk() lists it among the folders.
        links = [name for name in folders if (here / name).is_symlink()]
        found += [
            str((here / name).relative_to(top))
            for name in [*files, *links]
            if not _LEFTOVERS.match(name)
        ]
    return sorted(found)


def _raise(error: OSError) -> None:
    """For `os.walk`, which passes over folders that it may not read."""
    raise error


def _digest_of(top: Path, files: list[str]) -> str:
    """Names the content of some files: paths, modes, bytes and link targets."""
    digest = hashlib.sha256()
    for name in files:
        path = top / name
        digest.update(f"{name}\0{path.lstat().st_mode}\0".encode())
        if path.is_symlink():
            digest.update(str(path.readlink()).encode())
        elif path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_LENGTH]


def _tarball(job: _Job, path: Path) -> SourceTree:
    """The tree in a tarball, below the one top folder that release tarballs have."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]
    with job.cache.lock("source", f"tar-{digest}", deadline=job.deadline) as target:
        if not target.is_dir():
            with job.cache.scratch("tar") as scratch:
                job.update(f"unpacking {path.name}")
                tree = _unpack(job.spec, path, scratch / "tree")
                # Checked before it is kept: what is no Xen tree must not be found here later.
                describe_tree(tree, spec=job.spec, origin="", digest=digest)
                tree.rename(target)
    return describe_tree(target, spec=job.spec, origin=path.name, digest=digest)


def _unpack(spec: str, archive: Path, into: Path) -> Path:
    """Unpack a tarball and return the folder that has `xen/` in it."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(into, filter="tar")
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # of the cache, and not of the tarball
        raise ConfigurationError(
            f"--xen-source={spec} could not be unpacked: {error}",
            tried=str(archive),
            todo="give a .tar, .tar.gz, .tar.bz2 or .tar.xz of a Xen tree",
        ) from error
    below = list(into.iterdir())
    if len(below) == 1 and below[0].is_dir() and below[0].name != "xen":
        return below[0]
    return into
