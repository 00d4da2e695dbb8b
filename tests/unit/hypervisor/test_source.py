# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor import source_folder
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.source_debian import newest_first

from .conftest import write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.hypervisor.cache import Cache


def git(folder: Path, *argv: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *argv], check=True, capture_output=True)


@pytest.fixture
def repository(tree: Path) -> Path:
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "one")
    git(tree, "tag", "one")
    (tree / "xen/common/page_alloc.c").write_text("two\n")
    git(tree, "commit", "-q", "-a", "-m", "two")
    return tree


def page_alloc(path: Path) -> str:
    return (path / "xen/common/page_alloc.c").read_text()


def test_folder_is_copied_without_leftovers(tree: Path, cache: Cache, deadline: Deadline) -> None:
    (tree / "xen/common/page_alloc.o").write_bytes(b"object")
    first = resolve_source(str(tree), cache=cache, deadline=deadline)
    assert first.path != tree
    assert not (first.path / "xen/common/page_alloc.o").exists()
    again = resolve_source(str(tree), cache=cache, deadline=deadline)
    assert (again.path, again.digest) == (first.path, first.digest)


def test_what_is_odd_in_a_folder_is_told(tree: Path, cache: Cache, deadline: Deadline) -> None:
    assert not resolve_source(str(tree), cache=cache, deadline=deadline).notes
    (tree / "xen/.config").write_text("CONFIG_DEBUG=y\n")
    (tree / "xen/common/page_alloc.c.rej").write_text("@@\n")
    for _ in range(2):  # copied, and from the cache
        config, rejects = resolve_source(str(tree), cache=cache, deadline=deadline).notes
        assert "xen/.config is not used" in config
        assert "lie in it: xen/common/page_alloc.c.rej" in rejects


def test_changed_folder_is_another_tree(tree: Path, cache: Cache, deadline: Deadline) -> None:
    first = resolve_source(str(tree), cache=cache, deadline=deadline)
    (tree / "xen/common/page_alloc.c").write_text("changed\n")
    second = resolve_source(str(tree), cache=cache, deadline=deadline)
    assert first.digest != second.digest
    assert page_alloc(first.path) != page_alloc(second.path)


def test_git_revision(repository: Path, cache: Cache, deadline: Deadline) -> None:
    found = resolve_source(f"{repository}#one", cache=cache, deadline=deadline)
    assert "free_domheap_pages" in page_alloc(found.path)
    assert page_alloc(repository) == "two\n"


def test_git_url_is_cloned_once_and_fetched_for_what_is_new(
    repository: Path, cache: Cache, deadline: Deadline
) -> None:
    url = f"file://{repository}"
    assert page_alloc(resolve_source(url, cache=cache, deadline=deadline).path) == "two\n"
    (repository / "xen/common/page_alloc.c").write_text("three\n")
    git(repository, "commit", "-q", "-a", "-m", "three")
    found = resolve_source(f"{url}#main", cache=cache, deadline=deadline)
    assert page_alloc(found.path) == "three\n"


def test_git_revision_that_is_not_there(repository: Path, cache: Cache, deadline: Deadline) -> None:
    with pytest.raises(ConfigurationError, match="no revision nonesuch"):
        resolve_source(f"{repository}#nonesuch", cache=cache, deadline=deadline)


def test_git_that_cannot_be_cloned(tmp_path: Path, cache: Cache, deadline: Deadline) -> None:
    with pytest.raises(InfrastructureError, match="could not be cloned"):
        resolve_source(f"file://{tmp_path}/nothing#x", cache=cache, deadline=deadline)


def test_tarball(tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline) -> None:
    archive = tmp_path / "xen-4.17.5.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, "xen-4.17.5")
    found = resolve_source(str(archive), cache=cache, deadline=deadline)
    assert found.version == "4.17.5"
    assert page_alloc(found.path) == page_alloc(tree)


def test_file_that_is_no_tarball(tmp_path: Path, cache: Cache, deadline: Deadline) -> None:
    archive = tmp_path / "xen.tar.gz"
    archive.write_bytes(b"not at all")
    with pytest.raises(ConfigurationError, match="could not be unpacked"):
        resolve_source(str(archive), cache=cache, deadline=deadline)


def test_tarball_of_something_else_is_not_kept(
    tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    archive = tmp_path / "other.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(__file__, "other/file")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="not a Xen source tree"):
            resolve_source(str(archive), cache=cache, deadline=deadline)


@pytest.mark.parametrize("spec", ["/nonexistent/xen", "debain"])
def test_spec_that_means_nothing(spec: str, cache: Cache, deadline: Deadline) -> None:
    with pytest.raises(ConfigurationError, match="no such folder or file"):
        resolve_source(spec, cache=cache, deadline=deadline)


def test_folder_that_is_no_tree(tmp_path: Path, cache: Cache, deadline: Deadline) -> None:
    with pytest.raises(ConfigurationError, match="not a Xen source tree"):
        resolve_source(str(tmp_path), cache=cache, deadline=deadline)


def test_debian_from_the_cache_needs_no_programs(
    cache: Cache, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(cache.path("source", "debian-4.17.5+72-1"))
    monkeypatch.setenv("PATH", "")
    found = resolve_source("debian", cache=cache, deadline=deadline)
    assert found.origin == "Debian 4.17.5+72-1"


def test_debian_version_that_cannot_be_had_is_noted(
    tmp_path: Path, cache: Cache, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt(tmp_path, monkeypatch)
    found = resolve_source("debian", cache=cache, deadline=deadline)
    assert found.origin == "Debian 4.17.5-1"
    assert len(found.notes) == 1
    assert "4.17.7-1" in found.notes[0]
    assert "404" in found.notes[0]


def test_debian_version_asked_for_that_cannot_be_had(
    tmp_path: Path, cache: Cache, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt(tmp_path, monkeypatch)
    with pytest.raises(InfrastructureError) as raised:
        resolve_source("debian=4.17.7-1", cache=cache, deadline=deadline)
    assert "404" in str(raised.value)


def fake_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apt whose index has two versions, and whose mirror has the older one only."""
    write_tree(tmp_path / "packaged")
    programs = {
        "apt-get": 'case "$*" in *4.17.7*) echo "404 Not Found"; exit 100;; '
        '*" source "*) touch xen.dsc;; esac',
        "apt-cache": "echo 'Version: 4.17.5-1'; echo 'Version: 4.17.7-1'",
        "dpkg-source": f'for last; do :; done; cp -r {tmp_path}/packaged "$last"',
    }
    folder = tmp_path / "fake-apt"
    folder.mkdir()
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(
        "pytest_xenscrub.hypervisor.apt.source_lines", lambda *_, **__: "Types: deb-src\n"
    )


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed")


@needs_dpkg
def test_versions_are_in_dpkgs_own_order(deadline: Deadline) -> None:
    versions = ["4.20.0~rc1-1", "4.9.2-1", "4.20.0-1", "4.20.0-1+deb13u1", "4.20.0-1~bpo12+1"]
    assert newest_first(versions, deadline=deadline) == [
        "4.20.0-1+deb13u1", "4.20.0-1", "4.20.0-1~bpo12+1", "4.20.0~rc1-1", "4.9.2-1",
    ]  # fmt: skip


@needs_dpkg
def test_of_debians_trees_that_are_kept_the_newest_is_used(
    cache: Cache, deadline: Deadline
) -> None:
    for version in ("4.9.2-1", "4.20.0-1", "4.20.0~rc1-1"):
        write_tree(cache.path("source", f"debian-{version}"))
    assert resolve_source("debian", cache=cache, deadline=deadline).origin == "Debian 4.20.0-1"
    found = resolve_source("debian=4.9.2-1", cache=cache, deadline=deadline)
    assert found.origin == "Debian 4.9.2-1"


def test_folder_that_cannot_be_read(
    tree: Path, cache: Cache, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tree / "xen" / "secret"))

    monkeypatch.setattr(source_folder, "_digest_of", refuse)
    with pytest.raises(ConfigurationError, match="cannot be read: Permission denied") as caught:
        resolve_source(str(tree), cache=cache, deadline=deadline)
    assert caught.value.tried == str(tree / "xen" / "secret")


def test_an_entry_of_the_cache_that_another_run_makes_for_too_long(cache: Cache) -> None:
    entry = cache.path("source", "x")
    entry.parent.mkdir(parents=True)
    with (
        FileLock(f"{entry}.lock", is_singleton=False),
        pytest.raises(InfrastructureError, match="another run has been making it"),
        cache.lock("source", "x", deadline=Deadline.after(0.2, "a tree")),
    ):
        pytest.fail("it is held by two")
