# SPDX-License-Identifier: MIT
"""The command that runs a failed test again: on the same Xen, under the same id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.report.again import again
from pytest_xenscrub.report.outcome import Outcome
from pytest_xenscrub.report.results import RunResults

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]
TEST = "tests/scrub/test_x.py::test_y[fix-libvirt]"
HOST = "--xen-host=lab7"


def told(row: Row | None, command: str | None, name: str = TEST) -> str:
    known: dict[str, object] | None = None if command is None else {"command": command}
    run = RunResults("now", {"0": row} if row else {}, {name: Outcome(name)}, known)
    return again(Outcome(name), [row] if row else [], [RunResults("before"), run])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "pytest tests/scrub -m quick --xen-host=lab6 --xen-host=lab7 --xen-results=x.jsonl"
            " --xen-variant=my/fix.patch --xen-toolstack=xl --xen-toolstack=libvirt"
            " --xen-source='/src/my xen#staging' --xen-fail-if=destroy:median:10%",
            f"pytest '{TEST}' {HOST} --xen-variant=my/fix.patch --xen-toolstack=xl"
            " --xen-toolstack=libvirt '--xen-source=/src/my xen#staging'",
        ),
        (
            "PYTEST_XEN_ACCEL=tcg PYTEST_XEN_POWER=... PYTEST_XEN_CONFIG='A=y B=y' pytest"
            " --xen-variant fix.patch --xen-control tests/scrub -k 'x or y'",
            f"PYTEST_XEN_ACCEL=tcg PYTEST_XEN_CONFIG='A=y B=y' pytest '{TEST}' {HOST}"
            " --xen-variant=fix.patch --xen-control",
        ),
        (
            "pytest --pyargs pytest_xenscrub.suite -m quick --xen-source=xen",
            "pytest --pyargs 'pytest_xenscrub.suite.test_x::test_y[fix-libvirt]' --xen-host=lab7"
            " --xen-source=xen",
        ),
    ],
)
def test_what_the_test_ran_on_is_kept(a_row: MakeRow, command: str, expected: str) -> None:
    row = a_row(test=TEST, host="lab7", variant="fix", toolstack="libvirt", started="now")
    assert told(row, command) == expected


def test_a_run_that_was_cut_short_tells_no_command(a_row: MakeRow) -> None:
    row = a_row(test=TEST, host="lab7", variant="fix", started="now")
    known = f"pytest '{TEST}' {HOST} --xen-toolstack=xl"
    assert told(row, None) == f"{known} --xen-variant=fix --xen-guest-type=pv"
    row = a_row(test=TEST, host="lab7", variant="as-is", started="now")
    assert told(row, None) == f"{known} --xen-guest-type=pv"


def test_a_test_that_measured_nothing_has_its_run_s_options() -> None:
    assert told(None, "pytest --xen-source=xen --xen-variant=sync") == (
        f"pytest '{TEST}' --xen-host=HOST --xen-source=xen --xen-variant=sync"
    )
    assert told(None, None) == f"pytest '{TEST}' --xen-host=HOST"


def test_a_command_that_is_no_command_is_left_out(a_row: MakeRow) -> None:
    row = a_row(test="a::b", started="now")
    for command in ("", "pytest 'half a quote"):
        assert told(row, command, "a::b").startswith("pytest a::b --xen-host=emulated --xen-tool")
