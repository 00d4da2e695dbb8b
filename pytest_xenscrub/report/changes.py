# SPDX-License-Identifier: MIT
"""What became slower or faster since an earlier run, and whether that is more than noise."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.statistics import Noise, noise
from pytest_xenscrub.report.table import COLUMNS, spread, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_xenscrub.report.baseline import Comparison
    from pytest_xenscrub.scrub.row import Metric, Row

_SAME: Final = 0.005
"""Largest change, as a share, that counts as no change."""


@dataclass(frozen=True)
class Change:
    """A figure in both runs.

    Attributes:
        name: the measurement's name.
        metric: the metric.
        then: the figure's values in the earlier run, at least one.
        now: its values in this run, at least one.
    """

    name: str
    metric: Metric
    then: Sequence[float]
    now: Sequence[float]

    @property
    def ratio(self) -> float | None:
        """The median of this run ÷ that of the earlier run; None if the latter is 0."""
        before = statistics.median(self.then)
        return statistics.median(self.now) / before if before else None

    @property
    def worsening(self) -> float:
        """Factor by which it became worse; below 1 if it became better."""
        ratio = self.ratio or 1.0
        return 1 / ratio if self.metric.more_is_better else ratio

    @property
    def direction(self) -> str:
        """Worse, better or the same."""
        if abs(self.worsening - 1) < _SAME:
            return "same"
        return "worse" if self.worsening > 1 else "better"

    @property
    def noise(self) -> Noise:
        """Whether the change is more than the repeats' own spread."""
        return noise(*self._lower_first())

    def _lower_first(self) -> tuple[Sequence[float], Sequence[float]]:
        more = statistics.median(self.now) > statistics.median(self.then)
        return (self.then, self.now) if more else (self.now, self.then)

    @property
    def proven_worse(self) -> bool:
        """Whether it is worse, and that is more than noise."""
        return self.direction == "worse" and self.noise is Noise.MORE

    @property
    def told(self) -> str:
        """A sentence: the direction, and how sure it is."""
        return "same" if self.direction == "same" else f"{self.direction}, {self.noise}"

    def shown(self, known: Sequence[float]) -> str:
        """The values of a run: their median, and in brackets the minimum and the maximum."""
        return spread(known, self.metric.unit)


def changes(comparison: Comparison) -> list[Change]:
    """All figures that both runs have: proven worse ones first, then by how much worse they are.

    Leaves out figures of a host that was starved.
    """
    found = [
        Change(pair.name, metric, then, now)
        for pair in comparison.pairs
        for metric in COLUMNS
        if not metric.least
        and (then := values(fed(pair.then), metric))
        and (now := values(fed(pair.now), metric))
    ]
    return sorted(found, key=lambda change: (not change.proven_worse, -change.worsening))


def fed(rows: Iterable[Row]) -> list[Row]:
    """The rows of a host that was not starved."""
    return [row for row in rows if not row.too_starved]
