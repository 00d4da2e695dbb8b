# SPDX-License-Identifier: MIT
"""How the bytes of dead guests leave RAM, on each Xen."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from pytest_xenscrub.report.plots.style import apart, looks
from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from pytest_xenscrub.scrub.row import Row

_BEYOND = 1.12
"""Length of the time axis, as a multiple of the time at which the slowest Xen's last byte is
gone."""


def paint(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw the share of frames that hold bytes, against time; repeats thin, behind the median."""
    variants = apart(rows)
    end = _end(rows)
    for name, look in looks(variants).items():
        _paint_variant(axes, name, variants[name], look, end)
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("time since destroy was issued, s")
    axes.set_ylabel("frames that still hold\nthe dead guest's bytes")
    sizes = sorted({row.memory_bytes for row in rows})
    axes.set_title(
        f"How long a destroyed guest's bytes stay in RAM\n"
        f"{' to '.join(map(gib, [sizes[0], *sizes[1:][-1:]]))}, {rows[0].setting.kind}"
    )
    axes.legend(
        title="●  destroy has returned", alignment="left", loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )  # fmt: skip


def _paint_variant(
    axes: Axes, name: str, rows: list[Row], look: dict[str, Any], end: float
) -> None:
    *others, middle = sorted(rows, key=lambda row: row is _middle(rows))
    for row in others:
        times, shares = _points(row, end)
        axes.plot(times, shares, color=look["color"], linewidth=0.8, alpha=0.45)
    times, shares = _points(middle, end)
    axes.plot(times, shares, label=f"{name}: {_when(rows)}", **look)
    if middle.destroy is not None and middle.destroy <= end:
        at = float(np.interp(middle.destroy, times, shares))
        axes.plot(
            middle.destroy, at, "o", color=look["color"], markersize=8, markeredgecolor="white",
            markeredgewidth=1.2, clip_on=False, zorder=5,
        )  # fmt: skip


def _middle(rows: list[Row]) -> Row:
    """The repeat with the median, or with the next smaller value."""

    def gone(row: Row) -> float:
        return float("inf") if row.exposure is None else row.exposure

    return sorted(rows, key=gone)[(len(rows) - 1) // 2]


def _when(rows: list[Row]) -> str:
    known = [row.exposure for row in rows if row.exposure is not None]
    if len(known) == len(rows):
        return f"gone after {statistics.median(known):.2f} s"
    if known:
        return f"not gone in {len(rows) - len(known)} of {len(rows)}"
    watched = [row.exposure_over for row in rows if row.exposure_over is not None]
    return f"not gone after {max(watched):.2f} s" if watched else "not gone"


def _end(rows: Sequence[Row]) -> float:
    """The end of the time axis: soon after the slowest of those Xens that scrub."""
    gone = [row.exposure for row in rows if row.exposure is not None]
    gone += [row.destroy for row in rows if row.destroy is not None]
    last = [row.exposure_curve[-1][0] for row in rows if row.exposure_curve]
    return _BEYOND * max(gone or last)


def _points(row: Row, end: float) -> tuple[list[float], list[float]]:
    """The curve up to the end of the axis."""
    curve = row.exposure_curve or []
    times, shares = [at for at, _ in curve], [share for _, share in curve]
    return [*times, max(end, times[-1])], [*shares, shares[-1]]
