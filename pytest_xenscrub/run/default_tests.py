# SPDX-License-Identifier: MIT
"""Chooses the tests of `pytest --xen-host=HOST` without a path: a project's own, or the suite."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITE = "pytest_xenscrub.suite"


def choose_tests(config: pytest.Config) -> None:
    """Run the suite if no tests were named, and pytest would not find any.

    Args:
        config: pytest's configuration, of a run with --xen-host.
    """
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return
    files, skipped = config.getini("python_files"), config.getini("norecursedirs")
    if any(_has_tests(Path(folder), files, skipped) for folder in config.args):
        return
    config.args = [SUITE]
    config.option.pyargs = True


def _has_tests(path: Path, files: Sequence[str], skipped: Sequence[str]) -> bool:
    """Whether pytest would find a test file there.

    Args:
        path: a folder, or a file, which counts as a test file.
        files: patterns of test files' names.
        skipped: patterns of the names of folders that pytest does not search.
    """
    if path.is_file():
        return True
    for top, folders, names in os.walk(path):
        if any(_matches(name, files) for name in names):
            return True
        folders[:] = [name for name in folders if not _matches(name, skipped)]
        folders[:] = [name for name in folders if not Path(top, name, "pyvenv.cfg").exists()]
    return False


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
