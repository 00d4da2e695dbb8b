# SPDX-License-Identifier: MIT
"""The table at the end: a row for each measured destroy, repeats together."""

from __future__ import annotations

import statistics
from operator import attrgetter
from typing import TYPE_CHECKING

from tabulate import tabulate

from pytest_xenscrub.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_xenscrub.scrub.timing import Row

METRICS = ("create", "fill", "destroy", "client", "gone", "free", "clean", "recreate")


def render(rows: Sequence[Row]) -> str:
    """The table of all rows; rows that differ in nothing but their figures are one line.

    Times in seconds: one figure, or `median (least-most)` of several. Empty where nothing was
    measured.
    """
    lines = [_line(group) for group in grouped(rows)]
    if not lines:
        return ""
    header = list(lines[0])
    used = [key for key in header if any(line[key] for line in lines)]
    return tabulate(
        [[line[key] for key in used] for line in lines],
        headers=used,
        disable_numparse=True,
        colalign=["left" if key in _LEFT else "right" for key in used],
    )


UNITS = "times in s (dom0's clock; fill and probe the guest's own), probe in GiB/s"
_LEFT = ("test", "toolstack", "variant", "Xen", "verdict")


def grouped(rows: Iterable[Row]) -> list[list[Row]]:
    """Repeats of the same measurement together, in the order in which they first came."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        s = row.setting
        key = (
            test_name(row), s.host, s.toolstack, s.variant, s.xen, s.debug,
            row.memory_bytes >> 24, row.how,
        )  # fmt: skip
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def test_name(row: Row) -> str:
    """The test without its path, and without what other columns say."""
    name = row.setting.test.rsplit("::", 1)[-1]
    base, bracket, inside = name.partition("[")
    known = {row.setting.variant, row.setting.toolstack, "control"}
    left = [
        part
        for part in inside.rstrip("]").split("-")
        if part and part not in known and not part.startswith("repeat")
    ]
    base = base.removeprefix("test_")
    return f"{base}[{'-'.join(left)}]" if bracket and left else base


def spread(values: Iterable[float | None], digits: int = 2) -> str:
    """`1.03`, `1.03 (0.98-1.10)` of several, or nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    middle = f"{statistics.median(known):.{digits}f}"
    if len(known) == 1:
        return middle
    return f"{middle} ({min(known):.{digits}f}-{max(known):.{digits}f})"


def worst_verdict(rows: Iterable[Row]) -> str:
    """The worst of the verdicts: one leak of a hundred is a leak."""
    found = {row.verdict or "" for row in rows}
    for state, shown in (("residue", "RESIDUE"), ("unproven", "UNPROVEN"), ("", "-")):
        if state in found:
            return shown
    return "clean"


def _line(group: list[Row]) -> dict[str, str]:
    row = group[0]
    setting = row.setting

    def column(value: Callable[[Row], float | None], digits: int = 2) -> str:
        return spread((value(each) for each in group), digits)

    line = {
        "test": test_name(row),
        "toolstack": setting.toolstack,
        "variant": setting.variant,
        "Xen": setting.xen + (" debug" if setting.debug else ""),
        "MiB": f"{row.memory_bytes // MIB}",
        "n": f"{len(group)}" if len(group) > 1 else "",
    }
    for metric in METRICS:
        line[metric] = column(attrgetter(metric))
    line["probe"] = column(
        lambda each: each.probe_bytes_per_second and each.probe_bytes_per_second / GIB, 1
    )
    covered = [each.coverage for each in group if each.coverage is not None]
    line["coverage"] = f"{min(covered):.2%}" if covered else ""
    line["verdict"] = worst_verdict(group)
    return line
