# SPDX-License-Identifier: MIT
"""Mistakes and faults of the machine: each is one clear error, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from bad_input import NAMELESS, Bad, children, prepare, run_apart, run_here
from bad_inputs import TABLE

from pytest_xenscrub.guest.build import build_kernel
from pytest_xenscrub.host import emulated

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST = 60


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has the guest's kernel, for those who get as far as the host."""
    folder = tmp_path_factory.mktemp("cache")
    if shutil.which("gcc"):
        build_kernel(folder / "pytest-xenscrub" / "guest")
    return folder


def _no_host(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a host was started")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Path]:
    """A working folder, and beside it one for temporary files, which must be empty at the end."""
    for name in list(os.environ):
        if name.startswith(("PYTEST_XEN_", "PYTEST_XDIST_")):
            monkeypatch.delenv(name)
    with tempfile.TemporaryDirectory(prefix="bad-", dir="/tmp") as folder:
        top = Path(folder)
        for name in ("here", "tmp"):
            (top / name).mkdir()
        monkeypatch.setenv("TMPDIR", str(top / "tmp"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        monkeypatch.setenv("PY_COLORS", "0")
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(emulated.EmulatedHost, "start", _no_host)
        monkeypatch.setattr(emulated, "prepare_image", _no_host)
        yield top / "here"
        (top / "here").chmod(0o700)


def test_there_are_enough() -> None:
    names = [bad.name for bad in TABLE]
    assert len(names) == len(set(names))
    assert len(names) >= LEAST


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
def test_a_single_clear_error(
    bad: Bad, here: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "unshare" in bad.prefix and subprocess.run([*NAMELESS, "true"], check=False).returncode:
        pytest.skip("users may have no namespace of their own here")
    before = children()
    arguments = prepare(bad, here, monkeypatch)
    prefix = [word.replace("{here}", str(here)) for word in bad.prefix]
    told = run_apart(prefix, arguments) if bad.prefix else run_here(pytester, arguments)
    assert told.status == bad.status, told.text
    assert "Traceback" not in told.text
    assert "INTERNALERROR" not in told.text
    message = told.message
    assert bad.words in "\n".join(message)
    assert len(message) <= bad.lines, told.text
    assert max(len(line) for line in message) < 1000
    assert list((here.parent / "tmp").iterdir()) == []
    assert children() == before
