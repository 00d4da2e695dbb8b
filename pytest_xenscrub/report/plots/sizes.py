# SPDX-License-Identifier: MIT
"""Times of destroys against guests' memory, with a fitted line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_xenscrub.report.plots.style import apart, looks
from pytest_xenscrub.scrub.fit import fits
from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from pytest_xenscrub.scrub.fit import Fit
    from pytest_xenscrub.scrub.row import Row

_MARKERS = "osD^vP"


def worth_it(rows: Sequence[Row]) -> bool:
    """Whether guests of enough sizes were destroyed for a fit."""
    return any(_line(group) is not None for group in _by_variant(rows).values())


def _by_variant(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return apart(row for row in rows if row.destroy is not None)


def _line(rows: Sequence[Row]) -> Fit | None:
    return next((fit for fit in fits(rows) if fit.metric == "destroy"), None)


def paint(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw a dot for every destroy, and the line of least squares."""
    variants = _by_variant(rows)
    largest = max(row.memory_bytes for row in rows) / GIB
    for (name, look), marker in zip(looks(variants).items(), _MARKERS * 10, strict=False):
        _paint_variant(axes, variants[name], {"label": name, **look}, marker, largest)
    axes.set_xlim(0, largest * 1.05)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("memory of the guest, GiB")
    axes.set_ylabel("destroy (issued → returned), s")
    axes.set_title(f"What a destroy takes, by size of the guest, {rows[0].setting.kind}")
    axes.legend(loc="upper left")


def _paint_variant(
    axes: Axes, rows: list[Row], look: dict[str, Any], marker: str, largest: float
) -> None:
    sizes = [row.memory_bytes / GIB for row in rows]
    times = [row.destroy or 0.0 for row in rows]
    axes.plot(
        sizes, times, marker, color=look["color"], markersize=6, markeredgecolor="white",
        markeredgewidth=0.8,
    )  # fmt: skip
    fit = _line(rows)
    if fit is None:
        return
    name = f"{look['label']}: {fit.intercept:.2f} s + {fit.seconds_per_gib:.2f} s/GiB"
    ends = [0, largest]
    line = [fit.intercept + fit.seconds_per_gib * size for size in ends]
    axes.plot(ends, line, **{**look, "label": f"{name} (R² {fit.r_squared:.3f})"})
