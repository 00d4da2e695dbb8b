# SPDX-License-Identifier: MIT
"""One destroy against time: free memory, the backlog, and the bytes that are still in RAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.report.plots.style import BLUE, GREEN, GREY, ORANGE
from pytest_xenscrub.units import GIB, PAGE, gib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pytest_xenscrub.scrub.row import Row

_MOMENTS = ("destroy", "gone", "free", "clean", "exposure")
_BESIDE = 0.03
"""Moments closer than this share of the axis share a label."""
_LABEL = 0.2
"""Width of a label, as a share of the axis."""


def paint(axes: Axes, row: Row) -> None:
    """Draw all three curves in GiB on one scale; free memory includes the backlog."""
    free = [(at, float(value)) for at, value in row.series.get("free_bytes", [])]
    backlog = [(at, float(value)) for at, value in row.series.get("backlog_pages", [])]
    before = free[0][1]
    end = max(at for at, _ in [*free, *backlog, *map(tuple, row.exposure_curve or [])])
    axes.step(
        [*(at for at, _ in free), end],
        [(value - before) / GIB for _, value in [*free, free[-1]]],
        where="post", color=BLUE, label="memory free again (as Xen counts it)",
    )  # fmt: skip
    if backlog:
        # Sampled rarely, so no line is drawn between samples, where the value is not known.
        axes.plot(
            [max(0.0, at) for at, _ in backlog], [pages * PAGE / GIB for _, pages in backlog],
            color=ORANGE, linestyle="none", marker="o", markersize=6, clip_on=False,
            label="free, but not scrubbed yet (backlog)",
        )  # fmt: skip
    if row.exposure_curve:
        held = row.filled_bytes or row.memory_bytes
        axes.plot(
            [at for at, _ in row.exposure_curve],
            [share * held / GIB for _, share in row.exposure_curve],
            color=GREEN, linestyle=(0, (4, 1.2, 1, 1.2)),
            label="still holds the guest's bytes (seen from outside)",
        )  # fmt: skip
    end *= 1.04
    axes.set_xlim(0, end)
    axes.set_ylim(0, row.memory_bytes / GIB * 1.12)
    _paint_moments(axes, row, end)
    axes.set_xlabel("time since destroy was issued, s")
    axes.set_ylabel("memory, GiB")
    setting = row.setting
    axes.set_title(
        f"One destroy of a {gib(row.memory_bytes)} {setting.guest_type.upper()} guest:"
        f" {setting.variant}, {setting.toolstack}, {setting.kind}",
        pad=38,
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1, alignment="left")


def _paint_moments(axes: Axes, row: Row, end: float) -> None:
    """Draw a thin line for each moment in the table, with its name above the chart."""
    named: list[tuple[float, list[str]]] = []
    for at, name in sorted((getattr(row, n), n) for n in _MOMENTS if getattr(row, n) is not None):
        if named and at - named[-1][0] < _BESIDE * end:
            named[-1][1].append(name)
        else:
            named.append((at, [name]))
    raised = False
    for number, (at, names) in enumerate(named):
        # Names of neighbours would overlap on one line.
        raised = not raised and number > 0 and at - named[number - 1][0] < _LABEL * end
        axes.axvline(at, color=GREY, linewidth=0.9, linestyle=":")
        axes.text(
            at, 1.055 if raised else 1.01, ", ".join(names), ha="center", va="bottom",
            transform=axes.get_xaxis_transform(), fontsize=9, color="#444444",
        )  # fmt: skip
