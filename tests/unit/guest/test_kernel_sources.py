# SPDX-License-Identifier: MIT
"""The guest's kernel as its files depend on each other."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter

from pytest_xenscrub.guest.compile import SOURCES

INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def modules() -> dict[str, set[str]]:
    """Each C or assembly file with its header, and those whose headers it includes."""
    found: dict[str, set[str]] = {}
    for path in SOURCES.rglob("*.[chS]"):
        name = str(path.relative_to(SOURCES).with_suffix(""))
        included = {
            str(include).rpartition(".")[0] for include in INCLUDE.findall(path.read_text())
        }
        found.setdefault(name, set()).update(included - {name})
    return found


def test_no_two_files_need_each_other() -> None:
    order = list(TopologicalSorter(modules()).static_order())
    assert "main" in order


def test_what_is_the_same_for_all_types_does_not_know_them() -> None:
    for name, included in modules().items():
        if "/" not in name:
            assert not {i for i in included if "/" in i}, f"{name} includes one type's header"


def test_types_do_not_know_each_other() -> None:
    for name, included in modules().items():
        folder = name.rpartition("/")[0]
        others = {i for i in included if "/" in i and i.rpartition("/")[0] != folder}
        assert not folder or not others, f"{name} includes another type's header"
