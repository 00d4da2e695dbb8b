# SPDX-License-Identifier: MIT
"""`--xen-source=SPEC`: from what the user names to a pristine tree in the cache.

Whatever is named is only read; builds happen in copies of the tree that is kept here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor.apt import PrivateApt
from pytest_xenscrub.hypervisor.process import Progress, need, quiet, run
from pytest_xenscrub.hypervisor.tree import SourceTree, describe_tree

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
    progress: Progress


def resolve_source(
    spec: str, *, cache: Cache, deadline: Deadline, progress: Progress = quiet
) -> SourceTree:
    """The tree that SPEC means, from the cache where it is there already.

    Args:
        spec: `debian` or `debian=VERSION`; a folder; a repository, path or URL, with `#REV`; or
            a tarball.
        cache: where trees are kept.
        deadline: until when it must be there.
        progress: told what is being done.

    Raises:
        ConfigurationError: SPEC means nothing, or not a Xen tree.
        InfrastructureError: the tree could not be had.
        MissingToolError: a program that is needed to get it is missing.
    """
    job = _Job(spec, cache, deadline, progress)
    if spec == DEBIAN or spec.startswith(f"{DEBIAN}="):
        return _debian(job)
    if "#" in spec or re.match(r"(\w+://|\w+@[\w.-]+:)", spec):
        repository, _, revision = spec.partition("#")
        return _git(job, repository, revision or "HEAD")
    path = Path(spec).expanduser()
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


def _debian(job: _Job) -> SourceTree:
    """Debian's source package `xen`: the newest version that the mirror really has."""
    wanted = job.spec.partition("=")[2]
    with job.cache.lock("source", DEBIAN, deadline=job.deadline):
        kept = sorted(job.cache.path("source").glob(f"debian-{wanted or '*'}/xen"))
        if kept:
            return _described_debian(job.spec, kept[-1].parent, ())
        with job.cache.scratch("debian") as scratch:
            apt = PrivateApt(scratch / "apt")
            job.progress("asking apt for Xen's source package")
            apt.update(deadline=job.deadline)
            versions = [v for v in apt.versions("xen", deadline=job.deadline) if wanted in ("", v)]
            versions.sort(key=_version_key, reverse=True)
            notes: list[str] = []
            for version in versions:
                files = scratch / "files"
                shutil.rmtree(files, ignore_errors=True)
                files.mkdir()
                job.progress(f"fetching Xen {version}")
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
    version = path.name.removeprefix("debian-")
    digest = hashlib.sha256(path.name.encode()).hexdigest()[:DIGEST_LENGTH]
    return describe_tree(path, spec=spec, origin=f"Debian {version}", digest=digest, notes=notes)


def _version_key(version: str) -> list[tuple[int, str]]:
    """Orders Debian versions of one package well enough to try the newest first."""
    return [(int(n or 0), text) for text, n in re.findall(r"(\D*)(\d*)", version)]


def _git(job: _Job, repository: str, revision: str) -> SourceTree:
    """One commit of a repository; the repository itself gets no worktree and no new object."""
    need("git", purpose=f"--xen-source={job.spec}")
    local = Path(repository).expanduser()
    if local.is_dir():
        return _commit(job, local, revision)
    name = hashlib.sha256(repository.encode()).hexdigest()[:DIGEST_LENGTH]
    with job.cache.lock("git", name, deadline=job.deadline) as clone:
        if not clone.is_dir():
            with job.cache.scratch("clone") as scratch:
                job.progress(f"cloning {repository}")
                argv = ["git", "clone", "-q", "--bare", "--", repository, str(scratch / "clone")]
                _git_or_raise(argv, f"{repository} could not be cloned", job.deadline)
                (scratch / "clone").rename(clone)
        elif _resolve(clone, revision, job.deadline) is None or not _is_sha(revision):
            job.progress(f"fetching {repository}")
            argv = ["git", "-C", str(clone), "fetch", "-q", "--tags", "origin", "+refs/*:refs/*"]
            _git_or_raise(argv, f"{repository} could not be fetched", job.deadline)
        return _commit(job, clone, revision)


def _commit(job: _Job, repository: Path, revision: str) -> SourceTree:
    """Unpack one commit into the cache."""
    commit = _resolve(repository, revision, job.deadline)
    if commit is None:
        raise ConfigurationError(
            f"--xen-source={job.spec}: the repository has no revision {revision}",
            tried=f"git -C {repository} rev-parse {revision}",
            todo="give a branch, tag or commit that is there after the #",
        )
    with job.cache.lock("source", f"git-{commit}", deadline=job.deadline) as target:
        if not target.is_dir():
            with job.cache.scratch("git") as scratch:
                job.progress(f"unpacking {commit[:12]}")
                archive = scratch / "tree.tar"
                argv = ["git", "-C", str(repository), "archive", f"--output={archive}", commit]
                _git_or_raise(argv, f"{commit} could not be unpacked", job.deadline)
                _unpack(job.spec, archive, scratch / "tree")
                (scratch / "tree").rename(target)
    return describe_tree(
        target, spec=job.spec, origin=f"git {commit[:12]}", digest=commit[:DIGEST_LENGTH]
    )


def _resolve(repository: Path, revision: str, deadline: Deadline) -> str | None:
    """The commit that a revision names, in the branches of the origin too."""
    for name in (revision, f"origin/{revision}"):
        argv = ["git", "-C", str(repository), "rev-parse", "-q", "--verify", f"{name}^{{commit}}"]
        status, output = run(argv, deadline=deadline)
        if status == 0:
            return output.strip()
    return None


def _is_sha(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{7,40}", revision) is not None


def _git_or_raise(argv: list[str], what: str, deadline: Deadline) -> None:
    status, output = run(argv, deadline=deadline, env={"GIT_TERMINAL_PROMPT": "0"})
    if status:
        raise InfrastructureError(
            what, tried=" ".join(argv), evidence={"git": output[-1000:]}, todo="check the address"
        )


def _folder(job: _Job, path: Path) -> SourceTree:
    """A copy of a folder as it is now, what builds have left in it apart."""
    if not (path / "xen" / "Makefile").is_file():
        describe_tree(path, spec=job.spec, origin="", digest="")
    job.progress(f"reading {path}")
    files = list(_source_files(path))
    digest = _digest_of(path, files)
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
    for folder, folders, files in os.walk(top):
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
                job.progress(f"unpacking {path.name}")
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
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ConfigurationError(
            f"--xen-source={spec} could not be unpacked: {error}",
            tried=str(archive),
            todo="give a .tar, .tar.gz, .tar.bz2 or .tar.xz of a Xen tree",
        ) from error
    below = list(into.iterdir())
    if len(below) == 1 and below[0].is_dir() and below[0].name != "xen":
        return below[0]
    return into
