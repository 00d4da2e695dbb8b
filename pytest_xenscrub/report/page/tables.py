# SPDX-License-Identifier: MIT
"""Tables of the page, and its texts on machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.compare import comparison_lines
from pytest_xenscrub.report.export.prose import first_variant
from pytest_xenscrub.report.table import MAIN, Chosen, lines_of
from pytest_xenscrub.scrub.row import METRICS
from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.scrub.row import Row

FIGURES: Final = frozenset(
    {metric.column for metric in METRICS} | {"MiB", "filled", "n", "speed-up"}
)
"""Columns of numbers."""
_ALL: Final = Chosen(every=True)
_MACHINE: Final = (
    ("host", "host"), ("kind", "kind"), ("emulated_on", "emulated on"), ("cpu_model", "CPU model"),
    ("cpus", "CPUs"), ("total_bytes", "memory"), ("xen", "Xen"), ("variant", "variant"),
    ("source", "built from"), ("build_id", "build id"), ("debug", "debug build"),
    ("config", "Kconfig"),
    ("command_line", "boot options"), ("not_in_use", "not in use"), ("toolstack", "toolstack"),
    ("toolstack_version", "its version"), ("version", "pytest-xenscrub"), ("started", "started"),
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: its heading.
        columns: its columns, with the verdict after the test's name.
        lines: its cells.
        folded: whether it is closed until the reader opens it.
    """

    title: str
    columns: list[str]
    lines: list[dict[str, str]]
    folded: bool = False


def tables(rows: Sequence[Row], *, all_of: bool) -> list[Table]:
    """Tables: what was measured, Xens side by side, and, if wanted, all figures."""
    if not rows:
        return []
    shown, lines = lines_of(rows, MAIN)
    found = [Table("What was measured", _verdict_first(shown), lines)]
    first = first_variant(rows)
    if compared := comparison_lines(rows, first):
        columns = _verdict_first(MAIN.of(compared))
        found.append(Table(f"Compared with {first}", columns, compared))
    if all_of:
        found.append(Table("All figures", _verdict_first(_ALL.of(lines)), lines, folded=True))
    return found


def _verdict_first(columns: list[str]) -> list[str]:
    """Put the verdict near the front, because a narrow window shows only the first columns."""
    return ["test", "verdict", *(key for key in columns if key not in ("test", "verdict"))]


def machines(rows: Sequence[Row]) -> list[list[tuple[str, str]]]:
    """Describe each machine and Xen."""
    known = {
        tuple((label, _told(getattr(row.setting, field), label)) for field, label in _MACHINE)
        for row in rows
    }
    return [[each for each in one if each[1]] for one in sorted(known)]


def _told(value: object, label: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return gib(value) if label == "memory" and isinstance(value, int) else str(value)
