# SPDX-License-Identifier: MIT
"""Results for LAVA: lines for a shell that call its `lava-test-case`."""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.export.prose import headline
from pytest_xenscrub.report.export.series import BASE, named
from pytest_xenscrub.report.results import last_rows, last_tests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_xenscrub.report.results import RunResults

_RESULTS: Final = {"passed": "pass", "failed": "fail", "skipped": "skip", "xfailed": "skip"}
"""LAVA's words for pytest's outcomes; any other is `unknown`, so an error is neither's fault."""
_WORST: Final = ("fail", "unknown", "pass", "skip")
_LONGEST: Final = 100
"""LAVA's limit for a test case's name."""
_KEPT: Final = _LONGEST - 9
_END: Final = 40
"""Characters of a long name's end, which has the metric, that are kept with its beginning."""
_OTHER: Final = re.compile(r"[^A-Za-z0-9._+-]+")
"""What a name must not have: LAVA splits a line at blanks, ends it at `>`, and has names in
addresses of pages."""


def to_lava(runs: Sequence[RunResults]) -> str:
    """Lines for `sh` in a LAVA test shell: the run, each test, and each figure's measurement."""
    tests: dict[str, str] = {}
    for each in last_tests(runs):
        result = _RESULTS.get(each.outcome, "unknown")
        tests[each.test] = _worst([result, tests.get(each.test, result)])
    names = _Names()
    lines = [_line(names.of("xenscrub"), _worst(map(_of_run, headline(runs))))]
    lines += [_line(names.of(test.rpartition("::")[2]), tests[test]) for test in tests]
    for name, figure in named(last_rows(runs)):
        if math.isfinite(figure.median):
            case = names.of(f"{name}.{figure.metric.name}")
            measured = f"{figure.median:.9f}".rstrip("0").rstrip(".")
            units = BASE[figure.metric.unit][1].replace(" ", ".")
            # A figure of a test that failed, or whose end is not known, is no success.
            result = tests.get(figure.setting.test, "unknown")
            lines.append(f"{_line(case, result)} --measurement {measured} --units {units}")
    return "\n".join([*lines, ""])


def _line(case: str, result: str) -> str:
    return f"lava-test-case {shlex.quote(case)} --result {result}"


def _worst(results: Iterable[str]) -> str:
    return min(results, key=_WORST.index, default="unknown")


def _of_run(line: str) -> str:
    """The result of a run, from its headline: only a clean one passes."""
    state = line.partition(": ")[0]
    if state.startswith("RESIDUE") or (state == "NOT CLEAN" and "(exit status 1," in line):
        return "fail"
    return "pass" if state == "clean" else "unknown"


class _Names:
    """Names of test cases as LAVA takes them, each for one thing only."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, name: str) -> str:
        """A name that no other thing has; the same for the same name in each run, as a rule."""
        case = _OTHER.sub("-", name).replace("-.", ".").strip("-")
        if case in self._taken or len(case) > _LONGEST or not case:
            mark = hashlib.sha256(f"{name} {len(self._taken)}".encode()).hexdigest()[:8]
            cut = case if len(case) <= _KEPT else case[: _KEPT - _END] + case[-_END:]
            case = f"{mark}-{cut}"
        self._taken.add(case)
        return case
