# SPDX-License-Identifier: MIT
"""The wheel and the sdist: built from this checkout, and looked into."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_xenscrub
from pytest_xenscrub.guest import build
from pytest_xenscrub.guest.compile import SOURCES, compile_kernel, digest, find_gcc, has_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

pytest.importorskip("hatchling", reason="builds the wheel (pip install hatchling)")

TOP = Path(pytest_xenscrub.__file__).parent.parent
BUILT = "pytest_xenscrub/guest/built"
KERNEL_OF_THE_WHEEL = """
from pathlib import Path
from pytest_xenscrub.guest.build import build_kernel, missing_for_kernel
print(build_kernel(Path("cache")), missing_for_kernel(Path("cache")))
"""
needs_compiler = pytest.mark.skipif(
    not (os.access("/usr/bin/gcc", os.X_OK) and has_headers()), reason="needs gcc and libxen-dev"
)


def hatch(target: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build the wheel or the sdist into a folder."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=TOP,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = hatch("wheel", folder, SOURCE_DATE_EPOCH="1700000000")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def content(wheel: Path) -> Mapping[str, bytes]:
    """What is in it, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def ours(content: Mapping[str, bytes], suffix: str) -> bytes:
    """A file of the wheel's metadata."""
    (name,) = (name for name in content if name.endswith(f".dist-info/{suffix}"))
    return content[name]


@needs_compiler
def test_the_wheel_is_for_any_machine(wheel: Path) -> None:
    assert wheel.name == f"pytest_xenscrub-{pytest_xenscrub.__version__}-py3-none-any.whl"


@needs_compiler
def test_the_kernel_in_the_wheel_is_that_of_its_sources(
    content: Mapping[str, bytes], tmp_path: Path
) -> None:
    compile_kernel(find_gcc(), tmp_path / "kernel")
    assert content[f"{BUILT}/{build.KERNEL}"] == (tmp_path / "kernel").read_bytes()
    assert content[f"{BUILT}/{build.ORIGIN}"].decode().splitlines()[0] == digest()
    for path in SOURCES.rglob("*.*"):
        name = f"pytest_xenscrub/guest/kernel/{path.relative_to(SOURCES).as_posix()}"
        assert content[name] == path.read_bytes()


@needs_compiler
def test_what_is_sent_to_dom0_is_in_the_wheel(content: Mapping[str, bytes]) -> None:
    for path in (TOP / "pytest_xenscrub/dom0/sent").glob("*.py"):
        assert content[path.relative_to(TOP).as_posix()] == path.read_bytes()


@needs_compiler
def test_two_wheels_have_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert hatch("wheel", tmp_path, SOURCE_DATE_EPOCH="1700000000").returncode == 0
    (again,) = tmp_path.iterdir()
    assert again.read_bytes() == wheel.read_bytes()


@needs_compiler
def test_the_wheel_needs_no_gcc(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # noqa: S202 - our own
    done = subprocess.run(
        [sys.executable, "-c", KERNEL_OF_THE_WHEEL],
        cwd=tmp_path,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(site), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (f"{site}/{BUILT}/{build.KERNEL} {{}}", "")
    assert not (tmp_path / "cache").exists()


@needs_compiler
def test_the_whole_product_is_in_the_wheel(content: Mapping[str, bytes]) -> None:
    package = Path(pytest_xenscrub.__file__).parent
    for path in package.rglob("*"):
        made = path.parent.name == "__pycache__" or path.is_relative_to(build.SHIPPED)
        if path.is_file() and not made:
            assert path.relative_to(TOP).as_posix() in content
    assert "pytest_xenscrub/py.typed" in content
    assert not [name for name in content if name.startswith(("tests/", "bench/", "docs/"))]
    for licence in ("MIT", "GPL-2.0-only"):
        assert ours(content, f"licenses/LICENSES/{licence}.txt")
    assert b"xenscrub = pytest_xenscrub.plugin" in ours(content, "entry_points.txt")


@needs_compiler
def test_what_needs_a_compiler_is_an_extra(content: Mapping[str, bytes]) -> None:
    metadata = message_from_bytes(ours(content, "METADATA"))
    needs = metadata.get_all("Requires-Dist") or []
    always = {need for need in needs if "extra ==" not in need}
    assert not [need for need in always if need.startswith(("libvirt", "matplotlib"))]
    assert [need for need in needs if need.startswith("libvirt-python") and "'libvirt'" in need]
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert {"libvirt", "plots", "xdist", "all", "test"} <= extras
    for package in ("libvirt-python", "matplotlib", "pytest-xdist"):
        assert [need for need in needs if "'all'" in need and need.startswith(package)]


def test_without_gcc_the_wheel_says_what_to_install(tmp_path: Path) -> None:
    done = hatch("wheel", tmp_path / "dist", PATH=str(tmp_path))
    assert done.returncode == 1
    assert not (tmp_path / "dist").exists() or not any((tmp_path / "dist").iterdir())
    said = (done.stdout + done.stderr).strip()
    assert "gcc is not installed" in said
    assert "apt install gcc libxen-dev" in said
    assert len(said.splitlines()) == 1


def test_the_sdist_has_all_that_the_wheel_is_built_from(tmp_path: Path) -> None:
    done = hatch("sdist", tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kernel = {path.relative_to(TOP).as_posix() for path in SOURCES.rglob("*") if path.is_file()}
    assert kernel | {"hatch_build.py", "pyproject.toml", "LICENSES/MIT.txt"} <= names
    assert not [name for name in names if name.startswith(BUILT)]


def test_an_editable_install_needs_no_gcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    hook = runpy.run_path(str(TOP / "hatch_build.py"))["GuestKernelHook"]
    data: dict[str, object] = {}
    hook(str(TOP), {}, None, None, str(tmp_path), "wheel").initialize("editable", data)
    assert data == {}
