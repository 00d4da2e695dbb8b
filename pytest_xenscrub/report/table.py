# SPDX-License-Identifier: MIT
"""The table at the end: a row for each measured destroy, repeats together."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tabulate import tabulate

from pytest_xenscrub.scrub.row import METRICS, SECONDS, SHARE
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_xenscrub.scrub.row import Metric, Row, Unit

COLUMNS = tuple(metric for metric in METRICS if metric.column)
WIDTH: Final = 120
"""Largest width of a table; names of tests that do not fit are put above their lines."""
_GAP: Final = 2
"""Spaces that tabulate puts between columns, and beside a heading."""
_WHERE: Final = ("host", "guest", "toolstack", "variant", "Xen")
"""Columns that are shown only if rows differ in them."""
_ALWAYS: Final = ("test", "MiB", "filled", "n", "speed-up", "verdict")
_LEFT: Final = ("test", *_WHERE, "verdict")
NAMES: Final = (
    "test", *_WHERE, "MiB", "filled", "n", *(metric.column for metric in COLUMNS), "verdict",
)  # fmt: skip
"""All columns, in their order."""
_FIRST: Final = (*_ALWAYS, *(metric.column for metric in COLUMNS if metric.main))


@dataclass(frozen=True)
class Chosen:
    """Which columns are shown; empty columns are not, unless they were named.

    Attributes:
        names: the user's choice; empty for the main columns.
        every: whether all columns are shown, at any width.
        width: largest width of the table.
        medians: whether figures are shown without minimum and maximum.
    """

    names: tuple[str, ...] = ()
    every: bool = False
    width: int = WIDTH
    medians: bool = False

    def of(self, lines: Sequence[Mapping[str, str]]) -> list[str]:
        """The columns of a table that are shown, in order."""
        return [key for key in lines[0] if self._shows(key, {line[key] for line in lines})]

    def _shows(self, key: str, cells: set[str]) -> bool:
        if self.names and not self.every:
            return key in self.names or key == "test" or (key in _WHERE and len(cells) > 1)
        if cells == {""}:
            return False
        return self.every or key in _FIRST or (key in _WHERE and len(cells) > 1)


MAIN: Final = Chosen()
"""The default columns."""


def render(rows: Sequence[Row], chosen: Chosen = MAIN) -> str:
    """The table of all rows; rows that differ only in their figures share a line.

    Times in seconds: one figure, or `median (min-max)` of several. Empty if nothing was measured.
    """
    return grid([_line(group) for group in grouped(rows)], chosen)


def lines_of(rows: Sequence[Row], chosen: Chosen) -> tuple[list[str], list[dict[str, str]]]:
    """The shown columns of the table, and its lines, at least one."""
    lines = [_line(group) for group in grouped(rows)]
    return chosen.of(lines), lines


def grid(lines: Sequence[Mapping[str, str]], chosen: Chosen) -> str:
    """Lines of named cells, all with the same names, as text; empty without lines."""
    if not lines:
        return ""
    shown = chosen.of(lines)
    if chosen.medians:
        lines = [{key: re.sub(r" \(.*\)$", "", line[key]) for key in line} for line in lines]
    taken = sum(
        _GAP + max(len(key) + _GAP, *(len(line[key]) for line in lines))
        for key in shown
        if key != "test"
    )
    names = [line["test"] for line in lines]
    fits = chosen.every or max(map(len, names)) <= chosen.width - taken
    text = tabulate(
        [[line[key] if fits or key != "test" else "" for key in shown] for line in lines],
        headers=shown,
        disable_numparse=True,
        colalign=["left" if key in _LEFT else "right" for key in shown],
    )
    return text if fits else headed(text, names)


def headed(text: str, names: Sequence[str]) -> str:
    """A table that would be too wide with a column of names: each name is above its lines, once."""
    head, rule, *body = text.splitlines()
    lines = [head, rule]
    for number, (name, line) in enumerate(zip(names, body, strict=True)):
        lines += [name] if number == 0 or name != names[number - 1] else []
        lines.append(line)
    return "\n".join(lines)


def legend() -> list[str]:
    """The definition of each column of figures, a line each."""
    return [f"{metric.column}: {metric.definition} ({metric.unit.name})" for metric in COLUMNS]


UNITS = ", ".join(
    ["times in s (dom0's clock; fill and probe the guest's own)"]
    + [f"{m.column} in {m.unit.name}" for m in COLUMNS if m.unit not in (SECONDS, SHARE)]
)
STARVED = (
    "~ other work on this machine slowed the host down too much: such timings are not compared"
)
FIRST = "* includes the first measurement after boot (cold caches), ignored once there are others"


def grouped(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows, grouped by measurement, in the order of each group's first row."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        s = row.setting
        key = (
            test_name(row), s.host, s.guest_type, s.toolstack, s.variant, s.xen, s.debug,
            row.memory_bytes >> 24, row.how, s.fill_share,
        )  # fmt: skip
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def test_name(row: Row) -> str:
    """The test's name without its path, and without parameters that have a column."""
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
    """The test's name, with the guest type unless that is PV, for tables without that column."""
    kind = row.setting.guest_type
    return test_name(row) if kind == "pv" else f"{test_name(row)} ({kind})"


def values(group: Iterable[Row], metric: Metric) -> list[float]:
    """A metric's measured values.

    The first measurement after a boot is left out of times and rates if there are others, because
    it is not a repeat of them. A figure that is shown by its minimum (coverage) is never left out.
    """
    known = [row for row in group if getattr(row, metric.name) is not None]
    warm = [row for row in known if not row.first_after_boot]
    chosen = known if metric.least or not warm else warm
    return [getattr(row, metric.name) for row in chosen]


def spread(values: Iterable[float | None], unit: Unit = SECONDS) -> str:
    """Format values: `1.03`, or `1.03 (0.98-1.10)` for several; empty without values."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    middle = unit.show(statistics.median(known))
    if len(known) == 1:
        return middle
    return f"{middle} ({unit.show(min(known))}-{unit.show(max(known))})"


def count(group: Sequence[Row]) -> str:
    """The cell `n`: number of rows, none for one; `*` and `~` mark cold caches and starvation."""
    mark = "*" if any(row.first_after_boot for row in group) else ""
    mark += "~" if any(row.too_starved for row in group) else ""
    return (f"{len(group)}" if len(group) > 1 else "") + mark


def worst_verdict(rows: Iterable[Row]) -> str:
    """The worst of the verdicts, because one leak among a hundred is a leak."""
    found = {row.verdict or "" for row in rows}
    for state, shown in (("residue", "RESIDUE"), ("unproven", "UNPROVEN"), ("", "-")):
        if state in found:
            return shown
    return "clean"


def where(row: Row) -> dict[str, str]:
    """The cells of the columns in `_WHERE`."""
    setting = row.setting
    return {
        "host": setting.host,
        "guest": setting.guest_type,
        "toolstack": setting.toolstack,
        "variant": setting.variant,
        "Xen": setting.xen + (" debug" if setting.debug else ""),
    }


def cell(group: Sequence[Row], metric: Metric) -> str:
    """A metric's cell; for an exposure without an end, `>` and the time watched."""
    known = values(group, metric)
    if metric.name == "exposure" and not known:
        longer = spread((row.exposure_over for row in group), metric.unit)
        return longer and f"> {longer}"
    return spread([min(known)] if known and metric.least else known, metric.unit)


def filled(group: Sequence[Row]) -> str:
    """Memory that was filled of samples, in MiB, with the least share; empty if all was filled."""
    sampled = [
        (row.filled_share, row.filled_bytes) for row in group if row.filled_bytes is not None
    ]
    if not sampled:
        return ""
    share, size = min(sampled)
    return f"{size / MIB:.1f} ({share:.3%})"


def _line(group: list[Row]) -> dict[str, str]:
    row = group[0]
    return {
        "test": test_name(row),
        **where(row),
        "MiB": f"{row.memory_bytes // MIB}",
        "filled": filled(group),
        "n": count(group),
        **{metric.column: cell(group, metric) for metric in COLUMNS},
        "verdict": worst_verdict(group),
    }


def marks(rows: Sequence[Row]) -> list[str]:
    """Explain a table's units, and the marks beside its numbers of repeats."""
    found = [UNITS] if rows else []
    found += [FIRST] if any(row.first_after_boot for row in rows) else []
    return found + ([STARVED] if any(row.too_starved for row in rows) else [])
