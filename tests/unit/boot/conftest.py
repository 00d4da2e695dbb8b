# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fakehost.machine import Machine

from .debian12 import CONFIG, DOM0, XEN
from .whole_run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A lab machine with Debian 12, reached over real ssh; see `fakehost`."""
    machine = Machine(tmp_path / "lab", grub=CONFIG, dom0_options=DOM0, xen_options=XEN)
    yield machine
    machine.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the guest's kernel, which is built once for all tests of a file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def nothing_from_outside(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole runs have no options from the environment, and a cache of their own."""
    for name in list(os.environ):
        if name.startswith("PYTEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def run(machine: Machine, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs of pytest on the machine."""
    return Run(machine, pytester, monkeypatch)
