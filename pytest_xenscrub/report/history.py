# SPDX-License-Identifier: MIT
"""Each figure over many runs: where it changed, and which runs cannot be compared."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.export.figures import differing, figures
from pytest_xenscrub.report.statistics import chance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.report.results import RunResults
    from pytest_xenscrub.scrub.row import Metric, Setting

_SIGNIFICANT: Final = 0.01
"""Largest probability with which a series that does not change is reported to change."""
_SHORT: Final = 9
"""Digits of a commit, or of a build id, on an axis."""
_COMMIT: Final = re.compile(r"git ([0-9a-f]{9})[0-9a-f]*(\+?)")
_LEAST: Final = 3
"""Least number of runs before and after a change."""


@dataclass(frozen=True)
class Point:
    """A figure of one run.

    Attributes:
        started: start of the run.
        value: the median of its repeats, in the metric's base unit.
        xen: Xen's version.
        build: its build id; empty if unknown.
        source: what Xen was built from; empty if unknown.
        machine: host, machine and configuration; points with different ones are not compared.
        starved: whether other work kept the host from running: such a point is shown, but not
            compared.
    """

    started: str
    value: float
    xen: str
    build: str
    source: str
    machine: str
    starved: bool

    @property
    def commit(self) -> str:
        """Which Xen it was, for an axis: the commit, else the build, else the version."""
        if found := _COMMIT.fullmatch(self.source):
            return found[1] + found[2]
        return self.build[:_SHORT] or self.xen

    @property
    def whole(self) -> str:
        """Which Xen it was, in full."""
        return " ".join(filter(None, (self.xen, self.source, self.build[:12])))


@dataclass(frozen=True)
class Series:
    """A figure over time.

    Attributes:
        name: the measurement's name.
        metric: the metric.
        points: the points, by the time of their runs.
        gaps: indices of points before which the machine or its configuration changed.
        changes: indices of points before which the figure changed by more than noise.
    """

    name: str
    metric: Metric
    points: tuple[Point, ...]
    gaps: tuple[int, ...]
    changes: tuple[int, ...]

    @property
    def ratio(self) -> float | None:
        """The last point ÷ the median of the earlier points since the last gap."""
        start = self.gaps[-1] if self.gaps else 0
        before = [point.value for point in self.points[start:-1] if not point.starved]
        if not before or self.points[-1].starved or not statistics.median(before):
            return None
        return self.points[-1].value / statistics.median(before)

    @property
    def constant(self) -> bool:
        """Whether all runs have the same value, whatever the machine."""
        return len({point.value for point in self.points}) == 1


def history(runs: Sequence[RunResults]) -> list[Series]:
    """All figures that at least two runs have; the largest change in the last run comes first.

    Figures that the last run does not have come last.
    """
    measured = [
        (run.started, figure)
        for run in sorted(runs, key=lambda run: run.started)
        for figure in figures(run.rows.values())
    ]
    also = differing([figure for _, figure in measured], ["host"])
    found: dict[tuple[str, str], list[Point]] = {}
    metrics: dict[str, Metric] = {}
    for started, figure in measured:
        metrics[figure.metric.name] = figure.metric
        setting = figure.setting
        found.setdefault((figure.named(also), figure.metric.name), []).append(
            Point(
                started, figure.median, setting.xen, setting.build_id, setting.source,
                _machine(setting), figure.starved,
            )
        )  # fmt: skip
    series = [
        _series(name, metrics[metric], points)
        for (name, metric), points in found.items()
        if len(points) > 1
    ]
    last = measured[-1][0] if measured else ""
    return sorted(
        series, key=lambda each: (each.points[-1].started != last, -abs(math.log(each.ratio or 1)))
    )


def _series(name: str, metric: Metric, points: list[Point]) -> Series:
    gaps = [n for n in range(1, len(points)) if points[n].machine != points[n - 1].machine]
    changes: list[int] = []
    for start, end in zip([0, *gaps], [*gaps, len(points)], strict=True):
        known = [n for n in range(start, end) if not points[n].starved]
        changes += [known[at] for at in change_points([points[n].value for n in known])]
    return Series(name, metric, tuple(points), tuple(gaps), tuple(changes))


def _machine(setting: Setting) -> str:
    return " ".join(
        str(value)
        for value in (
            setting.host, setting.kind, setting.emulated_on, setting.total_bytes, setting.cpus,
            setting.cpu_model, setting.debug, setting.config, setting.command_line,
        )
    )  # fmt: skip


# -- where a series changes ----------------------------------------------------------------------


def change_points(values: Sequence[float]) -> list[int]:
    """The indices at which values begin to differ from the earlier ones, ascending.

    Cuts the series where the values on both sides are nearest to their medians. The cut is a change
    if the ranks of both sides differ significantly (exact Mann-Whitney test, with Bonferroni's
    correction for the number of cuts). Then each side is cut again.
    """
    cuts = range(_LEAST, len(values) - _LEAST + 1)
    if not cuts:
        return []
    best = min(cuts, key=lambda cut: _spread(values[:cut]) + _spread(values[cut:]))
    if _two_sided(values[:best], values[best:]) * len(cuts) > _SIGNIFICANT:
        return []
    after = [best + at for at in change_points(values[best:])]
    return [*change_points(values[:best]), best, *after]


def _spread(values: Sequence[float]) -> float:
    middle = statistics.median(values)
    return sum(abs(value - middle) for value in values)


def _two_sided(left: Sequence[float], right: Sequence[float]) -> float:
    """Probability that two samples of one distribution differ so much in rank."""
    return min(1.0, 2 * min(chance(left, right), chance(right, left)))
