# SPDX-License-Identifier: MIT
"""The collection of broken Xens is whole, documented, and can be asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.defect import FOLDER, each_of, load_defects
from pytest_xenscrub.hypervisor.variant import Kind, load_variant

TOP = Path(__file__).parents[3]
DEFECTS = load_defects()


def test_each_file_is_told_of() -> None:
    assert sorted(DEFECTS) == sorted(path.stem for path in FOLDER.glob("*.cocci"))


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_a_variant(name: str) -> None:
    variant = load_variant(f"defect:{name}")
    assert (variant.name, variant.kind) == (name, Kind.SEMANTIC)
    assert variant.changes[0].text == DEFECTS[name].path.read_bytes()
    assert DEFECTS[name].caught


def test_all_of_them() -> None:
    assert each_of("defect:all") == [f"defect:{name}" for name in DEFECTS]
    assert each_of("stock") == ["stock"]


def test_one_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="there is no such defect") as caught:
        load_variant("defect:forgets_me")
    assert "leaks_page" in str(caught.value)


def test_what_must_catch_it_is_a_test_of_that_suite() -> None:
    """Each expression, with its mark, selects a test."""
    for suite in ("quick", "slow", "large"):
        listed = subprocess.run(
            [sys.executable, "-m", "pytest", "tests/scrub", "--collect-only", "-q", "-m", suite,
             "--xen-guest-type=pv", "--xen-guest-type=hvm"],
            cwd=TOP, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for defect in DEFECTS.values():
            for catch in defect.caught:
                words = re.split(r" and ", catch.test)
                found = [line for line in listed.splitlines() if all(w in line for w in words)]
                assert (catch.suite != suite) or found, (defect.name, catch)


def test_docs_have_a_line_for_each() -> None:
    text = (TOP / "docs" / "defects.md").read_text(encoding="utf-8")
    for defect in DEFECTS.values():
        tests = ", ".join(
            " ".join([f"`{catch.test}` ({catch.suite})", *(f"`{each}`" for each in catch.options)])
            for catch in defect.caught
        )
        line = f"| `{defect.name}` | {defect.breaks} | {defect.in_xen or 'never'} | {tests} |"
        assert line in text, line
