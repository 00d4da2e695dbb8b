# SPDX-License-Identifier: MIT
"""Each place that can turn a leak green or a slow disk red has a row in docs/blame.md, and a test.

`spoil_rows.py` sees that such a test fails where its place does otherwise.
"""

from __future__ import annotations

from collections import Counter

import pytest
from giving_up import TABLE, found_in, places, rows, unit_tests


def test_each_way_to_give_up_has_a_row() -> None:
    missing = {place.name for place in places()} - {row for row, _ in rows()}
    assert not missing, f"say in {TABLE.name} what each of these meets, and whose fault that is"


def test_no_row_is_of_something_that_is_gone() -> None:
    assert not {row for row, _ in rows()} - {place.name for place in places()}


def test_no_row_stands_twice() -> None:
    assert not [row for row, count in Counter(row for row, _ in rows()).items() if count > 1]


def test_each_row_names_tests_that_exist() -> None:
    known = unit_tests()
    untested = [row for row, named in rows() if not named]
    assert not untested, "name the test that fails where each of these does otherwise"
    gone = {test for _, named in rows() for test in named} - known
    assert not gone, "no such tests"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("try:\n    x\nexcept OSError:\n    pass", "except OSError"),
        ("with contextlib.suppress(OSError, ValueError):\n    x", "suppress OSError, ValueError"),
        ("pytest.skip('no')", "pytest.skip"),
        ("raise NotApplicableError('no')", "NotApplicableError"),
        ("Deadline.after(3, 'step')", "Deadline.after"),
        ("dom0.patience('destroy', 4096)", "patience"),
        ("child.wait(timeout=3)", "timeout of wait"),
        ("@pytest.mark.xfail(reason='a fault')\ndef test(): pass", "pytest.mark.xfail"),
    ],
)
def test_kinds_that_are_seen(code: str, what: str) -> None:
    assert [found for _, found, _ in found_in(code)] == [what]
