# SPDX-License-Identifier: MIT
"""What documents say exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pytest_xenscrub
from pytest_xenscrub.options import ALL_OPTIONS

TOP = Path(pytest_xenscrub.__file__).parent.parent


@pytest.mark.parametrize("path", sorted((TOP / "docs/ci").glob("*.yml")), ids=lambda p: p.name)
def test_examples_for_ci_have_options_that_exist(path: Path) -> None:
    said = set(re.findall(r"--xen-[a-z-]+", path.read_text()))
    assert said
    assert said <= {option.argument for option in ALL_OPTIONS}


def test_files_of_contributing_exist() -> None:
    text = (TOP / "CONTRIBUTING.md").read_text()
    package = TOP / "pytest_xenscrub"
    for name in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)*/?(?:\.py)?)`", text):
        if "/" in name or name.endswith(".py"):
            places = [
                top / name for top in (TOP, package, package / "guest/kernel", TOP / "tests/lab")
            ]
            assert any(place.exists() for place in places), name
