# SPDX-License-Identifier: MIT
"""The table at the end: a row for each measured destroy, repeats together."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tabulate import tabulate

from pytest_xenscrub.scrub.row import METRICS, SECONDS, SHARE
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from pytest_xenscrub.scrub.row import Metric, Row, Unit

COLUMNS = tuple(metric for metric in METRICS if metric.column)


def render(rows: Sequence[Row]) -> str:
    """The table of all rows; rows that differ in nothing but their figures are one line.

    Times in seconds: one figure, or `median (least-most)` of several. Empty where nothing was
    measured.
    """
    told = {row.setting.guest_type for row in rows} - {"pv"}
    return grid([_line(group, tell_type=bool(told)) for group in grouped(rows)], left=_LEFT)


def grid(
    lines: Sequence[Mapping[str, str]],
    *,
    left: Container[str],
    droppable: Container[str] | None = None,
) -> str:
    """Lines of named cells, all with the same names, as text; empty where there are none.

    Args:
        lines: the cells.
        left: the columns that are aligned to the left.
        droppable: the columns that are left out where all their cells are empty; None for all.
    """
    if not lines:
        return ""
    used = [
        key
        for key in lines[0]
        if (droppable is not None and key not in droppable) or any(line[key] for line in lines)
    ]
    return tabulate(
        [[line[key] for key in used] for line in lines],
        headers=used,
        disable_numparse=True,
        colalign=["left" if key in left else "right" for key in used],
    )


def legend() -> list[str]:
    """What each column of figures is, a line each."""
    return [f"{metric.column}: {metric.definition} ({metric.unit.name})" for metric in COLUMNS]


UNITS = ", ".join(
    ["times in s (dom0's clock; fill and probe the guest's own)"]
    + [f"{m.column} in {m.unit.name}" for m in COLUMNS if m.unit not in (SECONDS, SHARE)]
)
STARVED = (
    "~ this machine kept the host from running for too much of the test: no comparison rests on it"
)
FIRST = "* with the first end after a boot, when caches are cold; left out where there are others"
_LEFT = ("test", "guest", "toolstack", "variant", "Xen", "verdict")


def grouped(rows: Iterable[Row]) -> list[list[Row]]:
    """Repeats of the same measurement together, in the order in which they first came."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        s = row.setting
        key = (
            test_name(row), s.host, s.guest_type, s.toolstack, s.variant, s.xen, s.debug,
            row.memory_bytes >> 24, row.how,
        )  # fmt: skip
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def test_name(row: Row) -> str:
    """The test without its path, and without what other columns say."""
    name = row.setting.test.rsplit("::", 1)[-1]
    base, bracket, inside = name.partition("[")
    known = {row.setting.variant, row.setting.toolstack, row.setting.guest_type, "control"}
    left = [
        part
        for part in inside.rstrip("]").split("-")
        if part and part not in known and not part.startswith("repeat")
    ]
    base = base.removeprefix("test_")
    return f"{base}[{'-'.join(left)}]" if bracket and left else base


def typed_name(row: Row) -> str:
    """The test's name with the type of guest, where there is no column for it; PV is not said."""
    kind = row.setting.guest_type
    return test_name(row) if kind == "pv" else f"{test_name(row)} ({kind})"


def values(group: Iterable[Row], metric: Metric) -> list[float]:
    """A metric's values where it was measured.

    The first end after a boot is left out of times and rates if there are others: it is no repeat
    of them. What is shown by its least (coverage) is never left out.
    """
    known = [row for row in group if getattr(row, metric.name) is not None]
    warm = [row for row in known if not row.first_after_boot]
    chosen = known if metric.least or not warm else warm
    return [getattr(row, metric.name) for row in chosen]


def spread(values: Iterable[float | None], unit: Unit = SECONDS) -> str:
    """`1.03`, `1.03 (0.98-1.10)` of several, or nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    middle = unit.show(statistics.median(known))
    if len(known) == 1:
        return middle
    return f"{middle} ({unit.show(min(known))}-{unit.show(max(known))})"


def count(group: Sequence[Row]) -> str:
    """How many; nothing for one, and a mark for the first end after a boot, or a starved host."""
    mark = "*" if any(row.first_after_boot for row in group) else ""
    mark += "~" if any(row.too_starved for row in group) else ""
    return (f"{len(group)}" if len(group) > 1 else "") + mark


def worst_verdict(rows: Iterable[Row]) -> str:
    """The worst of the verdicts: one leak of a hundred is a leak."""
    found = {row.verdict or "" for row in rows}
    for state, shown in (("residue", "RESIDUE"), ("unproven", "UNPROVEN"), ("", "-")):
        if state in found:
            return shown
    return "clean"


def _line(group: list[Row], *, tell_type: bool) -> dict[str, str]:
    row = group[0]
    setting = row.setting
    return {
        "test": test_name(row),
        "guest": setting.guest_type if tell_type else "",
        "toolstack": setting.toolstack,
        "variant": setting.variant,
        "Xen": setting.xen + (" debug" if setting.debug else ""),
        "MiB": f"{row.memory_bytes // MIB}",
        "n": count(group),
        **{metric.column: _cell(metric, group) for metric in COLUMNS},
        "verdict": worst_verdict(group),
    }


def _cell(metric: Metric, group: list[Row]) -> str:
    known = values(group, metric)
    return spread([min(known)] if known and metric.least else known, metric.unit)
