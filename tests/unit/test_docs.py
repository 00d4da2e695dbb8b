# SPDX-License-Identifier: MIT
"""What documents say exists."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_xenscrub
from pytest_xenscrub.hypervisor.variant import BUILT_IN
from pytest_xenscrub.options import ALL_OPTIONS
from pytest_xenscrub.scrub.row import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

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


@pytest.fixture(scope="module")
def generated() -> dict[str, Callable[[], str]]:
    """The parts of the site that come from the code, by the names that pages call them by."""
    parts: dict[str, Callable[[], str]] = runpy.run_path(str(TOP / "docs/generate.py"))["PARTS"]
    return parts


def test_reference_lists_each_option(generated: dict[str, Callable[[], str]]) -> None:
    text = generated["options"]()
    headings = re.findall(r"^### `(--xen-[a-z-]+)", text, re.MULTILINE)
    assert headings == [option.argument for option in ALL_OPTIONS]
    for option in ALL_OPTIONS:
        assert f"`{option.variable}`" in text
        assert f"`{option.ini}`" in text
    assert "%%" not in text


def test_reference_defines_each_figure(generated: dict[str, Callable[[], str]]) -> None:
    figures, columns = generated["figures"](), generated["columns"]()
    for metric in METRICS:
        assert f"| `{metric.name}` | {metric.definition} |" in figures
        assert not metric.column or f"| `{metric.column}` | {metric.definition} |" in columns


def test_reference_lists_each_subcommand(generated: dict[str, Callable[[], str]]) -> None:
    text = generated["command"]()
    for name in ("report", "bisect", "prepare", "shell", "clean", "completion", "help"):
        assert f"## xenscrub {name}" in text


def test_pages_ask_for_parts_that_exist(generated: dict[str, Callable[[], str]]) -> None:
    asked = [
        name
        for page in (TOP / "docs").rglob("*.md")
        for name in re.findall(r"<!-- generated: (\w+) -->", page.read_text(encoding="utf-8"))
    ]
    assert sorted(asked) == sorted(generated)


def test_fixtures_have_a_line_in_the_reference() -> None:
    """Public ones, which do not begin with an underscore."""
    text = (TOP / "docs/reference/fixtures.md").read_text()
    named = {
        name for members in re.findall(r"members: \[(.*)\]", text) for name in members.split(", ")
    }
    defined = set()
    for path in (TOP / "pytest_xenscrub").glob("fixtures_*.py"):
        source = path.read_text()
        defined |= set(re.findall(r"^@pytest\.fixture.*\ndef ([a-z]\w+)\(", source, re.MULTILINE))
    assert named == defined


def test_classes_of_the_face_are_in_the_reference() -> None:
    text = "".join(
        (TOP / "docs/reference" / name).read_text() for name in ("classes.md", "errors.md")
    )
    for name in vars(pytest_xenscrub)["__all__"]:
        home = getattr(pytest_xenscrub, name)
        if name != "__version__" and home.__module__ != "pytest_xenscrub.errors":
            assert f"::: {home.__module__}.{name}\n" in text


def test_readme_is_read_in_a_minute() -> None:
    assert len((TOP / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_commands_of_the_readme_exist() -> None:
    text = (TOP / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    \S.*\n(?:^ {4,}\S.*\n)*)+", text, re.MULTILINE)
    code = "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])
    makefile = (TOP / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[0].split())
    made = set(re.findall(r"^\s*make (\w+)", code, re.MULTILINE))
    assert {"quick", "control", "compare", "docs", "test"} <= made <= targets
    subcommands = set(re.findall(r"^xenscrub (\w+)", code, re.MULTILINE))
    assert {"report", "bisect"} <= subcommands
    for name in subcommands:
        assert callable(importlib.import_module(f"pytest_xenscrub.command.{name}").run)
    said = set(re.findall(r"--xen-[a-z-]+", text))
    assert said <= {option.argument for option in ALL_OPTIONS}
    for name in re.findall(r"--xen-variant=([a-z]+)(?=\s|$)", code, re.MULTILINE):
        assert name in BUILT_IN


@pytest.mark.parametrize(
    "path", sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")]), ids=lambda p: p.name
)
def test_options_and_links_of_a_page_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    said = set(re.findall(r"(?<![\w-])--xen-[a-z-]*[a-z]", text))
    assert said <= {option.argument for option in ALL_OPTIONS}
    for target in re.findall(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)", text):
        assert (path.parent / target).exists(), target
