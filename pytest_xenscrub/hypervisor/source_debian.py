# SPDX-License-Identifier: MIT
"""`--xen-source=debian`: fetches Debian's source package `xen` with a private apt."""

from __future__ import annotations

import functools
import hashlib
import shutil
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.hypervisor.apt import PrivateApt
from pytest_xenscrub.hypervisor.process import need, run
from pytest_xenscrub.hypervisor.source_job import DIGEST_LENGTH, Job
from pytest_xenscrub.hypervisor.tree import SourceTree, describe_tree

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.cache import Cache

DEBIAN = "debian"


def kept_debian(cache: Cache, wanted: str) -> list[Path]:
    """The cache's trees of Debian, of all versions or of the wanted one."""
    return [path.parent for path in cache.path("source").glob(f"debian-{wanted or '*'}/xen")]


def debian_tree(job: Job) -> SourceTree:
    """Debian's source package `xen`, in the newest version that the mirror really has."""
    wanted = job.spec.partition("=")[2]
    with job.cache.lock("source", DEBIAN, deadline=job.deadline):
        if kept := {_version_of(path): path for path in kept_debian(job.cache, wanted)}:
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
        f"no source package of Xen was found for --xen-source={job.spec}",
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
    """Sort Debian versions as dpkg does, for which `4.20.0~rc1-1` is older than `4.20.0-1`.

    Raises:
        MissingToolError: dpkg is not installed.
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
