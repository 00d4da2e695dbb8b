# SPDX-License-Identifier: MIT
"""`--xen-source=SPEC`: turns what the user names into a pristine tree in the cache.

The named source is only read; builds use copies of the tree in the cache.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.git import git_or_raise, is_sha, resolve
from pytest_xenscrub.hypervisor.process import need
from pytest_xenscrub.hypervisor.source_debian import DEBIAN, debian_tree, kept_debian
from pytest_xenscrub.hypervisor.source_folder import folder_tree
from pytest_xenscrub.hypervisor.source_job import DIGEST_LENGTH, Job
from pytest_xenscrub.hypervisor.tree import SourceTree, describe_tree
from pytest_xenscrub.option_paths import is_no_path, path_of
from pytest_xenscrub.telling import Update, quiet

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.cache import Cache


def resolve_source(
    spec: str, *, cache: Cache, deadline: Deadline, update: Update = quiet
) -> SourceTree:
    """The tree that SPEC names, from the cache if it is there.

    Args:
        spec: `debian` or `debian=VERSION`; a folder; a repository, path or URL, with `#REV`; or a
            tarball.
        cache: keeps the trees.
        deadline: limit.
        update: gets a line on what is being done.

    Raises:
        ConfigurationError: SPEC is invalid, or does not name a Xen tree.
        InfrastructureError: the tree could not be fetched.
        MissingToolError: a program that fetches it is not installed.
    """
    job = Job(spec, cache, deadline, update)
    if spec == DEBIAN or spec.startswith(f"{DEBIAN}="):
        return debian_tree(job)
    if _names_git(spec):
        repository, _, revision = spec.partition("#")
        return _git(job, repository, revision or "HEAD")
    path = path_of(spec)
    if path.is_dir():
        if (path / "HEAD").is_file() and (path / "objects").is_dir():
            return _git(job, str(path), "HEAD")
        return folder_tree(job, path)
    if path.is_file():
        return _tarball(job, path)
    raise ConfigurationError(
        f"--xen-source={spec}: no such folder or file",
        tried=str(path.absolute()),
        todo="give `debian`, a folder, a git repository as PATH#REV or URL#REV, or a tarball",
    )


def programs_for(spec: str, cache: Cache) -> tuple[str, ...]:
    """The programs that are needed to fetch what SPEC names."""
    if spec == DEBIAN or spec.startswith(f"{DEBIAN}="):
        kept = kept_debian(cache, spec.partition("=")[2])
        return (("dpkg",) if len(kept) > 1 else ()) if kept else ("apt-get", "dpkg", "dpkg-source")
    path = path_of(spec)
    bare = (path / "HEAD").is_file() and (path / "objects").is_dir()
    return ("git",) if _names_git(spec) or bare else ()


def is_remote(spec: str, cache: Cache) -> bool:
    """Whether fetching what SPEC names needs a network."""
    if spec == DEBIAN or spec.startswith(f"{DEBIAN}="):
        return not kept_debian(cache, spec.partition("=")[2])
    return _names_git(spec) and not Path(spec.partition("#")[0]).expanduser().is_dir()


def _names_git(spec: str) -> bool:
    return "#" in spec or is_no_path(spec)


def _git(job: Job, repository: str, revision: str) -> SourceTree:
    """Fetch one commit of a repository, without adding a worktree or objects to the repository."""
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


def _commit(job: Job, repository: Path, revision: str) -> SourceTree:
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


def _tarball(job: Job, path: Path) -> SourceTree:
    """The tree in a tarball, below its single top folder, as in release tarballs."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]
    with job.cache.lock("source", f"tar-{digest}", deadline=job.deadline) as target:
        if not target.is_dir():
            with job.cache.scratch("tar") as scratch:
                job.update(f"unpacking {path.name}")
                tree = _unpack(job.spec, path, scratch / "tree")
                # Checked before it is kept, so that the cache never has anything but Xen trees.
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
            raise  # an error of the cache, not of the tarball
        raise ConfigurationError(
            f"--xen-source={spec} could not be unpacked: {error}",
            tried=str(archive),
            todo="give a .tar, .tar.gz, .tar.bz2 or .tar.xz of a Xen tree",
        ) from error
    below = list(into.iterdir())
    if len(below) == 1 and below[0].is_dir() and below[0].name != "xen":
        return below[0]
    return into
