# SPDX-License-Identifier: MIT
"""The build of the guest's kernel and its cache; gcc is a script, but for one test."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from pytest_xenscrub.errors import InfrastructureError, MissingToolError
from pytest_xenscrub.guest import build
from pytest_xenscrub.guest import compile as compiling

needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None or not compiling.has_headers(),
    reason="needs gcc and libxen-dev",
)
FAKE_GCC = """#!/bin/sh
if [ "$1" = --version ]; then echo "gcc {version}"; exit 0; fi
echo "$@" >> "{log}"
{body}
"""
WRITES_ELF = 'while [ "$1" != -o ]; do shift; done; echo kernel > "$2"'


class Gcc:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "gcc"
        self.log = folder / "log"
        self.install()
        monkeypatch.setenv("PATH", str(folder))

    def install(self, body: str = WRITES_ELF, version: str = "12") -> None:
        self.path.write_text(FAKE_GCC.format(version=version, log=self.log, body=body))
        self.path.chmod(0o755)
        compiling.gcc_version.cache_clear()

    @property
    def runs(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def gcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gcc:
    folder = tmp_path / "bin"
    folder.mkdir()
    return Gcc(folder, monkeypatch)


@pytest.fixture(autouse=True)
def _no_remembered_version() -> None:
    compiling.gcc_version.cache_clear()


def test_built_once(gcc: Gcc, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    kernel = build.build_kernel(cache)
    assert build.build_kernel(cache) == kernel
    assert kernel.read_text() == "kernel\n"
    assert gcc.runs == 1
    assert [path.name for path in cache.iterdir()] == [kernel.parent.name]


def test_another_gcc_builds_again(gcc: Gcc, tmp_path: Path) -> None:
    first = build.build_kernel(tmp_path)
    gcc.install(version="13")
    assert build.build_kernel(tmp_path) != first
    assert gcc.runs == 2


def test_another_source_builds_again(
    gcc: Gcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "kernel"
    shutil.copytree(compiling.SOURCES, sources)
    monkeypatch.setattr(compiling, "SOURCES", sources)
    first = build.build_kernel(tmp_path / "cache")
    (sources / "pattern.h").write_text("changed")
    assert build.build_kernel(tmp_path / "cache") != first
    assert gcc.runs == 2


def test_the_users_cache_folder(gcc: Gcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    kernel = build.build_kernel()
    assert kernel.is_relative_to(tmp_path / "xdg" / "pytest-xenscrub" / "guest")
    assert gcc.runs == 1


def test_another_process_was_faster(gcc: Gcc, tmp_path: Path) -> None:
    kernel = build.build_kernel(tmp_path)
    shutil.rmtree(kernel.parent)
    gcc.install(
        f"/bin/mkdir -p {kernel.parent}; echo theirs > {kernel}; {WRITES_ELF}",
    )
    assert build.build_kernel(tmp_path) == kernel
    assert kernel.read_text() == "theirs\n"
    assert not list(tmp_path.glob(".building-*"))


def test_a_kernel_that_was_built_before_needs_no_gcc(gcc: Gcc, tmp_path: Path) -> None:
    kernel = build.build_kernel(tmp_path / "cache")
    gcc.path.unlink()
    assert build.build_kernel(tmp_path / "cache") == kernel
    assert build.missing_for_kernel(tmp_path / "cache") == {}
    assert "gcc" in build.missing_for_kernel(tmp_path / "other")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel as a wheel has it, of the sources as they are."""
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / build.KERNEL).write_text("shipped")
    (folder / build.ORIGIN).write_text(f"{compiling.digest()}\ngcc 11\n")
    monkeypatch.setattr(build, "SHIPPED", folder)
    return folder / build.KERNEL


def test_the_wheels_own_kernel_needs_neither_gcc_nor_a_cache(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delattr(build, "_default_cache")
    assert build.build_kernel() == shipped
    assert build.missing_for_kernel() == {}


@pytest.mark.usefixtures("shipped")
def test_the_wheels_own_kernel_is_not_that_of_other_sources(
    gcc: Gcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "COMPILE", [*compiling.COMPILE, "-DPLANTED_BLINDNESS=1000"])
    assert build.build_kernel(tmp_path / "cache").read_text() == "kernel\n"
    assert gcc.runs == 1


def test_no_gcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="apt install gcc libxen-dev"):
        build.build_kernel(tmp_path / "cache")


def test_no_headers(gcc: Gcc, tmp_path: Path) -> None:
    gcc.install('echo "fatal error: xen/xen.h: No such file or directory" >&2; exit 1')
    with pytest.raises(MissingToolError, match="apt install gcc libxen-dev"):
        build.build_kernel(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_it_does_not_compile(gcc: Gcc, tmp_path: Path) -> None:
    gcc.install('echo "scan.c:1: error: no" >&2; exit 1')
    with pytest.raises(InfrastructureError, match=r"scan\.c:1: error: no"):
        build.build_kernel(tmp_path / "cache")


def test_the_cache_cannot_be_written(gcc: Gcc, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InfrastructureError, match="the cache cannot be written"):
        build.build_kernel(tmp_path / "cache")
    assert gcc.runs == 0


@needs_compiler
def test_the_real_kernel(tmp_path: Path) -> None:
    with build.build_kernel(tmp_path).open("rb") as file:
        elf = ELFFile(file)
        assert elf.elfclass == 64
        segments = [(part["p_type"], part["p_vaddr"], part["p_paddr"])
                    for part in elf.iter_segments()]  # fmt: skip
        sections = [part for part in elf.iter_sections() if isinstance(part, NoteSection)]
        notes = [note for section in sections for note in section.iter_notes()]
    assert ("PT_LOAD", 0xFFFFFFFF80000000, 0) in segments
    assert "PT_NOTE" in dict.fromkeys(kind for kind, *_ in segments)
    assert len([note for note in notes if note["n_name"] == "Xen"]) >= 8


@needs_compiler
def test_two_builds_have_the_same_bytes_wherever_they_are(tmp_path: Path) -> None:
    first = build.build_kernel(tmp_path / "one").read_bytes()
    assert build.build_kernel(tmp_path / "elsewhere/two").read_bytes() == first


def test_a_compiler_that_hangs_is_infrastructure(
    gcc: Gcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcc.install("exec /bin/sleep 60")
    monkeypatch.setattr(compiling, "GCC_TIMEOUT", 0.2)
    with pytest.raises(InfrastructureError, match="gcc did not end"):
        build.build_kernel(tmp_path / "cache")
    with pytest.raises(InfrastructureError, match="gcc did not end"):
        compiling.has_headers()


def test_a_kernel_that_another_run_has_built_meanwhile_is_used(
    gcc: Gcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_was_faster(self: Path, target: Path) -> Path:
        if there:
            target.mkdir()
            (target / build.KERNEL).write_bytes(b"theirs")
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    there = True
    monkeypatch.setattr(Path, "rename", other_was_faster)
    assert build.build_kernel(tmp_path / "cache").read_bytes() == b"theirs"
    there = False
    with pytest.raises(InfrastructureError, match="the cache cannot be written"):
        build.build_kernel(tmp_path / "other")
